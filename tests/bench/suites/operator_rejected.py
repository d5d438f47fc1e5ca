"""A child object that the API server rejects: until the job says so,
and until it goes on once the cause is gone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.plane import Document, Plane, control_plane, load, until
from bench.result import Benchmark, Row, Scale, at_most

_QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "no-jobs"},
    "spec": {"hard": {"count/jobs.batch": "0"}},
}


def rejected(scale: Scale) -> Iterator[Row]:
    """A quota of no Jobs, jobs, and after a while the quota's end."""
    jobs, lasts = scale.pick((5, 20), (20, 120))
    names = [f"job-{number}" for number in range(jobs)]
    said: dict[str, float] = {}
    started: dict[str, float] = {}

    def see(_kind: str, found: Document, now: float) -> None:
        conditions = {each["type"]: each for each in found.get("status", {}).get("conditions", [])}
        if conditions.get("Progressing", {}).get("reason") == "ChildRejected":
            said.setdefault(found["metadata"]["name"], now)

    def child(kind: str, found: Document, now: float) -> None:
        if kind == "ADDED":
            started.setdefault(found["metadata"]["ownerReferences"][0]["name"], now)

    with control_plane() as plane, plane.operator(max_concurrent_jobs=jobs):
        plane.cache_folder()
        quota = _no_jobs(plane)
        with plane.watching(plane.jobs, see), plane.watching(plane.children, child):
            created = {name: _create(plane, name) for name in names}
            until(lambda: len(said) == jobs, "a condition of every job", 300)
            before = plane.requests().writes()
            time.sleep(lasts)
            writes = plane.requests().writes() - before
            plane.api.delete(quota)
            gone = time.monotonic()
            until(lambda: len(started) == jobs, "a child of every job", 300)
    note = f"{jobs} jobs at once, a quota of no Jobs; {load()}"
    yield Row(
        "rejected child, create to condition, longest",
        max(said[n] - created[n] for n in names),
        "s",
        at_most(15),
        note,
    )
    yield Row(f"status writes while it lasts, {lasts} s", writes, "writes", at_most(jobs))
    yield Row(
        "end of the quota to child Job, longest", max(started.values()) - gone, "s", at_most(15)
    )


def _create(plane: Plane, name: str) -> float:
    now = time.monotonic()
    plane.create(name)
    return now


def _no_jobs(plane: Plane) -> str:
    """A quota that is in force; its path."""
    plane.api.call("POST", plane.path("resourcequotas", group="api/v1"), _QUOTA)
    path = plane.path("resourcequotas", "no-jobs", "api/v1")
    until(
        lambda: (plane.api.get(path) or {}).get("status", {}).get("hard"),
        "the quota is in force",
        60,
    )
    return path


BENCHMARKS = (Benchmark("op-rejected", "A child object that the API server rejects", rejected),)
