"""What can be done to a job as it stands, and what is then changed in its resource.

The one place of these rules: command line and API follow them, and the dashboard shows what the API
sends. They only
decide: a change is a merge patch that the caller sends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from fpj_core.errors import FpjError
from fpj_core.kube.jobresource import JobResource
from fpj_core.kube.names import RESUME_ANNOTATION
from fpj_core.model import Phase


class Action(StrEnum):
    """What can be done to a job that is there."""

    SUSPEND = "suspend"
    RESUME = "resume"
    RECOVER = "recover"
    CANCEL = "cancel"

    @property
    def verb(self) -> str:
        """What kubectl would do."""
        return "delete" if self is Action.CANCEL else "patch"

    @property
    def verbs_for_many(self) -> tuple[str, ...]:
        """What kubectl would do to many: changing them one by one is no more than that,
        deleting them all is.
        """
        return ("delete", "deletecollection") if self is Action.CANCEL else (self.verb,)


class RefusedActionError(FpjError):
    """The action is not allowed in the job's state; the message says why."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an action is not allowed in the job's state."""

    why: str
    """The end of a sentence that begins with the job's name."""
    asked_already: bool = False
    """Whether the job is, or is about to be, as the action would make it:
    asking again is not an error.
    """


def refusal_of(action: Action, job: JobResource) -> Refusal | None:
    """Why the action is not allowed; None if it is."""
    if job.deleting:
        return Refusal("is being deleted", asked_already=action is Action.CANCEL)
    return _RULES[action](job)


def refusals(job: JobResource) -> dict[Action, Refusal]:
    """Those of the actions that are not allowed.

    Every other action is, to whoever has the right.
    """
    found = {action: refusal_of(action, job) for action in Action}
    return {action: refusal for action, refusal in found.items() if refusal is not None}


def may(action: Action, job: JobResource) -> bool:
    """False where there is nothing to do.

    Raises `RefusedActionError` where the action is not allowed.
    """
    refusal = refusal_of(action, job)
    if refusal is not None and not refusal.asked_already:
        raise RefusedActionError(f"{job.name} {refusal.why}")
    return refusal is None


def suspension() -> dict[str, Any]:
    """The change that asks a job to stop."""
    return {"spec": {"suspend": True}}


def resumption(job: JobResource, now: datetime) -> dict[str, Any]:
    """The change that resumes a suspended job; a finished or active one starts a new attempt.

    ``now`` is in UTC.
    """
    change: dict[str, Any] = {"spec": {"suspend": False}} if job.suspended else {}
    if job.finished or not job.suspended:
        moment = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        change["metadata"] = {"annotations": {RESUME_ANNOTATION: moment}}
    return change


def _no_suspension(job: JobResource) -> Refusal | None:
    if job.finished:
        return Refusal(f"is {job.phase} already")
    # In a cluster the spec counts: the phase of a job that was just resumed is still the earlier
    # one.
    if job.suspended or (job.namespace is None and job.phase == Phase.SUSPENDED):
        return Refusal("is suspended already", asked_already=True)
    return None


def _no_resumption(job: JobResource) -> Refusal | None:
    if job.resuming and not job.suspended:
        return Refusal("is already resuming", asked_already=True)
    if not job.suspended and not job.finished:
        return Refusal(f"is {job.phase}: nothing to resume")
    return None


def _no_recovery(job: JobResource) -> Refusal | None:
    """An active job may be recovered: it starts a new attempt."""
    if job.phase == Phase.COMPLETED and not job.resuming:
        return Refusal(f"is {job.phase}: nothing failed")
    if job.suspended:
        return Refusal("is suspended: resume it")
    return None


_RULES: Mapping[Action, Callable[[JobResource], Refusal | None]] = {
    Action.SUSPEND: _no_suspension,
    Action.RESUME: _no_resumption,
    Action.RECOVER: _no_recovery,
    Action.CANCEL: lambda _: None,
}
