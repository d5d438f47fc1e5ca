"""The operator's Prometheus metrics. Labels come from closed sets: never a job's name.

Only cache folders are named: they are few, and the person on call must know which one.
Worker pods are too short-lived to be scraped reliably, so their totals reach Prometheus through
here: they are in the store, exact, and the operator adds what is new each time it reconciles a job
(see `fpj_operator.jobs.tally`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from fpj_core.errors import ErrorType
from fpj_core.kube.exits import Reason
from fpj_core.kube.folderreport import FolderReport
from fpj_core.model import Counts, Phase
from fpj_core.policy import Reason as EvictionReason
from fpj_core.v1alpha1.common import limit_of

RECONCILE_SECONDS = Histogram(
    "fpj_operator_reconcile_seconds",
    "Duration of one reconciliation of a job, in seconds.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
RECONCILE_ERRORS = Counter(
    "fpj_operator_reconcile_errors", "Reconciliations that failed and will be retried."
)
EVENTS_REFUSED = Counter(
    "fpj_operator_events_refused", "Kubernetes events that could not be written."
)
QUEUE_DEPTH = Gauge("fpj_operator_workqueue_depth", "Jobs that wait to be reconciled.")
LOOP_LAG = Histogram(
    "fpj_operator_loop_lag_seconds",
    "Seconds by which the event loop was late; measured twice a second while the operator leads.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
LEADER = Gauge(
    "fpj_operator_leader", "1 while this process is the leader, 0 while it waits to lead."
)
JOBS = Gauge("fpj_jobs", "FileProcessingJobs by phase.", ["phase"])
JOBS_QUEUED = Gauge("fpj_jobs_queued", "Jobs that wait for one of their namespace's slots.")
JOBS_IN_TROUBLE = Gauge(
    "fpj_jobs_in_trouble", "Active jobs that are blocked, by reason.", ["reason"]
)
ENDED = Counter("fpj_jobs_ended", "Jobs that ended, by phase.", ["phase"])
RECOVERED = Counter(
    "fpj_jobs_recovered", "Attempts that were ended to start a new one, by reason.", ["reason"]
)
STALE_DETECTION = Histogram(
    "fpj_stale_detection_seconds",
    "Seconds without progress after which an attempt was ended as stale.",
    buckets=(30, 60, 120, 300, 600, 900, 1_200, 1_800, 3_600),
)
RECOVERY = Histogram(
    "fpj_job_recovery_seconds",
    "Seconds from the end of an interrupted attempt until pods of the next one process images.",
    buckets=(1, 2.5, 5, 10, 20, 30, 60, 120, 300, 900),
)
STATUS_DELAY = Histogram(
    "fpj_status_delay_seconds",
    "Seconds by which the status of a running job lagged behind the store, at each reconciliation.",
    buckets=(0.5, 1, 2.5, 5, 7.5, 10, 15, 30, 60, 120, 300),
)
TAKEOVER = Histogram(
    "fpj_operator_takeover_seconds",
    "Seconds from the last renewal of another operator's lease until this one led; only leases that"
    " expired.",
    buckets=(5, 10, 15, 17.5, 20, 25, 30, 60, 120, 300),
)
LOCK_WAITS = Counter("fpj_lease_waits", "Times a job found its collection locked by another job.")
IMAGES = Counter(
    "fpj_images", "Images by result, added each time their job is reconciled.", ["result"]
)
IMAGES_FAILED = Counter(
    "fpj_images_failed",
    "Failed images by error type, added at each reconciliation.",
    ["error_type"],
)
IMAGES_PENDING = Gauge("fpj_images_pending", "Images that active jobs still have to process.")
BYTES_WRITTEN = Counter(
    "fpj_bytes_written", "Bytes of derivatives written, added at each reconciliation."
)
ALERTS = Counter("fpj_failure_alerts", "Times another ten images of a job had failed.")
SCHEDULE_MISSES = Counter(
    "fpj_schedule_misses",
    "Runs of schedules that did not start when they were due, by reason.",
    ["reason"],
)
FOLDER_BYTES = Gauge(
    "fpj_cache_folder_bytes",
    "Bytes in a cache folder, as last counted.",
    ["folder_namespace", "folder"],
)
FOLDER_MAX_BYTES = Gauge(
    "fpj_cache_folder_max_bytes",
    "maxBytes of a cache folder that has a limit.",
    ["folder_namespace", "folder"],
)

FOLDER_CONDITION = Gauge(
    "fpj_cache_folder_condition",
    "Conditions of a cache folder: 1 if one is True, 0 if it is False; absent while it is Unknown.",
    ["folder_namespace", "folder", "condition"],
)
RUNS = Counter("fpj_folder_runs", "Checks of cache folders that ended, by result.", ["result"])
EVICTED_FILES = Counter("fpj_evicted_files", "Files evicted from cache folders.", ["reason"])
EVICTED_BYTES = Counter("fpj_evicted_bytes", "Bytes of evicted files.", ["reason"])
for _reason in EvictionReason:  # from 0 on, so that the first eviction is an increase
    EVICTED_FILES.labels(_reason.value)
    EVICTED_BYTES.labels(_reason.value)
EVICTION_FREED = Histogram(
    "fpj_eviction_freed_bytes",
    "Bytes that one run freed; only runs that freed any.",
    buckets=(1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12),
)
EVICTION_SECONDS = Histogram(
    "fpj_eviction_seconds",
    "Seconds that one run took to plan and remove; only runs that freed any.",
    buckets=(1, 5, 15, 60, 300, 900, 3_600, 14_400),
)

RUN_RESULTS = ("Succeeded", "Short", "Failed", "Unknown")
RECOVERIES = (
    "StaleJob",
    "LeaseLost",
    "Resumed",
    Reason.STORE_UNAVAILABLE.value,
    Reason.SHARD_HELD.value,
)
"""Why an attempt is followed by another."""
MISSES = ("Missed", "TooManyMissed", "NameTaken", "JobRefused")
"""Why a run of a schedule does not start; each is also the reason of an event of that schedule."""
FOLDER_CONDITIONS = ("Ready", "WithinQuota", "Evicting", "Drifted", "Unreachable")
_TRUTH = {"True": 1, "False": 0}
_RESULTS = ("completed", "skipped", "failed")


def _begin_at_zero() -> None:
    """A counter that appears as 1 has not increased for Prometheus,
    and its alert would miss the first time.
    """
    for phase in Phase:
        if phase.finished:
            ENDED.labels(phase.value)
    for reason in RECOVERIES:
        RECOVERED.labels(reason)
    for reason in MISSES:
        SCHEDULE_MISSES.labels(reason)
    for result in _RESULTS:
        IMAGES.labels(result)
    for result in RUN_RESULTS:
        RUNS.labels(result)
    for error_type in ErrorType:
        IMAGES_FAILED.labels(error_type.value)


_begin_at_zero()


def count_images(new: Counts) -> None:
    """Add what jobs have done since they were last reconciled."""
    for result in _RESULTS:
        IMAGES.labels(result).inc(getattr(new, result))
    for error_type, number in new.errors.items():
        IMAGES_FAILED.labels(error_type).inc(number)
    BYTES_WRITTEN.inc(new.bytes_written)


def count_run(result: str, report: FolderReport | None) -> None:
    """Add a run of a cache folder that ended."""
    RUNS.labels(result).inc()
    for reason, amount in report.by_reason.items() if report else ():
        EVICTED_FILES.labels(reason).inc(amount.files)
        EVICTED_BYTES.labels(reason).inc(amount.bytes)
    if report and report.removed.files:
        EVICTION_FREED.observe(report.removed.bytes)
        EVICTION_SECONDS.observe(report.seconds)


def show_folder(body: Mapping[str, Any], *, gone: bool) -> None:
    """Set the gauges of a CacheFolder as an event shows it, or remove them."""
    labels = (body["metadata"]["namespace"], body["metadata"]["name"])
    status = body.get("status") or {}
    held = status.get("totalBytes")
    most = limit_of((body.get("spec") or {}).get("maxBytes"))
    for gauge, value in ((FOLDER_BYTES, held), (FOLDER_MAX_BYTES, most)):
        if gone or value is None:
            gauge.remove(*labels)
        else:
            gauge.labels(*labels).set(value)
    said = {each["type"]: each["status"] for each in status.get("conditions") or ()}
    for name in FOLDER_CONDITIONS:
        value = None if gone else _TRUTH.get(said.get(name, ""))
        if value is None:
            FOLDER_CONDITION.remove(*labels, name)
        else:
            FOLDER_CONDITION.labels(*labels, name).set(value)
