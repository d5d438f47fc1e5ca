"""What the API is sent."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from fpj_api.models import Answer, Name, Namespace
from fpj_core.kube.steering import Action

MOST_AT_ONCE = 500


class Request(BaseModel):
    """camelCase names, and nothing unknown is overlooked."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


class NewJob(Request):
    """A job to make."""

    name: Name
    spec: dict[str, Any] = Field(description="As in a manifest of a FileProcessingJob.")


class JobName(Request):
    """One job."""

    namespace: Namespace
    name: Name


class Bulk(Request):
    """One action for many jobs."""

    action: Action
    jobs: list[JobName] = Field(min_length=1, max_length=MOST_AT_ONCE)


class RecoverAll(Request):
    """Where to recover every job that failed or has failed images."""

    namespace: Namespace | None = Field(
        None, description="All namespaces that the caller may see, if left out."
    )


class Result(Answer):
    """What became of one job of a bulk operation."""

    namespace: str
    name: str
    done: bool
    problem: str | None = Field(None, description="Why it was not done.")


class BulkResult(Answer):
    """In the order of the request."""

    results: list[Result]


class RecoverResult(BulkResult):
    """At most 500 jobs, the newest; ``remaining`` says how many more there are,
    for another request.
    """

    remaining: int
