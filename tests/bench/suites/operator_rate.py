"""How fast the operator takes up jobs: fresh ones a minute,
and a new one's wait behind a long queue.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from bench.plane import Document, Plane, at_once, control_plane, cpu_seconds, load, quantile, until
from bench.result import Benchmark, Row, Scale, at_least, at_most
from fpj_operator.jobs.queue import JobQueue, queue_words
from fpj_operator.keys import Key

_OWNER = "FileProcessingJob"
_SPACE = "team"
_PLACES_SECONDS = 70.0
"""A job that others have overtaken, as those created in the same second may,
says so within a minute, once.
"""


def rate(scale: Scale) -> Iterator[Row]:
    """Jobs created as fast as the API server takes them, until each has its child Job."""
    jobs = scale.pick(60, 300)
    created: dict[str, float] = {}
    seen: dict[str, float] = {}

    def see(kind: str, child: Document, now: float) -> None:
        if kind == "ADDED":
            owner = next(
                each for each in child["metadata"]["ownerReferences"] if each["kind"] == _OWNER
            )
            seen.setdefault(owner["name"], now)

    with control_plane() as plane, plane.operator(max_concurrent_jobs=1000) as operator:
        plane.cache_folder()

        def create(name: str) -> None:
            created[name] = time.monotonic()
            plane.create(name)

        cpu, control, before = cpu_seconds(operator.pid), plane.control_cpu(), plane.requests()
        with plane.watching(plane.children, see):
            at_once(create, [f"job-{number}" for number in range(jobs)])
            creating = time.monotonic() - min(created.values())
            until(lambda: len(seen) == jobs, "a child of every job", 600)
        seconds = max(seen.values()) - min(created.values())
        cpu, control = cpu_seconds(operator.pid) - cpu, plane.control_cpu() - control
        after = plane.requests()
    waits = [seen[name] - created[name] for name in created]
    note = f"{jobs} jobs in {seconds:.1f} s, the last created after {creating:.1f} s; {load()}"
    yield Row(
        "fresh jobs a minute, create to child Job", jobs / seconds * 60, "/min", at_least(600), note
    )
    yield Row("  median wait of one", quantile(waits, 0.5), "s")
    yield Row("  longest wait of one", max(waits), "s")
    note = "one core bears 600 jobs a minute at 100 ms"
    yield Row("operator, CPU for one job", cpu / jobs * 1000, "ms", at_most(100), note)
    yield Row(
        "control plane, CPU for one job",
        control / jobs * 1000,
        "ms",
        note="etcd, API server, controllers, scheduler",
    )
    yield Row(
        "requests for one job's resource",
        (after.reads("fileprocessingjobs") - before.reads("fileprocessingjobs")) / jobs,
        "reads",
    )
    for what in ("jobs", "leases", "cachefolders"):
        yield Row(
            f"requests for one job's {what}",
            (after.reads(what) - before.reads(what)) / jobs,
            "reads",
        )


def queued(scale: Scale) -> Iterator[Row]:
    """With a full queue before it, a new job must learn soon that it waits."""
    queue, fresh = scale.pick((100, 10), (500, 50))
    created: dict[str, float] = {}
    said: dict[str, float] = {}

    def see(_kind: str, found: Document, now: float) -> None:
        if found.get("status", {}).get("conditions"):
            said.setdefault(found["metadata"]["name"], now)

    with control_plane() as plane, plane.operator(max_concurrent_jobs=1) as operator:
        plane.cache_folder()
        with plane.watching(plane.jobs, see):
            _occupy(plane)
            at_once(plane.create, [f"old-{number}" for number in range(queue)])
            until(lambda: len(said) == queue + 1, "a condition of every queued job", 600)
            time.sleep(scale.pick(2, 10))  # what the queue itself costs goes on meanwhile
            for number in range(fresh):
                name = f"new-{number}"
                created[name] = time.monotonic()
                plane.create(name)
                time.sleep(0.2)
            until(lambda: len(said) == queue + 1 + fresh, "a condition of every new job", 120)
            waits = [said[name] - created[name] for name in created]
            time.sleep(_PLACES_SECONDS)
            busy, requests = cpu_seconds(operator.pid), plane.requests()
            seconds = scale.pick(10, 30)
            time.sleep(seconds)
            busy = cpu_seconds(operator.pid) - busy
            writes = plane.requests().writes() - requests.writes()
    note = f"{queue} queued, limit 1, {fresh} new ones one after another; {load()}"
    yield Row("a new job's first condition, p99", quantile(waits, 0.99), "s", at_most(5), note)
    yield Row("  median", quantile(waits, 0.5), "s")
    yield Row(f"operator, CPU while {queue + fresh} wait", busy / seconds * 100, "% of a core")
    yield Row(
        f"writes while {queue + fresh} wait and nothing changes",
        writes,
        f"in {seconds} s",
        at_most(0),
    )

    yield from _turns(20_000, 1)
    yield from _turns(20_000, 20_000)


def _occupy(plane: Plane) -> None:
    """Fill the slot with a job whose pod runs, as far as the API server knows.

    No pod runs here, and a job none of whose pods can run gives its slot to the next, which is a
    change.
    """
    plane.create("busy")
    pods = plane.path("pods", group="api/v1")
    until(lambda: plane.api.items(pods), "a pod of the first job", 60)
    (pod,) = plane.api.items(pods)
    worker = {"name": "worker", "image": "none", "imageID": "", "ready": True, "restartCount": 0}
    running = {"startedAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    status = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [worker | {"started": True, "state": {"running": running}}],
    }
    plane.api.patch(
        f"{plane.path('pods', pod['metadata']['name'], group='api/v1')}/status", {"status": status}
    )
    child = plane.children
    until(lambda: plane.api.items(child)[0].get("status", {}).get("ready") == 1, "a ready pod", 60)


def _turns(queue: int, collections: int) -> Iterator[Row]:
    """A minute of the queue's own work, without an API server: sweeps, places,
    a job that ends every six seconds.
    """
    jobs = JobQueue(10)
    controller = _Woken(jobs)
    for number in range(10):
        jobs.note(_noted(f"active-{number}", number + 1, "Running", f"other-{number}"))
    for number in range(queue):
        jobs.note(
            _noted(f"job-{number}", 100 + number, "Pending", f"c-{number % collections}", number)
        )
    version = 100 + queue
    for key in jobs.outdated():
        version += 1
        controller.tell(key, version)
    before = time.process_time()
    for second in range(60):
        if second % 6 == 0:
            jobs.note(
                _noted(
                    f"active-{second // 6}",
                    version + second + 1,
                    "Completed",
                    f"other-{second // 6}",
                )
            )
            for key in jobs.next_in(_SPACE):
                jobs.started(key)
        if second % 10 == 0:
            jobs.next_in(_SPACE)
    outdated = len(list(jobs.outdated()))
    share = (time.process_time() - before) / 60 * 100
    what = "one collection" if collections == 1 else f"{collections:,} collections"
    note = f"{outdated} of them then say another place"
    yield Row(
        f"{queue:,} queued jobs on {what}, CPU of the queue", share, "% of a core", at_most(5), note
    )


class _Woken:
    """Writes what the queue says of a job's place, as the operator would."""

    def __init__(self, jobs: JobQueue) -> None:
        self._jobs = jobs

    def tell(self, key: Key, version: int) -> None:
        number = int(key.name.partition("-")[2])
        lock = self._jobs.lock(key)
        words = lock or queue_words(10, self._jobs.place(key)[1])
        reason = "CollectionLocked" if lock else "Queued"
        uid_of_collection = self._jobs.collection_of(key)
        self._jobs.note(
            _noted(key.name, version, "Pending", uid_of_collection, number, reason, words)
        )


def _noted(
    name: str,
    version: int,
    phase: str,
    collection: str,
    age: int = 0,
    reason: str = "",
    message: str = "",
) -> Document:
    """A FileProcessingJob as an event shows it."""
    made = datetime.fromtimestamp(1_700_000_000 + age, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = {"namespace": _SPACE, "name": name, "uid": name, "resourceVersion": str(version)}
    ready = {"type": "Ready", "status": "False", "reason": reason, "message": message}
    return {
        "metadata": metadata | {"creationTimestamp": made},
        "spec": {"collection": {"id": collection}},
        "status": {"phase": phase, "conditions": [ready]},
    }


BENCHMARKS = (
    Benchmark("op-rate", "Fresh jobs a minute", rate),
    Benchmark("op-queue", "A new job behind a long queue", queued),
)
