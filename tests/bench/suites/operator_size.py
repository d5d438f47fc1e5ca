"""What many finished jobs cost the operator: memory, and a restart over all of them."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Iterator

from operator_process import OperatorProcess

from bench.plane import (
    Plane,
    at_once,
    control_plane,
    cpu_seconds,
    healthy,
    load,
    memory_bytes,
    until,
)
from bench.production import production_python
from bench.result import Benchmark, Row, Scale, at_most

_SETTLE_SECONDS = 5.0
_BASE_MB, _PER_THOUSAND_MB = 60, 20
_COMPLETED = re.compile(r'^fpj_jobs\{phase="Completed"\} (\S+)$', re.MULTILINE)


def size(scale: Scale) -> Iterator[Row]:
    """Finished jobs with all that their status holds, made while no operator runs.

    Then one starts over them.
    """
    few, many = scale.pick((200, 500), (2_000, 5_000))
    with control_plane() as plane:
        plane.cache_folder()
        base = _started(plane, 0)
        yield Row(
            "operator without a job, resident",
            base.memory / 10**6,
            "MB",
            at_most(_BASE_MB),
            "Python, kopf, pymongo",
        )
        at_once(plane.create_finished, [f"job-{number}" for number in range(few)])
        with_few = _started(plane, few)
        at_once(plane.create_finished, [f"job-{number}" for number in range(few, many)])
        with_many = _started(plane, many)
    for count, found in ((few, with_few), (many, with_many)):
        bound = _BASE_MB + _PER_THOUSAND_MB * count / 1_000
        yield Row(
            f"operator over {count:,} finished jobs, resident",
            found.memory / 10**6,
            "MB",
            at_most(bound),
        )
    each = (with_many.memory - base.memory) / many * 1_000 / 10**6
    yield Row("  for each 1,000 jobs", each, "MB", at_most(_PER_THOUSAND_MB))
    note = "a short run; the bounds are meant for 5,000" if scale.quick else load()
    yield Row(
        f"restart over {many:,}: writes to jobs",
        with_many.writes,
        "",
        at_most(0),
        "by the API server's count",
    )
    yield Row(
        f"restart over {many:,}: CPU",
        with_many.cpu,
        "s",
        at_most(15),
        f"{base.cpu:.1f} s without a job",
    )
    yield Row(f"restart over {many:,}: all are known", with_many.seconds, "s", at_most(30), note)
    yield Row(
        f"restart over {many:,}: a new job's first condition",
        with_many.first,
        "s",
        note="created once all are known",
    )


class _Start:
    """What a start cost. Memory is that after a while; writes and CPU are those until then."""

    def __init__(self, plane: Plane, operator: OperatorProcess, jobs: int) -> None:
        before, began = plane.requests().writes(), time.monotonic()
        operator.start(wait=False)
        until(lambda: healthy(operator), "a green probe", 120)
        until(
            lambda: _completed(operator) == jobs and operator.leads,
            "all jobs in its gauge",
            300,
            pause=0.2,
        )
        self.seconds = time.monotonic() - began
        time.sleep(_SETTLE_SECONDS)
        self.cpu, self.memory = cpu_seconds(operator.pid), memory_bytes(operator.pid)
        self.writes = plane.requests().writes() - before
        name = f"fresh-{jobs}"
        began = time.monotonic()
        plane.create(name)
        path = plane.path("fileprocessingjobs", name)
        until(
            lambda: plane.api.call("GET", path).get("status", {}).get("conditions"),
            "a first condition",
            60,
        )
        self.first = time.monotonic() - began
        plane.api.delete(path)
        until(lambda: plane.api.get(path) is None, "its end", 60)
        operator.stop()


def _started(plane: Plane, jobs: int) -> _Start:
    with plane.operator(start=False, python=production_python()) as operator:
        return _Start(plane, operator, jobs)


def _completed(operator: OperatorProcess) -> int:
    """Jobs that the operator knows as completed; -1 before it says so."""
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{operator.metrics_port}/metrics", timeout=10
        ) as answer:
            found = _COMPLETED.search(answer.read().decode())
    except OSError:
        return -1
    return int(float(found[1])) if found else -1


BENCHMARKS = (Benchmark("op-size", "The operator over thousands of finished jobs", size),)
