"""One job of very many pods: how long the operator,
the Job controller and the scheduler need for it.

The pods are fake (`bench.fakenodes`): they start, and succeed three seconds later. What their
workers would record is recorded here, in bulk, as soon as a pod runs: so the operator completes the
job by its evidence, and by nothing else.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace

from bench.fakenodes import fake_nodes
from bench.plane import (
    Document,
    Plane,
    Requests,
    control_plane,
    cpu_seconds,
    load,
    memory_peak,
    until,
)
from bench.production import production_python
from bench.result import Benchmark, Row, Scale, Target, at_most
from fpj_core.jobs import change_job
from fpj_core.kube import names
from fpj_core.kube.names import WAVE
from fpj_core.model import ShardState
from fpj_core.planning import cut_shards
from fpj_core.store import open_store
from fpj_core.store.mongodb import MongoStore

_NAME = "wide"
_PARALLELISM = 1_000
_NODES = 2
_INDEX = "batch.kubernetes.io/job-completion-index"
_JOB = "batch.kubernetes.io/job-name"
_DONE = ("SuccessCriteriaMet", "Complete")
_STEP_SECONDS = 0.1
_FAST = {
    "kube-controller-manager": (
        "--kube-api-qps=2000",
        "--kube-api-burst=4000",
        "--concurrent-job-syncs=10",
    ),
    "kube-scheduler": ("--kube-api-qps=2000", "--kube-api-burst=4000"),
}
"""Kubernetes' own defaults are 20 requests a second for the Job controller and 50 for the
scheduler.
"""
_TARGET_SECONDS = 200
_OTHERS = ("pods", "jobs", "events", "fileprocessingjobs", "leases")


def kwok(scale: Scale) -> Iterator[Row]:
    """With the limits of a large cluster's control plane first,
    then a small job with Kubernetes' own.
    """
    pods = scale.pick(300, 10_000)
    yield from _rows(
        _measured(pods, _FAST), pods, "", at_most(_TARGET_SECONDS) if pods == 10_000 else None
    )
    few = scale.pick(60, 200)
    run = _measured(few, {})
    note = f"{few} pods, limits of requests as Kubernetes has them by default; {load()}"
    yield Row(
        "pods a second by the Job controller's default limit", few / run.seconds, "/s", note=note
    )


@dataclass
class _Run:
    """What was seen of a job; times are monotonic."""

    seconds: float = 0.0
    waves: dict[int, float] = field(default_factory=dict)
    """When each wave's Job appeared."""
    ends: dict[int, float] = field(default_factory=dict)
    """When it was seen to be complete."""
    cpu: dict[str, float] = field(default_factory=dict)
    """Seconds by process."""
    operator_bytes: int = 0
    before: Requests | None = None
    after: Requests | None = None
    status_bytes: int = 0

    def see(self, _kind: str, found: Document, now: float) -> None:
        """An event of a child Job."""
        wave = found["metadata"].get("labels", {}).get(names.LABEL_WAVE)
        if wave is None:
            return
        self.waves.setdefault(int(wave), now)
        conditions = found.get("status", {}).get("conditions") or ()
        if any(each["type"] in _DONE and each["status"] == "True" for each in conditions):
            self.ends.setdefault(int(wave), now)

    @property
    def gaps(self) -> list[float]:
        """Seconds from the end of a wave to the next one's Job."""
        return [
            self.waves[wave + 1] - end for wave, end in self.ends.items() if wave + 1 in self.waves
        ]


def _rows(run: _Run, pods: int, what: str, target: Target | None) -> Iterator[Row]:
    assert run.before and run.after
    busy = sum(run.cpu.values()) / run.seconds / len(os.sched_getaffinity(0)) * 100
    waves = len(run.waves)
    note = f"{waves} waves; all of it used {busy:.0f} % of the cores; {load()}"
    yield Row(
        f"{pods:,} fake pods of one job, created to Completed", run.seconds, "s", target, note
    )
    yield Row("  pods a second", pods / run.seconds, "/s")
    if run.gaps:
        yield Row("  a wave's end to the next wave's Job, longest", max(run.gaps), "s")
    yield Row(
        "operator, CPU",
        run.cpu["operator"],
        "s",
        note=f"{run.cpu['operator'] / pods * 1000:.2f} ms a pod",
    )
    yield Row("operator, most resident", run.operator_bytes / 10**6, "MB", at_most(100))
    yield Row("status, size", run.status_bytes / 1000, "kB", at_most(8))
    for name, seconds in sorted(run.cpu.items(), key=lambda each: -each[1]):
        if name != "operator":
            yield Row(f"  {name}, CPU", seconds, "s", note=f"{seconds / pods * 1000:.1f} ms a pod")
    for resource in _OTHERS:
        writes = run.after.writes(resource) - run.before.writes(resource)
        reads = run.after.reads(resource) - run.before.reads(resource)
        yield Row(
            f"writes of {resource}", writes, "", note=f"{writes / pods:.2f} a pod; {reads:,} reads"
        )


def _measured(pods: int, arguments: dict[str, tuple[str, ...]]) -> _Run:
    run = _Run()
    with ExitStack() as stack:
        plane = stack.enter_context(control_plane(arguments=arguments))
        store = open_store(plane.store)
        assert isinstance(store, MongoStore)
        stack.enter_context(closing(store))
        for name in ("photographs", "cache"):
            plane.volume(name, plane.folder)
        plane.cache_folder()
        operator = stack.enter_context(plane.operator(python=production_python()))
        stack.enter_context(plane.watching(plane.children, run.see))
        run.before = plane.requests()
        cpu = {"operator": cpu_seconds(operator.pid), **plane.component_cpu()}
        made = plane.create(_NAME, sharding={"parallelism": _PARALLELISM, "shardSize": 1})
        uid = made["metadata"]["uid"]
        until(lambda: plane.api.items(plane.children), "the index Job", 60)
        _plan(store, uid, f"{plane.namespace}.{_NAME}", pods)
        kubelets = stack.enter_context(fake_nodes(plane, _NODES))
        workers = stack.enter_context(_workers(plane, store, uid))
        peak = stack.enter_context(memory_peak(operator.pid))
        # What comes before is not of the pods, and `fake_nodes` may have built kwok.
        began = time.monotonic()
        status = _until_completed(plane, workers)
        run.seconds = time.monotonic() - began
        run.after = plane.requests()
        ended = {"operator": cpu_seconds(operator.pid), **plane.component_cpu()}
        run.cpu = {name: ended[name] - cpu[name] for name in ended} | {
            "kwok": cpu_seconds(kubelets.pid)
        }
        run.operator_bytes, run.status_bytes = peak.bytes, status
    return run


def _until_completed(plane: Plane, workers: _Workers) -> int:
    """The size of the status, as JSON."""
    path = plane.path("fileprocessingjobs", _NAME)
    while True:
        status = plane.api.call("GET", path).get("status", {})
        if workers.error:
            raise workers.error
        if status.get("phase") in ("CompletedWithErrors", "Failed", "Recovering"):
            raise RuntimeError(f"the job is {status['phase']}: {status.get('conditions')}")
        if status.get("phase") == "Completed":
            return len(str(status))
        workers.check()
        time.sleep(0.25)


def _plan(store: MongoStore, uid: str, collection: str, shards: int) -> None:
    """As an index pod does, of images of which each is a shard."""
    change_job(store, uid, lambda job: replace(job, planning_attempt=1))
    store.put_shards(uid, 1, cut_shards(uid, 1, collection, range(shards), 1))
    now = time.time()
    change_job(
        store,
        uid,
        lambda job: replace(
            job,
            planned_attempt=1,
            planned_shards=shards,
            total=shards,
            running_since=now,
            last_progress_at=now,
        ),
    )


class _Workers:
    """Records for each pod that runs that its shard is done: what all workers would,
    in a few updates.
    """

    def __init__(self, plane: Plane, store: MongoStore, uid: str) -> None:
        self._plane = plane
        self._store = store
        self._uid = uid
        self._lock = threading.Lock()
        self._running: list[int] = []
        self.error: Exception | None = None
        self._seen_at = time.monotonic()

    def see(self, _kind: str, pod: Document, now: float) -> None:
        """An event of a pod that runs."""
        labels = pod["metadata"].get("labels", {})
        if (index := labels.get(_INDEX)) is None:
            return
        wave = int(labels[_JOB].rpartition("-w")[2])
        with self._lock:
            self._seen_at = now
            self._running.append(wave * WAVE + int(index))

    def check(self) -> None:
        """Raises RuntimeError if no pod has run for long."""
        if time.monotonic() - self._seen_at > 120:
            raise RuntimeError("no pod has started for two minutes")

    def work(self, ended: threading.Event) -> None:
        """Until ``ended``."""
        try:
            while not ended.wait(_STEP_SECONDS):
                self._record()
        except Exception as error:  # noqa: BLE001 - raised by who waits for the job
            self.error = error

    def _record(self) -> None:
        with self._lock:
            done, self._running = self._running, []
        if not done:
            return
        ids = [f"{self._uid}:1:{index}" for index in done]
        done_now = {
            "state": ShardState.SUCCEEDED.value,
            "counts.completed": 1,
            "heartbeat_at": time.time(),
        }
        self._store._db.job_shards.update_many({"_id": {"$in": ids}}, {"$set": done_now})


@contextmanager
def _workers(plane: Plane, store: MongoStore, uid: str) -> Iterator[_Workers]:
    workers, ended = _Workers(plane, store, uid), threading.Event()
    thread = threading.Thread(target=workers.work, args=(ended,), daemon=True)
    thread.start()
    path = f"{plane.path('pods', group='api/v1')}?fieldSelector=status.phase%3DRunning"
    try:
        with plane.watching(path, workers.see):
            yield workers
    finally:
        ended.set()
        thread.join()


BENCHMARKS = (Benchmark("op-kwok", "One job of ten thousand pods", kwok),)
