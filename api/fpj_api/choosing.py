"""The collections that somebody may see: known by the jobs and schedules that name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fpj_api.bulkmodels import CHOICES, Generate
from fpj_api.problems import ProblemError
from fpj_api.table import HeldJob
from fpj_core.kube.documents import Document
from fpj_core.kube.generation import (
    JOB,
    MOST_COLLECTIONS,
    CollectionKey,
    Origin,
    Templates,
    origin_of_schedule,
    templates_of,
)
from fpj_core.kube.selectors import Selector, SelectorError, parse_selector
from fpj_core.model import Phase

Chosen = tuple[CollectionKey, Templates | None]
"""A collection, and what a job of it would be copied from, if anything."""


def selector_of(wanted: Generate) -> Selector | None:
    """The label selector, if that is the choice.

    Raises a problem (422) where it is none, or where not exactly one choice was made.
    """
    if sum(getattr(wanted, name) is not None for name in CHOICES) != 1:
        raise _invalid("", f"give exactly one of {', '.join(CHOICES)}")
    if wanted.namespace is not None and wanted.collections is not None:
        raise _invalid("namespace", "goes with selector or all: each collection has its own")
    try:
        return parse_selector(wanted.selector) if wanted.selector is not None else None
    except SelectorError as error:
        raise _invalid("selector", str(error)) from None


@dataclass(frozen=True)
class Known:
    """What is known of collections."""

    templates: Mapping[CollectionKey, Templates]
    schedules: Mapping[Origin, Document]
    active: Mapping[CollectionKey, str]
    """Names of jobs that have not finished."""

    def chosen(self, wanted: Generate, selector: Selector | None) -> list[Chosen]:
        """The collections that are meant, in order. Raises a problem (422) for none or too many."""
        if wanted.collections is not None:
            keys = {(each.namespace, each.collection) for each in wanted.collections}
            return [(key, self.templates.get(key)) for key in sorted(keys)]
        found: list[Chosen] = [
            (key, templates)
            for key, templates in sorted(self.templates.items())
            if selector is None or selector.matches(templates.base.labels)
        ]
        if not found:
            raise _invalid("", "no collection is chosen: there is none that you may see")
        if len(found) > MOST_COLLECTIONS:
            raise _invalid(
                "",
                f"{len(found)} collections are chosen, and {MOST_COLLECTIONS} are the most:"
                " choose a namespace or a selector",
            )
        return found


def known_from(jobs: Iterable[HeldJob], schedules: Iterable[Document]) -> Known:
    """From jobs, newest first, and schedules.

    A job that failed as a whole may name a source that is wrong: anything else is copied first.
    """
    there = [job for job in jobs if not job.deleting]
    newest = sorted(schedules, key=lambda each: str(each["metadata"]["creationTimestamp"]))
    origins = {origin_of_schedule(each): each for each in reversed(newest)}
    sound = [_origin(job) for job in there if job.phase != Phase.FAILED]
    failed = [_origin(job) for job in there if job.phase == Phase.FAILED]
    active = {(job.namespace, job.collection): job.name for job in there if not job.finished}
    return Known(templates_of([*sound, *origins, *failed]), origins, active)


def _origin(job: HeldJob) -> Origin:
    return Origin(JOB, job.namespace, job.name, job.collection, job.job_type or "", job.labels)


def _invalid(path: str, message: str) -> ProblemError:
    return ProblemError(422, "invalid request", errors=[(path, message)])
