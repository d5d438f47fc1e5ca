"""How often the status of a job is written: at its creation, while it runs,
and while nothing happens.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from e2e.conftest import photo
from podrunner import PodRunner

from bench.plane import Document, Plane, at_once, control_plane, load, until
from bench.result import Benchmark, Row, Scale, at_most

_SLOW = Path(__file__).resolve().parents[2] / "e2e" / "injected" / "decoder"
_FINISHED = frozenset({"Completed", "CompletedWithErrors", "Failed"})


def writes(scale: Scale) -> Iterator[Row]:
    """Versions of a job that a watch shows, each of them one write; who wrote is said by its
    managed fields.
    """
    yield from _creation(scale)
    yield from _running(scale)


def _creation(scale: Scale) -> Iterator[Row]:
    """Jobs whose pods cannot start, so that they stay as they were made."""
    jobs, quiet = scale.pick((10, 10), (50, 60))
    with control_plane() as plane, plane.operator(max_concurrent_jobs=1000):
        plane.cache_folder()
        started: set[str] = set()

        def see(_kind: str, found: Document, _now: float) -> None:
            if found.get("status", {}).get("phase") == "Indexing":
                started.add(found["metadata"]["name"])

        before = plane.requests()
        with plane.watching(plane.jobs, see):
            at_once(plane.create, [f"job-{number}" for number in range(jobs)])
            until(lambda: len(started) == jobs, "the begin of every job", 120)
        time.sleep(20)  # what is said some seconds later (that no pod can start) is part of it
        settled = plane.requests()
        time.sleep(quiet)
        after = plane.requests()
    status = settled.writes(subresource="status") - before.writes(subresource="status")
    all_writes = settled.writes() - before.writes() - jobs
    yield Row(
        "status writes at creation, for one job",
        status / jobs,
        "",
        at_most(3),
        f"{jobs} jobs; the last says that no pod can start",
    )
    yield Row("  all writes to its resource", all_writes / jobs, "")
    yield Row(
        f"writes to {jobs} jobs while nothing changes",
        after.writes() - settled.writes(),
        f"in {quiet} s",
        at_most(0),
    )


def _running(scale: Scale) -> Iterator[Row]:
    """An active job in few and in many pods, each image slow, with production's intervals."""
    seconds = scale.pick(20, 60)
    for pods in scale.pick((2,), (2, 8)):
        with control_plane() as plane, plane.operator():
            rate, seen = _rate_of(plane, pods, seconds)
        note = f"{pods} worker pods, {seen} writes in {seconds} s; {load()}"
        yield Row(f"status writes a second, a job with {pods} pods", rate, "/s", at_most(0.2), note)


def _rate_of(plane: Plane, pods: int, seconds: float) -> tuple[float, int]:
    """Writes a second from the time when all pods run, and how many there were."""
    runner = PodRunner(plane.cluster.kubeconfig, "bench-node", plane.folder / "pods")
    source, out = plane.folder / "photographs", plane.folder / "cache"
    for folder in (source, out):
        folder.mkdir()
    for number in range(pods * 400):
        (source / f"{number:05}.jpg").write_bytes(_photograph(number))
    with runner:
        runner.claim(plane.namespace, "photographs", source)
        runner.claim(plane.namespace, "cache", out)
        runner.environment |= {"PYTHONPATH": str(_SLOW), "PYTHON_TEST_SLOWNESS": "0.5"}
        plane.cache_folder()
        sharding = {"parallelism": pods, "shardSize": 400, "workersPerPod": 1, "batchSize": 10}
        plane.create("slow", sharding=sharding)
        until(lambda: len(runner.pods("-w0-", running=True)) == pods, "all pods run", 180)
        path = plane.path("fileprocessingjobs", "slow")
        until(
            lambda: plane.api.call("GET", path)["status"].get("progress", {}).get("completed"),
            "progress",
            120,
        )
        time.sleep(5)
        written: list[float] = []
        with plane.watching(plane.jobs, lambda _kind, _found, now: written.append(now)):
            time.sleep(seconds)
            assert plane.api.call("GET", path)["status"]["phase"] not in _FINISHED, (
                "the job ended too early"
            )
        if len(written) < 2:
            raise RuntimeError("nobody reported")
    return (len(written) - 1) / (written[-1] - written[0]), len(written)


_MADE: dict[int, bytes] = {}


def _photograph(number: int) -> bytes:
    """A few small pictures, over and over."""
    return _MADE.setdefault(number % 16, photo(number % 16, 160, 120))


BENCHMARKS = (Benchmark("op-writes", "Status writes", writes),)
