"""What the commands ask of the place where jobs are: a store on this machine, or a cluster.

Jobs are documents of the resource's shape in both (see `fpj_core.kube.jobresource`), so that one
code prints them.
"""

from __future__ import annotations

from typing import Any, Protocol

from fpj_cli.context import UsageProblemError
from fpj_core.kube.events import Event
from fpj_core.kube.jobresource import JobResource

Document = dict[str, Any]


class Jobs(Protocol):
    """Jobs in one place. Every method raises `FpjError` subclasses with a sentence for the user."""

    place: str
    """Its name, for sentences: a store's URL, or a namespace."""
    all_namespaces: bool
    """Whether two jobs may have the same name, so that their namespaces have to be said."""

    def all(self, limit: int | None = None) -> list[JobResource]:
        """Newest first."""

    def get(self, name: str | None) -> JobResource:
        """By name or the start of the id; the newest without one.

        Raises `UsageProblemError` if there is none.
        """

    def refresh(self, job: JobResource) -> JobResource | None:
        """The same job as it stands now; None if it is gone."""

    def events(self, job: JobResource) -> list[Event]:
        """Newest last."""

    def failures(
        self, job: JobResource, error_type: str | None, limit: int | None
    ) -> list[Document]:
        """Its failed images, in the order of the images,
        as `fpj_cli.local.failure_document` makes them.
        """

    def suspend(self, job: JobResource) -> None:
        """Ask it to stop. What is done is kept."""


def match(jobs: list[JobResource], name: str | None, place: str, hint: str) -> JobResource:
    """The job that ``name`` means; ``hint`` tells how to make one where there are none."""
    if name is None and not jobs:
        raise UsageProblemError(f"no jobs in {place} yet; {hint}")
    for job in jobs:
        if name is None or job.name == name or (len(name) >= 4 and job.uid.startswith(name)):
            return job
    known = ", ".join(dict.fromkeys(job.name for job in jobs[:5])) or "none"
    raise UsageProblemError(f"no job named {name!r} in {place} (newest: {known})")
