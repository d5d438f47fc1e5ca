"""The numbers that people watch."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpj_core.model import Counts, Job
from fpj_core.progress import Progress, measure

FEW = st.integers(0, 1_000)
COUNTS = st.builds(Counts, FEW, FEW, FEW, FEW, st.floats(0, 1e6))


def job(total: int = 0, base: Counts | None = None, active_seconds: float = 0.0) -> Job:
    return Job(
        "id",
        "name",
        "c",
        {},
        "digest",
        total=total,
        base=base or Counts(),
        active_seconds=active_seconds,
    )


@settings(deadline=None)
@given(COUNTS, COUNTS, FEW, st.just(0.0) | st.floats(0.001, 1e6))
def test_measure(base: Counts, shards: Counts, left: int, seconds: float) -> None:
    total = base.done + shards.done + left
    progress = measure(job(total, base, seconds), shards)
    assert progress.completed + progress.skipped + progress.failed + left == progress.total == total
    assert 0 <= progress.percent <= 100
    assert (progress.percent == 100) == (left == 0), "100 % means that nothing is left"
    assert progress.percent <= 100 * (total - left) / total if total else progress.percent == 100
    assert progress.bytes_written == base.bytes_written + shards.bytes_written
    assert progress.images_per_second >= 0
    if progress.eta_seconds is None:
        assert left and not progress.images_per_second
    else:
        assert progress.eta_seconds * progress.images_per_second == pytest.approx(
            left if progress.eta_seconds else 0
        )


def test_an_example() -> None:
    base = Counts(completed=100, skipped=400, bytes_written=1_000)
    shards = Counts(completed=180, skipped=30, failed=20, bytes_written=500, processing_ms=50_000.0)
    assert measure(job(1_000, base, 40.0), shards) == Progress(
        total=1_000,
        completed=280,
        skipped=430,
        failed=20,
        percent=73,
        images_per_second=5.0,
        eta_seconds=54.0,
        bytes_written=1_500,
        average_processing_ms=250.0,
    )


def test_skipped_images_flatter_no_rate() -> None:
    progress = measure(job(1_000, active_seconds=10.0), Counts(skipped=900))
    assert (progress.images_per_second, progress.eta_seconds, progress.percent) == (0.0, None, 90)


def test_what_earlier_attempts_worked_on_is_not_of_this_time() -> None:
    progress = measure(
        job(100, Counts(completed=50, processing_ms=9e9), 5.0),
        Counts(completed=10, processing_ms=100.0),
    )
    assert progress.images_per_second == 2.0
    assert progress.average_processing_ms == 10.0


def test_pods_have_worked_up_to_the_latest_progress() -> None:
    """Whenever it is asked: while nothing moves, neither do the numbers."""
    pods = replace(job(100), running_since=1_000.0, last_progress_at=1_010.0)
    assert measure(pods, Counts(completed=20)).images_per_second == 2.0
    assert measure(replace(pods, last_progress_at=None), Counts(completed=20)).eta_seconds is None
    assert (
        measure(replace(pods, last_progress_at=999.0), Counts(completed=20)).images_per_second
        == 0.0
    )


def test_the_end_is_not_shown_early() -> None:
    assert measure(job(10**6), Counts(skipped=10**6 - 1)).percent == 99
    assert measure(job(10**6), Counts(skipped=10**6)).percent == 100
    assert measure(job(0), Counts()).percent == 100
    assert measure(job(0), Counts()).eta_seconds == 0.0


def test_more_done_than_there_are_is_the_end() -> None:
    """Images may vanish while a job runs."""
    progress = measure(job(5, active_seconds=1.0), Counts(completed=7))
    assert (progress.percent, progress.eta_seconds) == (100, 0.0)


def test_status_is_rounded_for_people() -> None:
    progress = measure(
        job(1_000, active_seconds=3.0), Counts(completed=10, failed=1, processing_ms=100.0)
    )
    assert progress.as_status() == {
        "total": 1_000,
        "completed": 10,
        "skipped": 0,
        "failed": 1,
        "percent": 1,
        "imagesPerSecond": 3.7,
        "etaSeconds": 270,
        "bytesWritten": 0,
        "averageProcessingMs": 9.1,
    }
    assert measure(job(5), Counts()).as_status()["etaSeconds"] is None
