"""What the API is sent, and says, of bulk operations."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, StrictBool

from fpj_api.models import Answer, Name, Namespace
from fpj_api.requests import Request, Result
from fpj_core.kube.generation import MOST_COLLECTIONS
from fpj_core.kube.selectors import MOST_SELECTOR
from fpj_core.v1alpha1 import JobType

CHOICES = ("collections", "selector", "all")
"""Exactly one of them says of which collections jobs are made."""


def _one_choice(schema: dict[str, Any]) -> None:
    schema["oneOf"] = [{"required": [name]} for name in CHOICES]


class CollectionName(Request):
    """One collection."""

    namespace: Namespace
    collection: Name = Field(description="Its id.")


class Generate(Request):
    """What to make, of which collections: exactly one of collections, selector and all."""

    model_config = Request.model_config | {"json_schema_extra": _one_choice}

    job_type: JobType = Field(description="Cache images, thumbnails, or both.")
    collections: list[CollectionName] | None = Field(
        None, min_length=1, max_length=MOST_COLLECTIONS, description="These."
    )
    selector: str | None = Field(
        None,
        min_length=1,
        max_length=MOST_SELECTOR,
        description=(
            "Those whose newest job has such labels, as in kubectl get -l; where there is no job,"
            " those of the schedule's job template."
        ),
    )
    all: Literal[True] | None = Field(None, description="All that the caller may see.")
    namespace: Namespace | None = Field(
        None, description="With selector or all: only of this namespace."
    )
    force: StrictBool = Field(False, description="Make again what is there.")
    dry_run: StrictBool = Field(False, description="Say what would be done, and do nothing.")


State = Literal["Planned", "Created", "Exists", "NotCreated"]


class Generated(Answer):
    """What becomes of one collection."""

    namespace: str
    collection: str
    job: str = Field(description="Name of its new job.")
    state: State = Field(
        description=(
            "Planned: a dry run. Exists: an earlier request with the same key made it. NotCreated:"
            " `problem` says why."
        )
    )
    problem: str | None
    copied_from: list[str] = Field(
        description="Jobs and schedules that its spec is copied from; the first says the source."
    )
    usual: list[str] = Field(
        description=(
            "cache, thumbnail: sections with the usual settings, since no job or schedule of the"
            " collection says others."
        )
    )
    active: str | None = Field(
        description="Another job of the collection that has not ended; the new one waits for it."
    )


class Operation(Answer):
    """A bulk operation as it was asked for."""

    id: str = Field(description="Also the label fpj.dev/bulk of its jobs.")
    job_type: JobType
    dry_run: bool
    created: int = Field(description="Jobs that this request has made.")
    results: list[Generated] = Field(description="By namespace and collection.")


class OperationImages(Answer):
    """How far the jobs are, in images."""

    total: int
    completed: int
    skipped: int
    failed: int
    percent: int = Field(
        description="Mean of the jobs': how many images one has that has not started, nobody knows."
    )
    images_per_second: float
    bytes_written: int


class OperationJob(Answer):
    """A job of a bulk operation."""

    namespace: str
    name: str
    collection: str
    phase: str
    finished: bool
    deleting: bool
    percent: int
    failed: int
    reason: str | None


class OperationProgress(Answer):
    """How far a bulk operation is, as far as the caller may see its jobs."""

    id: str
    size: int = Field(description="Jobs that it was to make.")
    jobs: int = Field(description="Jobs that are there; others were not made, or are deleted.")
    finished: int
    phases: dict[str, int] = Field(description="Jobs by phase.")
    progress: OperationImages
    items: list[OperationJob] = Field(
        description=f"By namespace and name; the first {MOST_COLLECTIONS}."
    )


class Cancelled(Answer):
    """What became of the jobs that had not finished."""

    results: list[Result]
    remaining: int = Field(description="Jobs that are left for another request.")
