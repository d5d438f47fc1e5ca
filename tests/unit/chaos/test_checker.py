"""The checker of chaos runs sees each thing that may not be; and nothing where all is well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from chaos.checker import Facts, File, Row, Run, Shard, check

KEYS = [f"{number}.jpg" for number in range(4)]
BOXES = {"full": (200, 150), "thumbnail": (64, 64)}


def status(phase: str = "Completed", **progress: int) -> dict[str, Any]:
    counts = {"total": 4, "completed": 4, "skipped": 0, "failed": 0} | progress
    errors = {"errorBreakdown": {"NotFound": counts["failed"]}} if counts["failed"] else {}
    return {"phase": phase, "progress": counts, "observedGeneration": 1, "conditions": []} | errors


def rows() -> list[Row]:
    sizes = {"full": (200, 150), "thumbnail": (64, 48)}
    return [Row(key, tier, f"{key}/{tier}", sizes[tier], 1_000) for key in KEYS for tier in BOXES]


def facts() -> Facts:
    """Four images, all made by a job of two shards, all skipped by the next."""
    shards = [Shard(0, 2, 2, "Succeeded", 2), Shard(2, 4, 4, "Succeeded", 2)]
    files = {row.path: File(row.bytes, row.size, 3.0) for row in rows()}
    rerun = Run("rerun", status(completed=0, skipped=4), 1)
    job = Run("job", status(), 1, shards)
    return Facts(dict.fromkeys(KEYS, (400, 300)), BOXES, job, rerun, rows(), files)


def test_nothing_is_wrong_where_all_is_well() -> None:
    assert check(facts()) == []


def test_images_that_changed_may_have_failed_and_be_made_again() -> None:
    good = facts()
    job = replace(good.job, status=status("CompletedWithErrors", completed=3, failed=1))
    rerun = replace(good.rerun, status=status(completed=1, skipped=3))
    assert check(replace(good, changed=frozenset({"1.jpg"}), job=job, rerun=rerun)) == []


def without(found: Facts, path: str) -> Facts:
    return replace(found, files={name: file for name, file in found.files.items() if name != path})


def with_file(found: Facts, path: str, **fields: Any) -> Facts:
    old = found.files.get(path, File(1_000, (64, 48), 3.0))
    return replace(found, files={**found.files, path: replace(old, **fields)})


def job(found: Facts, **fields: Any) -> Facts:
    return replace(found, job=replace(found.job, **fields))


def rerun(found: Facts, **progress: int) -> Facts:
    given: dict[str, Any] = {"completed": 0, "skipped": 4} | progress
    return replace(found, rerun=replace(found.rerun, status=status(**given)))


WRONG: dict[str, tuple[str, Callable[[Facts], Facts]]] = {
    "a job that does not end": ("stuck", lambda good: job(good, status=status("Running"))),
    "a lease that is held": (
        "stuck",
        lambda good: replace(good, left=["the lease of photos is held"]),
    ),
    "a job that failed": ("stuck", lambda good: job(good, status=status("Failed"))),
    "a file that is gone": ("lost", lambda good: without(good, "1.jpg/full")),
    "a file that is cut off": (
        "lost",
        lambda good: with_file(good, "1.jpg/full", bytes=500, size=None),
    ),
    "a file that shows another image": (
        "lost",
        lambda good: with_file(good, "1.jpg/full", distance=80.0),
    ),
    "an image without a record": (
        "lost",
        lambda good: without(replace(good, rows=good.rows[1:]), "0.jpg/full"),
    ),
    "a file without a record": ("double", lambda good: with_file(good, "other/full")),
    "two records of one file": (
        "double",
        lambda good: replace(good, rows=[*good.rows, good.rows[0]]),
    ),
    "a record of no image": (
        "double",
        lambda good: with_file(
            replace(good, rows=[*good.rows, Row("9.jpg", "full", "9", (200, 150), 9)]),
            "9",
            bytes=9,
            size=(200, 150),
        ),
    ),
    "an image that is not counted": ("lost", lambda good: job(good, status=status(completed=3))),
    "an image that is counted twice": (
        "double",
        lambda good: job(good, status=status(completed=5)),
    ),
    "a failure without a change": (
        "lost",
        lambda good: job(good, status=status("CompletedWithErrors", completed=3, failed=1)),
    ),
    "a shard that did not end": (
        "lost",
        lambda good: job(good, shards=[good.job.shards[0], Shard(2, 4, 3, "Running", 2)]),
    ),
    "shards that overlap": (
        "double",
        lambda good: job(good, shards=[good.job.shards[0], Shard(1, 4, 4, "Succeeded", 2)]),
    ),
    "a store that counts otherwise": (
        "false",
        lambda good: job(good, shards=[good.job.shards[0], Shard(2, 4, 4, "Succeeded", 1)]),
    ),
    "a total that is too small": (
        "false",
        lambda good: job(good, status=status(total=3, completed=3), shards=()),
    ),
    "a generation that nobody saw": ("false", lambda good: job(good, generation=2)),
    "images that are made again": ("double", lambda good: rerun(good, completed=1, skipped=3)),
    "images that are not found again": ("lost", lambda good: rerun(good, total=3, skipped=3)),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_found(wrong: str) -> None:
    kind, broken = WRONG[wrong]
    found = check(broken(facts()))
    assert any(each.startswith(f"{kind}: ") for each in found), found
