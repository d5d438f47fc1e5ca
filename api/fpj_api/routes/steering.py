"""Actions on jobs: on one at a time, or on many."""

from __future__ import annotations

from fastapi import APIRouter, Response

from fpj_api import bulk
from fpj_api.context import Ask, Caller, InNamespace, OfJob
from fpj_api.models import Job
from fpj_api.requests import MOST_AT_ONCE, Bulk, BulkResult, NewJob, RecoverAll, RecoverResult
from fpj_core.kube.names import JOBS
from fpj_core.kube.steering import Action

router = APIRouter(prefix="/api/v1", tags=["jobs"])

_BULK_COST, _CREATE_COST = 4.0, 0.2
"""Of `CallLimits`."""


@router.post("/namespaces/{namespace}/jobs", status_code=201)
async def create_job(
    ask: Ask, user: Caller, namespace: InNamespace, new: NewJob, response: Response
) -> Job:
    """Create a job; the spec is validated like that of a manifest."""
    await ask.access.require(user, "create", JOBS, namespace)
    ask.calls.take(user.name, _CREATE_COST)
    made = await ask.actions.create(user, namespace, new)
    response.headers["Location"] = f"{router.prefix}/namespaces/{namespace}/jobs/{new.name}"
    return made


@router.delete("/namespaces/{namespace}/jobs/{name}", status_code=202)
async def cancel_job(ask: Ask, user: Caller, namespace: InNamespace, name: OfJob) -> Job:
    """Delete the resource, which stops its work. Files that it made are kept."""
    return await _act(ask, user, Action.CANCEL, namespace, name)


@router.post("/namespaces/{namespace}/jobs/{name}/suspend", status_code=202)
async def suspend_job(ask: Ask, user: Caller, namespace: InNamespace, name: OfJob) -> Job:
    """Stop a job; what is done is kept. 409 for one that has ended."""
    return await _act(ask, user, Action.SUSPEND, namespace, name)


@router.post("/namespaces/{namespace}/jobs/{name}/resume", status_code=202)
async def resume_job(ask: Ask, user: Caller, namespace: InNamespace, name: OfJob) -> Job:
    """Continue a suspended or finished job; only unfinished images are processed.

    409 for an active job.
    """
    return await _act(ask, user, Action.RESUME, namespace, name)


@router.post("/namespaces/{namespace}/jobs/{name}/recover", status_code=202)
async def recover_job(ask: Ask, user: Caller, namespace: InNamespace, name: OfJob) -> Job:
    """Retry what failed; an active job starts a new attempt. 409 if nothing failed."""
    return await _act(ask, user, Action.RECOVER, namespace, name)


@router.post("/jobs/bulk")
async def act_on_many(ask: Ask, user: Caller, wanted: Bulk) -> BulkResult:
    """One action on up to 500 jobs. If one is forbidden (403), nothing is done."""
    jobs = list(dict.fromkeys((job.namespace, job.name) for job in wanted.jobs))
    await bulk.authorize(ask.access, user, wanted.action, (namespace for namespace, _ in jobs))
    ask.calls.take(user.name, _BULK_COST)
    return BulkResult(results=await bulk.run(ask.actions, user, wanted.action, jobs))


@router.post("/jobs/recover")
async def recover_all(ask: Ask, user: Caller, where: RecoverAll) -> RecoverResult:
    """Recover every job that failed or has failed images, 500 at a time,
    in one namespace or in all visible ones.
    """
    table = ask.watched.table
    shown = await ask.access.shown(user, JOBS, where.namespace, table.namespaces)
    if where.namespace is not None:
        await bulk.authorize(ask.access, user, Action.RECOVER, shown)
    found = [job for job in table.newest_first() if job.worth_recovering and job.namespace in shown]
    await bulk.authorize(ask.access, user, Action.RECOVER, (job.namespace for job in found))
    ask.calls.take(user.name, _BULK_COST)
    jobs = [(job.namespace, job.name) for job in found[:MOST_AT_ONCE]]
    results = await bulk.run(ask.actions, user, Action.RECOVER, jobs)
    return RecoverResult(results=results, remaining=len(found) - len(jobs))


async def _act(ask: Ask, user: Caller, action: Action, namespace: str, name: str) -> Job:
    await ask.access.require(user, action.verb, JOBS, namespace, name)
    return await ask.actions.act(user, action, namespace, name)
