"""How far a job is: the numbers behind ``status.progress``, the live display and ``--json``."""

from __future__ import annotations

from dataclasses import dataclass

from fpj_core.model import Counts, Job


@dataclass(frozen=True, slots=True)
class Progress:
    """The fields of ``status.progress``. ``eta_seconds`` is None while no rate is known."""

    total: int
    completed: int
    skipped: int
    failed: int
    percent: int
    images_per_second: float
    eta_seconds: float | None
    bytes_written: int
    average_processing_ms: float

    def as_status(self) -> dict[str, int | float | None]:
        """The fields under their names in the resource, rounded for people."""
        return {
            "total": self.total,
            "completed": self.completed,
            "skipped": self.skipped,
            "failed": self.failed,
            "percent": self.percent,
            "imagesPerSecond": round(self.images_per_second, 1),
            "etaSeconds": None if self.eta_seconds is None else round(self.eta_seconds),
            "bytesWritten": self.bytes_written,
            "averageProcessingMs": round(self.average_processing_ms, 1),
        }


def measure(job: Job, shard_counts: Counts) -> Progress:
    """Progress of ``job`` from the sum of its shards' counts.

    The rate is images worked on in this attempt per second of active time (not of waiting or
    suspension), since images that were found done cost next to nothing and would flatter it. 100 %
    is shown only when nothing is left.
    """
    counts = job.base + shard_counts
    worked = max(counts.completed + counts.failed - max(job.made_before, job.base.completed), 0)
    active = _active_seconds(job)
    rate = worked / active if active > 0 else 0.0
    left = max(job.total - counts.done, 0)
    eta = 0.0 if left == 0 else (left / rate if rate > 0 else None)
    return Progress(
        total=job.total,
        completed=counts.completed,
        skipped=counts.skipped,
        failed=counts.failed,
        percent=100 if left == 0 else min(99, counts.done * 100 // job.total),
        images_per_second=rate,
        eta_seconds=eta,
        bytes_written=counts.bytes_written,
        average_processing_ms=shard_counts.processing_ms / worked if worked else 0.0,
    )


def _active_seconds(job: Job) -> float:
    """How long the attempt has been worked on.

    For pods, up to the latest progress rather than up to now: while nothing moves, neither do the
    numbers, and a status in which nothing changed need not be written.
    """
    if job.running_since is None or job.last_progress_at is None:
        return job.active_seconds
    return job.active_seconds + max(job.last_progress_at - job.running_since, 0.0)
