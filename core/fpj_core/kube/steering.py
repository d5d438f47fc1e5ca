"""When a job may be suspended, resumed or recovered, and what is then changed in its resource.

Command line and API go by the same rules. They only decide: a change is a merge patch for whoever sends it. Each
``may_…`` says whether there is anything to do, and raises `RefusedActionError` where the wish makes no sense.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fpj_core.errors import FpjError
from fpj_core.kube.jobresource import JobResource
from fpj_core.kube.names import RESUME_ANNOTATION
from fpj_core.model import Phase


class RefusedActionError(FpjError):
    """What was asked makes no sense for the job as it stands; the message says why."""


def may_suspend(job: JobResource) -> bool:
    """False for a job that is suspended already. One that has ended, or is being deleted, cannot be."""
    _refuse_deleted(job)
    if job.finished:
        raise RefusedActionError(f"{job.name} is {job.phase} already")
    # In a cluster the wish counts: the phase of a job that was just let go on is still that of before.
    return not (job.suspended or (job.namespace is None and job.phase == Phase.SUSPENDED))


def may_resume(job: JobResource) -> bool:
    """False for a job that was asked to go on, and has not begun to. One at work cannot be resumed."""
    _refuse_deleted(job)
    if job.resuming and not job.suspended:
        return False
    if not job.suspended and not job.finished:
        raise RefusedActionError(f"{job.name} is {job.phase}: nothing to resume")
    return True


def may_recover(job: JobResource) -> bool:
    """True unless nothing failed, or the job is suspended. A job at work begins another attempt."""
    _refuse_deleted(job)
    if job.phase == Phase.COMPLETED and not job.resuming:
        raise RefusedActionError(f"{job.name} is {job.phase}: nothing failed")
    if job.suspended:
        raise RefusedActionError(f"{job.name} is suspended: resume it")
    return True


def suspension() -> dict[str, Any]:
    """The change that asks a job to stop."""
    return {"spec": {"suspend": True}}


def resumption(job: JobResource, now: datetime) -> dict[str, Any]:
    """The change that lets a suspended job go on; a finished one, or one at work, begins another attempt.

    ``now`` is in UTC.
    """
    change: dict[str, Any] = {"spec": {"suspend": False}} if job.suspended else {}
    if job.finished or not job.suspended:
        moment = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        change["metadata"] = {"annotations": {RESUME_ANNOTATION: moment}}
    return change


def _refuse_deleted(job: JobResource) -> None:
    if job.deleting:
        raise RefusedActionError(f"{job.name} is being deleted")
