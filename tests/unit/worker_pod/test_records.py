"""The job's record where several write it, the rate over pods, and the status made of both."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fpj_core.errors import ConcurrencyError, FencedError, StoreError
from fpj_core.jobs import change_job, observe, recorded_job
from fpj_core.kube.status import status_document
from fpj_core.model import Counts, Job, Phase, Shard, ShardBatch, ShardState
from fpj_core.progress import Progress, measure
from fpj_core.store import open_store
from fpj_core.store.protocol import Store
from fpj_core.v1alpha1.job import FileProcessingJobStatus

JOB = "job-1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "store.db"))
    opened.create_job(Job(JOB, "it", "c", {}, "digest"))
    yield opened
    opened.close()


# The record ---------------------------------------------------------------------------------------


def test_twenty_that_change_a_record_at_once_lose_nothing(store: Store) -> None:
    barrier = threading.Barrier(4)

    def work(_number: int) -> None:
        barrier.wait(30)
        for _ in range(5):
            change_job(store, JOB, lambda job: replace(job, total=job.total + 1))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert recorded_job(store, JOB).total == 20


def test_a_change_that_changes_nothing_writes_nothing(store: Store) -> None:
    assert change_job(store, JOB, replace).version == 0


def test_what_a_change_raises_ends_it(store: Store) -> None:
    def refuse(_job: Job) -> Job:
        raise FencedError("no")

    with pytest.raises(FencedError):
        change_job(store, JOB, refuse)


def test_the_attempts_at_a_change_are_bounded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = 0

    def conflict(_job: Job) -> Job:
        nonlocal attempts
        attempts += 1
        raise ConcurrencyError("someone was faster")

    monkeypatch.setattr(store, "update_job", conflict)
    monkeypatch.setattr("fpj_core.jobs._PAUSE_SECONDS", 0.0)
    with pytest.raises(ConcurrencyError):
        change_job(store, JOB, lambda job: replace(job, total=job.total + 1))
    assert attempts == 10


def test_a_job_that_is_not_recorded(store: Store) -> None:
    with pytest.raises(StoreError, match="not recorded"):
        change_job(store, "other", lambda job: job)


# Looking at it ------------------------------------------------------------------------------------


def planned(store: Store, attempt: int = 1) -> Shard:
    store.put_shards(
        JOB, 1, [Shard(JOB, 1, 0, "c", 0, 100, 0), Shard(JOB, 1, 1, "c", 100, 110, 100)]
    )
    change_job(
        store,
        JOB,
        lambda job: replace(
            job,
            total=120,
            base=Counts(skipped=10),
            planning_attempt=attempt,
            planned_attempt=attempt,
            running_since=1_000.0,
            last_progress_at=1_000.0,
            last_progress_done=10,
        ),
    )
    claimed = store.claim_shard(JOB, 1, "w", 1_000.0)
    assert claimed
    return claimed


def flush(store: Store, shard: Shard, start: int, stop: int) -> None:
    counts = Counts(
        completed=stop - start - 1, failed=1, errors={"TooLarge": 1}, processing_ms=500.0
    )
    store.flush(ShardBatch(JOB, 1, 0, "c", shard.epoch, 1, start, stop, counts), 1_001.0)


def test_progress_is_noted_when_images_were_done(store: Store) -> None:
    shard = planned(store)
    before = observe(store, JOB, 1, 1_003.0)
    assert before
    assert (before.job.last_progress_at, before.counts.done) == (1_000.0, 10), (
        "nothing was done yet"
    )
    flush(store, shard, 0, 20)
    moved = observe(store, JOB, 1, 1_005.0)
    assert moved
    assert (moved.job.last_progress_at, moved.job.last_progress_done) == (1_005.0, 30)
    assert moved.counts == Counts(
        completed=19, skipped=10, failed=1, processing_ms=500.0, errors={"TooLarge": 1}
    )
    assert moved.states == {ShardState.RUNNING: 1, ShardState.PENDING: 1}
    assert moved.progress.images_per_second == 4.0, "20 images in the 5 s since pods began"
    again = observe(store, JOB, 1, 1_050.0)
    assert again == moved, "while nothing moves, no number does"
    assert recorded_job(store, JOB) == moved.job


@pytest.mark.parametrize(
    "planning", [{"planning_attempt": 2}, {"planning_attempt": 2, "planned_attempt": 2}]
)
def test_counts_of_two_attempts_are_never_mixed(store: Store, planning: dict[str, Any]) -> None:
    planned(store)
    change_job(store, JOB, lambda job: replace(job, **planning))
    assert observe(store, JOB, 1, 1_005.0) is None


# Rate and status ----------------------------------------------------------------------------------


def test_the_rate_over_pods_counts_from_when_they_began_to_the_latest_progress() -> None:
    job = Job(JOB, "it", "c", {}, "d", total=100, running_since=50.0, last_progress_at=60.0)
    assert measure(job, Counts(completed=20)).images_per_second == 2.0
    assert (
        measure(replace(job, last_progress_at=50.0), Counts(completed=20)).images_per_second == 0.0
    )
    assert (
        measure(replace(job, last_progress_at=40.0), Counts(completed=20)).images_per_second == 0.0
    ), "clocks differ"
    assert measure(replace(job, last_progress_at=None), Counts(completed=20)).eta_seconds is None


def test_a_status_as_the_api_server_accepts_it() -> None:
    progress = Progress(1_000, 280, 430, 20, 73, 41.34, 130.2, 1_500, 250.04)
    counts = Counts(errors={"TooLarge": 15, "CorruptImage": 5})
    states = {ShardState.RUNNING: 2, ShardState.SUCCEEDED: 5, ShardState.PENDING: 1}
    document = status_document(progress, counts, states, 1_700_000_000.4)
    assert document == {
        "progress": {
            "total": 1_000,
            "completed": 280,
            "skipped": 430,
            "failed": 20,
            "percent": 73,
            "imagesPerSecond": 41.3,
            "etaSeconds": 130,
            "bytesWritten": 1_500,
            "averageProcessingMs": 250.0,
        },
        "display": {"progress": "73%", "done": "730/1000", "rate": "41.3/s", "eta": "2m10s"},
        "errorBreakdown": {"CorruptImage": 5, "TooLarge": 15},
        "shards": {"total": 8, "active": 2, "succeeded": 5, "failed": 0},
        "lastProgressAt": "2023-11-14T22:13:20Z",
    }
    FileProcessingJobStatus.model_validate_json(json.dumps(document), strict=True)


def test_what_is_unknown_is_left_out() -> None:
    job = Job(JOB, "it", "c", {}, "d", total=5)
    document = status_document(measure(job, Counts()), Counts(), {}, None)
    assert "etaSeconds" not in document["progress"]
    assert "lastProgressAt" not in document
    assert document["display"] == {"progress": "0%", "done": "0/5", "rate": "-", "eta": "-"}
    FileProcessingJobStatus.model_validate_json(json.dumps(document), strict=True)
    assert (
        status_document(measure(replace(job, total=0), Counts()), Counts(), {}, None)["display"][
            "progress"
        ]
        == "-"
    )


def test_a_job_at_rest_tells_no_time_at_which_it_is_done() -> None:
    progress = Progress(1_000, 280, 430, 20, 73, 41.34, 130.2, 1_500, 250.04)
    shown = status_document(progress, Counts(), {}, None)["display"]
    assert status_document(progress, Counts(), {}, None, at_rest=True)["display"] == shown | {
        "eta": "-"
    }
    assert {phase for phase in Phase if phase.at_rest} == {
        Phase.SUSPENDED,
        Phase.COMPLETED,
        Phase.COMPLETED_WITH_ERRORS,
        Phase.FAILED,
        Phase.CANCELLED,
    }


def test_a_status_stays_small_whatever_the_job() -> None:
    most = 10**12
    progress = Progress(most, most, most, most, 100, 1e9, 1e9, 2**62, 1e9)
    errors = {f"ErrorTypeNumber{n}": most for n in range(14)}
    states = dict.fromkeys(ShardState, 10**9)
    document = status_document(progress, Counts(errors=errors), states, 1.7e9)
    assert len(json.dumps(document)) < 2_000
    FileProcessingJobStatus.model_validate_json(json.dumps(document), strict=True)
