"""Bulk operations: one new job for each of many collections, and what becomes of them all."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Response

from fpj_api import bulk
from fpj_api.bulkmodels import Cancelled, Generate, Operation, OperationProgress
from fpj_api.choosing import Chosen, Known, known_from, selector_of
from fpj_api.context import Ask, Backend, Caller
from fpj_api.generating import Generator, id_of
from fpj_api.identities import User
from fpj_api.informer import KIND
from fpj_api.lists import SCHEDULE
from fpj_api.operations import progress_of
from fpj_api.problems import ProblemError
from fpj_api.requests import MOST_AT_ONCE
from fpj_api.table import HeldJob, held_of
from fpj_core.kube.documents import Document
from fpj_core.kube.generation import BULK_ID, MOST_KEY
from fpj_core.kube.jobresource import JobResource
from fpj_core.kube.names import JOBS, LABEL_BULK, SCHEDULES
from fpj_core.kube.steering import Action

router = APIRouter(prefix="/api/v1", tags=["bulk"])

_COST, _JOB_COST, _LOOK_COST = 4.0, 0.05, 0.2
"""Of `CallLimits`: an operation, each of its jobs, and one that is asked of the cluster."""

OfOperation = Annotated[str, Path(pattern=f"^{BULK_ID}$", description="Id of the bulk operation.")]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=MOST_KEY,
        pattern=r"^[\x21-\x7e]+$",
        description=(
            "Names the operation: of requests by the same user with the same key, the first makes"
            " its jobs, and others make only what is missing."
        ),
    ),
]


@router.post(
    "/bulk/operations",
    responses={201: {"model": Operation, "description": "Jobs were made; Location is theirs."}},
)
async def generate(
    ask: Ask, user: Caller, wanted: Generate, response: Response, key: Key = None
) -> Operation:
    """Make one job for each collection: 201 if any was made, else 200.

    A job's spec is copied from the newest jobs of its collection, or its schedule. If creating is
    forbidden in one namespace (403), nothing is made.
    """
    known, chosen = await _choose(ask, user, wanted)
    await ask.access.require_all(user, "create", JOBS, {namespace for (namespace, _), _ in chosen})
    ask.calls.take(user.name, _COST + _JOB_COST * len(chosen))
    made = id_of(user, key)
    generator = Generator(ask.cluster, ask.actions, ask.lists, known, wanted, made)
    with ask.underway.one(made):
        operation = await generator.run(user, chosen)
    if operation.created:
        response.status_code = 201
        response.headers["Location"] = f"{router.prefix}/bulk/operations/{made}"
    return operation


@router.get("/bulk/operations/{operation}")
async def read_operation(ask: Ask, user: Caller, operation: OfOperation) -> OperationProgress:
    """How far the jobs of an operation are that the caller may see; 404 if there is none."""
    return progress_of(operation, await _jobs_of(ask, user, operation))


@router.delete("/bulk/operations/{operation}", status_code=202)
async def cancel_operation(ask: Ask, user: Caller, operation: OfOperation) -> Cancelled:
    """Cancel the jobs that have not finished, 500 at a time. If one is forbidden (403), nothing is
    done. Finished jobs, and files, are kept.
    """
    jobs = await _jobs_of(ask, user, operation)
    left = [job for job in jobs if not job.finished and not job.deleting]
    await bulk.authorize(ask.access, user, Action.CANCEL, (job.namespace for job in jobs))
    ask.calls.take(user.name, _COST)
    now = [(job.namespace, job.name) for job in left[:MOST_AT_ONCE]]
    results = await bulk.run(ask.actions, user, Action.CANCEL, now)
    return Cancelled(results=results, remaining=len(left) - len(now))


async def _choose(ask: Backend, user: User, wanted: Generate) -> tuple[Known, list[Chosen]]:
    """The collections that are meant, of those that the caller may see."""
    selector = selector_of(wanted)
    table, schedules = ask.watched.table, await ask.lists.all(SCHEDULE)
    if wanted.collections is not None:
        shown = frozenset(each.namespace for each in wanted.collections)
        await ask.access.require_all(user, "list", JOBS, shown)
    else:
        among = {*table.namespaces, *(_namespace(each) for each in schedules)}
        shown = await ask.access.shown(user, JOBS, wanted.namespace, among)
    visible = await ask.access.visible(
        user, SCHEDULES, shown & {_namespace(each) for each in schedules}
    )
    known = known_from(
        (job for job in table.newest_first() if job.namespace in shown),
        (each for each in schedules if _namespace(each) in visible),
    )
    return known, known.chosen(wanted, selector)


async def _jobs_of(ask: Backend, user: User, operation: str) -> list[HeldJob]:
    """Those that the caller may see. Raises a problem (404) for none."""
    found = [job for job in ask.watched.table.newest_first() if job.bulk == operation]
    if not found:
        # Just made, and not heard of yet.
        ask.calls.take(user.name, _LOOK_COST)
        listed = await ask.lists.labelled(KIND, f"{LABEL_BULK}={operation}")
        found = [held_of(JobResource(each)) for each in listed]
    shown = await ask.access.visible(user, JOBS, {job.namespace for job in found})
    if not (seen := [job for job in found if job.namespace in shown]):
        raise ProblemError(404, f"there is no job of the bulk operation {operation}")
    return seen


def _namespace(document: Document) -> str:
    return str(document["metadata"]["namespace"])
