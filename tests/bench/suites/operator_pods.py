"""What jobs with very many failed pods cost the operator: memory, and how many pods it asks for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from bench.plane import (
    Document,
    Plane,
    at_once,
    control_plane,
    load,
    memory_bytes,
    memory_peak,
    until,
)
from bench.production import production_python
from bench.result import Benchmark, Row, Scale, at_most
from fpj_core.kube.exits import ExitCode, Reason, termination_message

_LOOKS_SECONDS = 40.0
"""Two rounds of the reaper, and then some."""
_ENDED = "2026-01-01T00:10:00Z"
_MOST_MB = 200


def pods(scale: Scale) -> Iterator[Row]:
    """Running jobs, each with a child Job that has very many failed pods.

    They are observed, and then all fail.
    """
    jobs, each = scale.pick((3, 100), (12, 1_000))
    with (
        control_plane() as plane,
        plane.operator(python=production_python(), max_concurrent_jobs=jobs) as operator,
    ):
        plane.cache_folder()
        at_once(plane.create, [f"job-{number}" for number in range(jobs)])
        until(lambda: len(_pods(plane)) == jobs, "a pod of every job", 120)
        real = _pods(plane)
        at_once(
            lambda pod: _pretend(plane, pod),
            [(pod, number) for pod in real for number in range(each)],
        )
        size = (
            len(
                json.dumps(plane.api.call("GET", f"{plane.path('pods', group='api/v1')}?limit=100"))
            )
            / 100
        )
        time.sleep(20)
        before, requests = memory_bytes(operator.pid), plane.requests().reads("pods")
        with memory_peak(operator.pid) as peak:
            time.sleep(_LOOKS_SECONDS)
            asked = plane.requests().reads("pods") - requests
            at_once(lambda pod: _fail(plane, pod), real)
            until(lambda: _failed(plane) == jobs, "the end of every job", 120)
            time.sleep(5)
    note = f"each pod {size / 1000:.1f} KB; {load()}"
    what = f"{jobs} jobs of {each:,} failed pods"
    yield Row(f"{what}: operator resident before", before / 10**6, "MB", note=note)
    yield Row(
        "  most while they are looked at, and fail", peak.bytes / 10**6, "MB", at_most(_MOST_MB)
    )
    yield Row(
        "  requests for pods",
        asked / jobs / _LOOKS_SECONDS * 60,
        "/min a job",
        note="none of its pods works",
    )


def _pods(plane: Plane) -> list[Document]:
    return plane.api.items(plane.path("pods", group="api/v1"))


def _pretend(plane: Plane, which: tuple[Document, int]) -> None:
    """A pod like one of the Job's own that failed long ago.

    No controller knows it, and no scheduler.
    """
    pod, number = which
    labels = {
        name: value
        for name, value in pod["metadata"]["labels"].items()
        if "controller-uid" not in name
    }
    name = f"{pod['metadata']['name']}-{number}"
    metadata = {"name": name, "labels": labels}
    spec = pod["spec"] | {"schedulerName": "nobody"}
    path = plane.path("pods", group="api/v1")
    plane.api.call(
        "POST", path, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    )
    _patch_status(plane, name, 1, Reason.STORE_UNAVAILABLE)


def _fail(plane: Plane, pod: Document) -> None:
    _patch_status(plane, pod["metadata"]["name"], ExitCode.PERMANENT, Reason.SOURCE_NOT_FOUND)


def _patch_status(plane: Plane, name: str, code: int, reason: Reason) -> None:
    said = termination_message(reason, "a message of some length, as a worker gives it " * 4)
    ended = {
        "exitCode": code,
        "reason": "Error",
        "startedAt": _ENDED,
        "finishedAt": _ENDED,
        "message": said,
    }
    worker = {"name": "worker", "image": "none", "imageID": "", "ready": False, "restartCount": 0}
    status = {"phase": "Failed", "containerStatuses": [worker | {"state": {"terminated": ended}}]}
    plane.api.patch(f"{plane.path('pods', name, group='api/v1')}/status", {"status": status})


def _failed(plane: Plane) -> int:
    found = plane.api.items(plane.jobs)
    return sum(each.get("status", {}).get("phase") == "Failed" for each in found)


BENCHMARKS = (Benchmark("op-pods", "Jobs with thousands of failed pods", pods),)
