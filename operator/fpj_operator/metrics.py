"""What the operator tells Prometheus. Labels come from closed sets only: never a job's name.

Worker pods are too short-lived to be scraped reliably, so their totals reach Prometheus through here: they are in the
store, exact, and the operator adds each job's to these counters when the job ends.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from fpj_core.model import Counts, Phase

RECONCILE_SECONDS = Histogram(
    "fpj_operator_reconcile_seconds",
    "Seconds that one look at a job took.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
RECONCILE_ERRORS = Counter("fpj_operator_reconcile_errors", "Looks at a job that failed and are repeated.")
QUEUE_DEPTH = Gauge("fpj_operator_workqueue_depth", "Jobs that wait to be looked at.")
JOBS = Gauge("fpj_jobs", "FileProcessingJobs by phase.", ["phase"])
ENDED = Counter("fpj_jobs_ended", "Jobs that ended, by phase.", ["phase"])
RECOVERED = Counter("fpj_jobs_recovered", "Attempts ended for want of progress or of the lease.")
LOCK_WAITS = Counter("fpj_lease_waits", "Times a job found its collection locked by another.")
IMAGES = Counter("fpj_images", "Images of ended jobs, by result.", ["result"])
IMAGES_FAILED = Counter("fpj_images_failed", "Failed images of ended jobs, by error type.", ["error_type"])
BYTES_WRITTEN = Counter("fpj_bytes_written", "Bytes of derivatives that ended jobs wrote.")
ALERTS = Counter("fpj_failure_alerts", "Times that ten more images of a job had failed.")
LEADER = Gauge("fpj_operator_leader", "1 while this process leads.")


def count_end(phase: Phase, counts: Counts) -> None:
    """Add an ended job."""
    ENDED.labels(phase.value).inc()
    for result, number in (("completed", counts.completed), ("skipped", counts.skipped), ("failed", counts.failed)):
        IMAGES.labels(result).inc(number)
    for error_type, number in counts.errors.items():
        IMAGES_FAILED.labels(error_type).inc(number)
    BYTES_WRITTEN.inc(counts.bytes_written)


def show_jobs(counts: dict[Phase, int]) -> None:
    """Set the gauge of jobs by phase."""
    for phase, number in counts.items():
        JOBS.labels(phase.value).set(number)
