"""Creating and deleting jobs over and over: how long a deletion takes,
and whether anything stays behind.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Iterator
from functools import partial

from bench.plane import Document, Plane, at_once, control_plane, load, quantile, until
from bench.result import Benchmark, Row, Scale, at_most

_AT_A_TIME = 20
_STUCK_SECONDS = 60.0
_COLLECTED_SECONDS = 900.0
"""Kubernetes' garbage collector deletes some four child Jobs a second,
once it has heard of the resource.
"""
_LEASES = "apis/coordination.k8s.io/v1"


def delete(scale: Scale) -> Iterator[Row]:
    """Jobs are deleted while they are active: with child objects and a locked collection."""
    cycles = scale.pick(40, 1_000)
    gone: dict[str, float] = {}
    asked: dict[str, float] = {}
    started: set[str] = set()

    def see(kind: str, found: Document, now: float) -> None:
        name = found["metadata"]["name"]
        if kind == "DELETED":
            gone[name] = now
        elif found.get("status", {}).get("phase") == "Indexing":
            started.add(name)

    with control_plane() as plane, plane.operator(max_concurrent_jobs=1000):
        plane.cache_folder()

        def remove(name: str) -> None:
            asked[name] = time.monotonic()
            plane.api.delete(
                plane.path("fileprocessingjobs", name), {"propagationPolicy": "Background"}
            )

        stuck = 0
        with plane.watching(plane.jobs, see):
            for first in range(0, cycles, _AT_A_TIME):
                names = [
                    f"job-{number}" for number in range(first, min(first + _AT_A_TIME, cycles))
                ]
                at_once(plane.create, names)
                until(partial(started.issuperset, names), "all of a batch begin", 120)
                at_once(remove, names)
                try:
                    until(partial(_are_in, names, gone), "all of a batch end", _STUCK_SECONDS)
                except TimeoutError:
                    stuck += sum(name not in gone for name in names)
        waits = [gone[name] - asked[name] for name in gone]
        left, locked, took = _left_behind(plane)
    note = f"{cycles} cycles, {_AT_A_TIME} at a time, each deleted while active; {load()}"
    yield Row(
        "a job is gone after its deletion, p99", quantile(waits, 0.99), "s", at_most(10), note
    )
    yield Row("  median", quantile(waits, 0.5), "s")
    yield Row("  longest", max(waits), "s")
    yield Row("jobs that are stuck", stuck, "", at_most(0), f"not gone within {_STUCK_SECONDS:g} s")
    yield Row(
        "child Jobs left behind", left, "", at_most(0), f"{took:.0f} s after the last deletion"
    )
    yield Row("collections left locked", locked, "", at_most(0))


def _are_in(names: Iterable[str], gone: Container[str]) -> bool:
    return all(name in gone for name in names)


def _left_behind(plane: Plane) -> tuple[int, int, float]:
    """(child Jobs, held leases, seconds until there were none)."""
    began = time.monotonic()
    while True:
        children = len(plane.api.items(plane.children))
        leases = plane.api.items(plane.path("leases", group=_LEASES))
        held = [
            each
            for each in leases
            if each["spec"].get("holderIdentity")
            and each["metadata"]["name"].startswith("cache-gen-")
        ]
        took = time.monotonic() - began
        if not (children or held) or took > _COLLECTED_SECONDS:
            return children, len(held), took
        time.sleep(1)


BENCHMARKS = (Benchmark("op-delete", "Running jobs deleted", delete),)
