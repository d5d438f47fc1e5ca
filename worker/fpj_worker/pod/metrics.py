"""What a worker pod measures while it lives. See `fpj_core.process.metrics` for what happens to it afterwards."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client import Counter, Gauge, Histogram
from typing_extensions import override

from fpj_core.model import Counts, Failure
from fpj_worker.shard import Meter

IMAGES = Counter("fpj_worker_images", "Images accounted for.", ["result", "error_type"])
IMAGE_SECONDS = Histogram(
    "fpj_worker_image_seconds",
    "Seconds of work on one image in its process.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
STAGE_SECONDS = Histogram(
    "fpj_worker_stage_seconds",
    "Seconds of a stage: Index, Check, Plan, or Process of one shard.",
    ["stage"],
    buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400),
)
BYTES = Counter(
    "fpj_worker_bytes", "Bytes of source images worked on (in) and of derivatives recorded (out).", ["direction"]
)
SKIP_CHECKS = Counter("fpj_worker_skip_checks", "Images found up to date (hit) or not (miss).", ["result"])
PENDING = Gauge("fpj_worker_pending_images", "Images of the current shard that are not accounted for.")
PROCESSES = Gauge("fpj_worker_processes", "Processes that images are made in.")
BUSY = Gauge("fpj_worker_busy_processes", "Processes that have an image in hand; all of them is full utilization.")
CONFINED = Gauge(
    "fpj_worker_confined",
    "1 if the kernel confines child processes: files, network, signals, syscalls.",
    ["part"],
)
REPORTS = Counter("fpj_worker_status_reports", "Writes of the job's status: written or failed.", ["result"])


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
