"""Jobs seen: lists, one job, its failed images."""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from fpj_api.context import Ask, Caller, Cursor, InNamespace, Limit, OfJob, OnlyNamespace
from fpj_api.cursors import decode, encode
from fpj_api.models import FailurePage, JobDetail, JobPage, detail_of, failure_of
from fpj_core.errors import ErrorType
from fpj_core.kube.names import JOBS
from fpj_core.model import Phase
from fpj_core.v1alpha1.job import JobType

router = APIRouter(prefix="/api/v1", tags=["jobs"])

Text = Annotated[str | None, Query(max_length=253)]


@router.get("/jobs", response_model=JobPage)
async def list_jobs(
    ask: Ask,
    user: Caller,
    namespace: OnlyNamespace = None,
    phase: Annotated[
        list[Phase] | None, Query(description="May be repeated.", max_length=20)
    ] = None,
    job_type: Annotated[JobType | None, Query(alias="jobType")] = None,
    collection: Text = None,
    search: Annotated[
        str | None, Query(max_length=253, description="Part of a name, or of a collection's id.")
    ] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Jobs, newest first."""
    shown = await ask.access.shown(user, JOBS, namespace, ask.watched.table.namespaces)
    wanted = (search or "").lower()
    found = [
        job
        for job in ask.watched.table.newest_first()
        if job.namespace in shown
        and job_type in (None, job.job_type)
        and collection in (None, job.collection)
        and (not wanted or wanted in job.name.lower() or wanted in job.collection.lower())
    ]
    counts = Counter(job.phase for job in found)
    if phase:
        found = [job for job in found if job.phase in phase]
    if cursor is not None:
        last = tuple(decode("jobs", cursor, str, str))
        found = [job for job in found if (job.created_at, job.uid) < last]
    items = found[:limit]
    more = len(found) > limit
    following = encode("jobs", items[-1].created_at, items[-1].uid) if more else None
    rest = json.dumps({"next": following, "counts": dict(sorted(counts.items()))})
    # The jobs are JSON already.
    text = f'{{"items":[{",".join(job.text for job in items)}],{rest[1:]}'
    return Response(text, media_type="application/json")


@router.get("/namespaces/{namespace}/jobs/{name}")
async def read_job(ask: Ask, user: Caller, namespace: InNamespace, name: OfJob) -> JobDetail:
    """One job with its spec, conditions and events."""
    await ask.access.require(user, "get", JOBS, namespace, name)
    job = await ask.actions.read(namespace, name)
    return detail_of(job, await ask.lists.events(namespace, job.uid))


@router.get("/namespaces/{namespace}/jobs/{name}/failures")
async def list_failures(
    ask: Ask,
    user: Caller,
    namespace: InNamespace,
    name: OfJob,
    type: Annotated[ErrorType | None, Query(description="Only of this error type.")] = None,  # noqa: A002 - the parameter's name
    limit: Limit = 100,
    cursor: Cursor = None,
) -> FailurePage:
    """Failed images of a job, in the order of the collection."""
    await ask.access.require(user, "get", JOBS, namespace, name)
    (after,) = decode(f"failures/{type or ''}", cursor, int) if cursor is not None else (-1,)
    uid = (await ask.actions.read(namespace, name)).uid
    error_type = type.value if type else None
    found = await ask.storage.ask(
        lambda store: store.failures(uid, error_type=error_type, after=after, limit=limit + 1)
    )
    items = [failure_of(each) for each in found[:limit]]
    more = len(found) > limit
    return FailurePage(
        items=items, next=encode(f"failures/{type or ''}", items[-1].ordinal) if more else None
    )
