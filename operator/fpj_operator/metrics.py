"""What the operator tells Prometheus. Labels come from closed sets: never a job's name.

Cache folders alone are named: they are few, and whoever is woken must know which.
Worker pods are too short-lived to be scraped reliably, so their totals reach Prometheus through here: they are in the
store, exact, and the operator adds what is new at each look at a job (see `fpj_operator.jobs.tally`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from fpj_core.errors import ErrorType
from fpj_core.kube.exits import Reason
from fpj_core.model import Counts, Phase
from fpj_core.v1alpha1.common import parse_quantity

RECONCILE_SECONDS = Histogram(
    "fpj_operator_reconcile_seconds",
    "Seconds that one look at a job took.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
RECONCILE_ERRORS = Counter("fpj_operator_reconcile_errors", "Looks at a job that failed and are repeated.")
EVENTS_REFUSED = Counter("fpj_operator_events_refused", "Kubernetes events that could not be written.")
QUEUE_DEPTH = Gauge("fpj_operator_workqueue_depth", "Jobs that wait to be looked at.")
LOOP_LAG = Histogram(
    "fpj_operator_loop_lag_seconds",
    "Seconds by which the event loop was late; it is asked twice a second while the operator leads.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
LEADER = Gauge("fpj_operator_leader", "1 while this process leads, 0 while it waits to.")
JOBS = Gauge("fpj_jobs", "FileProcessingJobs by phase.", ["phase"])
JOBS_QUEUED = Gauge("fpj_jobs_queued", "Jobs that wait for one of the slots of their namespace.")
JOBS_IN_TROUBLE = Gauge("fpj_jobs_in_trouble", "Jobs at work that something keeps from moving, by reason.", ["reason"])
ENDED = Counter("fpj_jobs_ended", "Jobs that ended, by phase.", ["phase"])
RECOVERED = Counter("fpj_jobs_recovered", "Attempts that were ended to begin another, by reason.", ["reason"])
STALE_DETECTION = Histogram(
    "fpj_stale_detection_seconds",
    "Seconds without progress after which an attempt was ended as stale.",
    buckets=(30, 60, 120, 300, 600, 900, 1_200, 1_800, 3_600),
)
RECOVERY = Histogram(
    "fpj_job_recovery_seconds",
    "Seconds from the end of an attempt that was disturbed to the next one's pods processing images.",
    buckets=(1, 2.5, 5, 10, 20, 30, 60, 120, 300, 900),
)
STATUS_DELAY = Histogram(
    "fpj_status_delay_seconds",
    "Seconds of progress that the store had and the status of a running job had not, at each look.",
    buckets=(0.5, 1, 2.5, 5, 7.5, 10, 15, 30, 60, 120, 300),
)
TAKEOVER = Histogram(
    "fpj_operator_takeover_seconds",
    "Seconds from the last renewal of another operator's lease to this one leading; none was given back.",
    buckets=(5, 10, 15, 17.5, 20, 25, 30, 60, 120, 300),
)
LOCK_WAITS = Counter("fpj_lease_waits", "Times a job found its collection locked by another.")
IMAGES = Counter("fpj_images", "Images by result, added at each look at their job.", ["result"])
IMAGES_FAILED = Counter("fpj_images_failed", "Failed images by error type, added at each look.", ["error_type"])
IMAGES_PENDING = Gauge("fpj_images_pending", "Images that jobs at work have still to do.")
BYTES_WRITTEN = Counter("fpj_bytes_written", "Bytes of derivatives written, added at each look.")
ALERTS = Counter("fpj_failure_alerts", "Times that ten more images of a job had failed.")
SCHEDULE_MISSES = Counter(
    "fpj_schedule_misses", "Times that a run of a schedule was not begun when it was due, by reason.", ["reason"]
)
FOLDER_BYTES = Gauge(
    "fpj_cache_folder_bytes", "Bytes in a cache folder, as of the end of its last job.", ["folder_namespace", "folder"]
)
FOLDER_MAX_BYTES = Gauge(
    "fpj_cache_folder_max_bytes", "maxBytes of a cache folder that has a limit.", ["folder_namespace", "folder"]
)

RECOVERIES = ("StaleJob", "LeaseLost", "Resumed", Reason.STORE_UNAVAILABLE.value, Reason.SHARD_HELD.value)
"""Why an attempt is followed by another."""
MISSES = ("Missed", "TooManyMissed", "NameTaken", "JobRefused")
"""Why a run of a schedule does not begin; each is the reason of an event of that schedule, too."""
_RESULTS = ("completed", "skipped", "failed")


def _begin_at_zero() -> None:
    """A counter that appears as 1 has not increased for Prometheus, and its alert would miss the first time."""
    for phase in Phase:
        if phase.finished:
            ENDED.labels(phase.value)
    for reason in RECOVERIES:
        RECOVERED.labels(reason)
    for reason in MISSES:
        SCHEDULE_MISSES.labels(reason)
    for result in _RESULTS:
        IMAGES.labels(result)
    for error_type in ErrorType:
        IMAGES_FAILED.labels(error_type.value)


_begin_at_zero()


def count_images(new: Counts) -> None:
    """Add what jobs have done since they were last looked at."""
    for result in _RESULTS:
        IMAGES.labels(result).inc(getattr(new, result))
    for error_type, number in new.errors.items():
        IMAGES_FAILED.labels(error_type).inc(number)
    BYTES_WRITTEN.inc(new.bytes_written)


def show_folder(body: Mapping[str, Any], *, gone: bool) -> None:
    """Set the gauges of a CacheFolder as an event shows it, or remove them."""
    labels = (body["metadata"]["namespace"], body["metadata"]["name"])
    held = (body.get("status") or {}).get("totalBytes")
    most = _bytes((body.get("spec") or {}).get("maxBytes"))
    for gauge, value in ((FOLDER_BYTES, held), (FOLDER_MAX_BYTES, most)):
        if gone or value is None:
            gauge.remove(*labels)
        else:
            gauge.labels(*labels).set(value)


def _bytes(quantity: str | int | None) -> int | None:
    """None also for what makes no sense: then there is no limit to go by."""
    try:
        return None if quantity is None else parse_quantity(quantity)
    except ValueError:
        return None
