"""How the API describes jobs.

Times are RFC 3339 as Kubernetes writes them, sizes bytes, absent values null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from fpj_core import formatting
from fpj_core.kube.events import Event
from fpj_core.kube.jobresource import JobResource
from fpj_core.kube.steering import Action, refusals
from fpj_core.model import Failure
from fpj_core.v1alpha1.common import LABEL_PATTERN, NAME_PATTERN

Namespace = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=LABEL_PATTERN)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=NAME_PATTERN)]


class Answer(BaseModel):
    """Base of what is sent: camelCase names, never changed once made."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class JobProgress(Answer):
    """How far a job is, in images."""

    total: int
    completed: int
    skipped: int
    failed: int
    percent: int
    images_per_second: float
    eta_seconds: int | None = Field(None, description="Null while the rate is unknown.")
    bytes_written: int
    average_processing_ms: float


class JobShards(Answer):
    """How many shards stand where."""

    total: int
    active: int
    succeeded: int
    failed: int


class Job(Answer):
    """A FileProcessingJob in short."""

    namespace: str
    name: str
    uid: str
    created_at: str
    job_type: str | None
    collection: str
    phase: str
    stage: str | None
    reason: str | None
    message: str | None
    suspended: bool = Field(description="Whether its suspension was requested.")
    deleting: bool = Field(
        description=(
            "Whether it has been cancelled and still exists only until its work has stopped."
        )
    )
    progress: JobProgress
    errors: dict[str, int] = Field(description="Failed images by error type.")
    shards: JobShards
    recovery_attempts: int
    started_at: str | None
    completed_at: str | None
    last_progress_at: str | None
    schedule: str | None = Field(description="The schedule that started it.")
    bulk: str | None = Field(description="The bulk operation that made it.")
    actions: list[str] = Field(
        description=(
            "Those of suspend, resume, recover and cancel that its state allows, whatever the"
            " caller's rights."
        )
    )
    refusals: dict[str, str] = Field(
        description="For each other action, why its state does not allow it."
    )


class Condition(Answer):
    """A condition as the resource has it."""

    type: str
    status: str
    reason: str
    message: str
    last_transition_time: str | None


class JobEvent(Answer):
    """Something that was reported about a job or a cache folder."""

    at: str
    type: str = Field(description="Normal or Warning.")
    reason: str
    message: str
    count: int


class JobDetail(Job):
    """A job with all there is to it."""

    spec: dict[str, Any] = Field(description="As in its manifest.")
    conditions: list[Condition]
    events: list[JobEvent] = Field(description="The newest, in order of time.")


class JobFailure(Answer):
    """An image that failed."""

    key: str = Field(description="Its name in the source.")
    type: str
    message: str
    attempts: int
    ordinal: int = Field(description="Its number in the collection.")


class JobPage(Answer):
    """Jobs, newest first."""

    items: list[Job]
    next: str | None = Field(description="Cursor of the page that follows.")
    counts: dict[str, int] = Field(
        description="By phase, of all jobs that match the other filters."
    )


class FailurePage(Answer):
    """Failed images in the order of the collection."""

    items: list[JobFailure]
    next: str | None


def job_of(resource: JobResource) -> Job:
    """A job as its resource shows it."""
    return Job(**_fields(resource))


def detail_of(resource: JobResource, events: list[Event]) -> JobDetail:
    """The same with its spec, conditions and events."""
    return JobDetail(
        **_fields(resource),
        spec=dict(resource.spec),
        conditions=conditions_of(resource.conditions),
        events=events_of(events),
    )


def events_of(found: Iterable[Event]) -> list[JobEvent]:
    """Events about any resource."""
    return [
        JobEvent(
            at=formatting.moment(event.at),
            type="Warning" if event.warning else "Normal",
            reason=event.reason,
            message=event.message,
            count=event.count,
        )
        for event in found
    ]


def conditions_of(found: Iterable[Mapping[str, Any]]) -> list[Condition]:
    """Conditions of any resource."""
    return [
        Condition(
            type=str(each["type"]),
            status=str(each["status"]),
            reason=str(each.get("reason", "")),
            message=str(each.get("message", "")),
            last_transition_time=each.get("lastTransitionTime"),
        )
        for each in found
    ]


def failure_of(found: Failure) -> JobFailure:
    """A failed image as the store has it."""
    return JobFailure(
        key=found.key,
        type=found.error_type.value,
        message=found.message,
        attempts=found.attempts,
        ordinal=found.ordinal,
    )


def _fields(resource: JobResource) -> dict[str, Any]:
    status, (reason, message) = resource.status, resource.why
    refused = refusals(resource)
    return {
        "namespace": resource.namespace,
        "name": resource.name,
        "uid": resource.uid,
        "created_at": formatting.moment(resource.created_at),
        "job_type": resource.job_type or None,
        "collection": resource.collection,
        "phase": resource.phase,
        "stage": resource.stage or None,
        "reason": reason or None,
        "message": message or None,
        "suspended": resource.suspended,
        "deleting": resource.deleting,
        "progress": JobProgress.model_validate(resource.progress),
        "errors": resource.errors,
        "shards": JobShards(**resource.shards),
        "recovery_attempts": resource.recovery_attempts,
        "started_at": status.get("startTime"),
        "completed_at": status.get("completionTime"),
        "last_progress_at": status.get("lastProgressAt"),
        "schedule": resource.schedule,
        "bulk": resource.bulk,
        "actions": [action.value for action in Action if action not in refused],
        "refusals": {action.value: f"It {refusal.why}" for action, refusal in refused.items()},
    }
