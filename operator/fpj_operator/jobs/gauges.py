"""How many jobs there are in each phase, and how many are in trouble, for Prometheus."""

from __future__ import annotations

from fpj_core.kube.exits import Reason
from fpj_operator.jobs import reasons
from fpj_operator.jobs.queue import JobQueue
from fpj_operator.metrics import JOBS, JOBS_IN_TROUBLE, JOBS_QUEUED

TROUBLES = tuple(
    sorted(
        {"LeaseLost", "NoCacheFolder", "CollectionLocked", "ChildRejected"}
        | reasons.REASONS
        | {reason.value for reason in Reason}
    )
)
"""Why an active job may be blocked."""
OTHER_TROUBLE = "Other"


def show_jobs(jobs: JobQueue) -> None:
    """Set the gauges of jobs."""
    for phase, number in jobs.counts().items():
        JOBS.labels(phase.value).set(number)
    JOBS_QUEUED.set(jobs.queued())
    found = dict.fromkeys((*TROUBLES, OTHER_TROUBLE), 0)
    for reason, number in jobs.troubles().items():
        found[reason if reason in found else OTHER_TROUBLE] += number
    for reason, number in found.items():
        JOBS_IN_TROUBLE.labels(reason).set(number)
