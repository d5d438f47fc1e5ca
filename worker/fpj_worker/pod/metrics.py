"""What a worker pod measures while it lives.

See `fpj_core.process.metrics` for what happens to it afterwards.
"""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import Counter, Gauge, Histogram
from typing_extensions import override

from fpj_core.model import Counts, Failure
from fpj_worker.shard import Meter

IMAGES = Counter(
    "fpj_worker_images",
    "Images processed or skipped, by result and error type.",
    ["result", "error_type"],
)
IMAGE_SECONDS = Histogram(
    "fpj_worker_image_seconds",
    "Seconds to process one image.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
STAGE_SECONDS = Histogram(
    "fpj_worker_stage_seconds",
    "Duration of a stage in seconds: Index, Check, Plan, or Process of one shard.",
    ["stage"],
    buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400),
)
BYTES = Counter(
    "fpj_worker_bytes",
    "Bytes of source images processed (in) and of derivatives recorded (out).",
    ["direction"],
)
SKIP_CHECKS = Counter(
    "fpj_worker_skip_checks", "Images found up to date (hit) or not (miss).", ["result"]
)
PENDING = Gauge(
    "fpj_worker_pending_images", "Images of the current shard that are still to be processed."
)
PROCESSES = Gauge("fpj_worker_processes", "Processes that make images.")
BUSY = Gauge(
    "fpj_worker_busy_processes",
    "Processes that are processing an image; if all are, utilization is full.",
)
CONFINED = Gauge(
    "fpj_worker_confined",
    "1 if the kernel confines child processes: files, network, signals, syscalls.",
    ["part"],
)
REPORTS = Counter(
    "fpj_worker_status_reports", "Writes of the job's status: written or failed.", ["result"]
)


class PrometheusMeter(Meter):
    """Counts for Prometheus."""

    def __init__(self) -> None:
        self._counts = Counts()

    def take(self) -> Counts:
        """What was counted since this was last asked."""
        taken, self._counts = self._counts, Counts()
        return taken

    @override
    def settled(self, source_bytes: int, seconds: float) -> None:
        IMAGE_SECONDS.observe(seconds)
        BYTES.labels("in").inc(source_bytes)

    @override
    def failed(self, failure: Failure) -> None:
        """It is counted once it is recorded."""

    @override
    def counted(self, counts: Counts) -> None:
        self._counts += counts
        counts = replace(counts, completed=max(counts.completed, 0), skipped=max(counts.skipped, 0))
        IMAGES.labels("completed", "").inc(counts.completed)
        IMAGES.labels("skipped", "").inc(counts.skipped)
        for error_type, count in counts.errors.items():
            IMAGES.labels("failed", error_type).inc(count)
        SKIP_CHECKS.labels("hit").inc(counts.skipped)
        SKIP_CHECKS.labels("miss").inc(counts.completed + counts.failed)
        BYTES.labels("out").inc(max(counts.bytes_written, 0))
