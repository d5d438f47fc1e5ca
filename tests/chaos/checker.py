"""Whether anything was lost, made twice or got stuck, from facts that others gathered.

Pure; nothing of fpj is used.

After all faults each collection gets one more run without any. By then every image of the source
must be there exactly once, and that run may make only what changed in the source, or failed before.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Size = tuple[int, int]
Status = Mapping[str, Any]

_LIKE = 20.0
"""Mean difference of two pictures, of 255, up to which one may have been made of the other."""
_DONE = ("Completed", "CompletedWithErrors")


@dataclass(frozen=True)
class Row:
    """A record of the store: a file of an image in a tier."""

    key: str
    tier: str
    path: str
    size: Size
    bytes: int


@dataclass(frozen=True)
class File:
    """A file of the cache folder: the size of the picture (None:
    it cannot be decoded) and its distance to the source.

    The distance is the mean difference of the two as small pictures, of 255; None where its source
    is gone.
    """

    bytes: int
    size: Size | None
    distance: float | None = None


@dataclass(frozen=True)
class Shard:
    """A shard of the attempt that ended: its images, and how far it came."""

    start: int
    stop: int
    cursor: int
    state: str
    counted: int


@dataclass(frozen=True)
class Run:
    """A job at its end: what its status and its shards say."""

    name: str
    status: Status
    generation: int
    shards: Sequence[Shard] = ()
    base: int = 0
    """Images that were done before the shards were planned, as the store has it."""

    @property
    def phase(self) -> str:
        return str(self.status.get("phase", ""))

    def count(self, name: str) -> int:
        return int(self.status.get("progress", {}).get(name, 0))


@dataclass(frozen=True)
class Facts:
    """What is so once a collection's jobs have ended."""

    sources: Mapping[str, Size]
    boxes: Mapping[str, Size]
    job: Run
    rerun: Run
    rows: Sequence[Row]
    files: Mapping[str, File]
    changed: frozenset[str] = frozenset()
    """Images that were added, replaced or deleted while the job ran."""
    left: Sequence[str] = ()
    """Leases that are held, finalizers, pods and child Jobs that have not ended."""
    gone: frozenset[str] = frozenset()
    """Those of `changed` that are deleted."""


def check(facts: Facts) -> list[str]:
    """What is wrong: sentences that begin with "lost", "double", "stuck" or "false".

    None where all is well.
    """
    if stuck := list(_stuck(facts)):
        return stuck
    return [*_records(facts), *_files(facts), *_job(facts), *_rerun(facts)]


def _stuck(facts: Facts) -> Iterator[str]:
    for run in (facts.job, facts.rerun):
        if run.phase not in _DONE:
            yield f"stuck: {run.name} is {run.phase or 'nothing yet'}: {_said(run.status)}"
    yield from (f"stuck: {each}" for each in facts.left)


def _said(status: Status) -> str:
    found = [
        each for each in status.get("conditions", []) if each["type"] in ("Progressing", "Failed")
    ]
    return "; ".join(
        f"{each['type']}={each['status']} {each['reason']} {each['message'][:300]}"
        for each in found
    )


def _records(facts: Facts) -> Iterator[str]:
    for (key, tier), number in Counter((row.key, row.tier) for row in facts.rows).items():
        if number > 1:
            yield f"double: {number} records of {key} in {tier}"
    for path, number in Counter(row.path for row in facts.rows).items():
        if number > 1:
            yield f"double: {number} records of the file {path}"
    recorded = {(row.key, row.tier) for row in facts.rows}
    for key, tier in itertools.product(facts.sources, facts.boxes):
        if (key, tier) not in recorded:
            yield f"lost: no record of {key} in {tier}"
    for key in sorted({row.key for row in facts.rows} - set(facts.sources) - facts.gone):
        yield f"double: a record of {key}, which never was in the source"


def _files(facts: Facts) -> Iterator[str]:
    for row in facts.rows:
        file = facts.files.get(row.path)
        if file is None:
            yield f"lost: {row.path} of {row.key} is recorded and not there"
            continue
        if (file.bytes, file.size) != (row.bytes, row.size):
            yield (
                f"lost: {row.path} is {file.size}, {file.bytes} bytes; recorded is {row.size},"
                f" {row.bytes} bytes"
            )
        if row.key in facts.sources:
            yield from _picture(facts, row, file)
    for path in sorted(set(facts.files) - {row.path for row in facts.rows}):
        yield f"double: {path} is there and not recorded"


def _picture(facts: Facts, row: Row, file: File) -> Iterator[str]:
    wanted = _within(facts.sources[row.key], facts.boxes[row.tier])
    if row.size != wanted:
        yield f"lost: {row.path} of {row.key} is {row.size}, and should be {wanted}"
    if file.distance is not None and file.distance > _LIKE:
        yield f"lost: {row.path} does not show {row.key}: {file.distance:.0f} of 255 away"


def _within(size: Size, box: Size) -> Size:
    scale = min(1.0, box[0] / size[0], box[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _job(facts: Facts) -> Iterator[str]:
    """The job that met the faults: every image of its plan is counted once."""
    job = facts.job
    yield from _counted(job)
    steady = len(set(facts.sources) - facts.changed)
    if not steady <= job.count("total") <= steady + len(facts.changed):
        yield (
            f"false: total is {job.count('total')} of {steady} images and {len(facts.changed)}"
            " changed ones"
        )
    if job.count("failed") > len(facts.changed):
        yield (
            f"lost: {job.count('failed')} images failed, and {len(facts.changed)} changed:"
            f" {_errors(job)}"
        )
    for before, after in itertools.pairwise(job.shards):
        if before.stop > after.start:  # what was done already lies in no shard
            yield f"double: a shard ends at {before.stop}, and the next one begins at {after.start}"
    for shard in job.shards:
        if (shard.state, shard.cursor) != ("Succeeded", shard.stop):
            yield f"lost: shard [{shard.start}, {shard.stop}) is {shard.state} at {shard.cursor}"
    counted = job.base + sum(shard.counted for shard in job.shards)
    if job.shards and counted != job.count("total"):
        yield f"false: the store counts {counted} images, the status {job.count('total')}"


def _counted(run: Run) -> Iterator[str]:
    parts = {name: run.count(name) for name in ("completed", "skipped", "failed")}
    if sum(parts.values()) != run.count("total"):
        kind = "lost" if sum(parts.values()) < run.count("total") else "double"
        yield f"{kind}: {run.name} has {parts} of {run.count('total')}"
    if sum(run.status.get("errorBreakdown", {}).values()) != parts["failed"]:
        yield f"false: {run.name} has {parts['failed']} failed images, by type {_errors(run)}"
    if run.status.get("observedGeneration") != run.generation:
        yield (
            f"false: {run.name} observed generation {run.status.get('observedGeneration')} of"
            f" {run.generation}"
        )
    if (run.phase == "Completed") != (parts["failed"] == 0):
        yield f"false: {run.name} is {run.phase} with {parts['failed']} failed images"
    if run.status.get("shards", {}).get("active"):
        yield f"false: {run.name} has ended with {run.status['shards']['active']} active shards"


def _errors(run: Run) -> dict[str, int]:
    return dict(run.status.get("errorBreakdown", {}))


def _rerun(facts: Facts) -> Iterator[str]:
    """One more run, without faults: it finds everything, and makes only what changed or failed."""
    rerun = facts.rerun
    yield from _counted(rerun)
    if rerun.count("total") != len(facts.sources):
        yield f"lost: {rerun.name} found {rerun.count('total')} of {len(facts.sources)} images"
    if rerun.count("failed"):
        yield f"lost: {rerun.name} failed for {rerun.count('failed')} images: {_errors(rerun)}"
    may_be_made = len(facts.changed - facts.gone)
    if rerun.count("completed") > may_be_made:
        yield (
            f"double: {rerun.name} made {rerun.count('completed')} images again; {may_be_made}"
            " changed"
        )
