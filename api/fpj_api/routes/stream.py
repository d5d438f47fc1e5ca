"""The stream of job events."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from fpj_api.access import forbidden
from fpj_api.context import Ask, Caller, OnlyNamespace
from fpj_api.middleware import STREAM
from fpj_api.streams import JobStream
from fpj_core.kube.names import JOBS

router = APIRouter(tags=["jobs"])


@router.get(
    STREAM,
    response_class=Response,
    responses={
        200: {"content": {"text/event-stream": {}}, "description": "Events: job, gone and reset."}
    },
)
async def stream_jobs(
    ask: Ask, user: Caller, request: Request, namespace: OnlyNamespace = None
) -> Response:
    """Changes of the jobs that the caller may see, as server-sent events."""
    token, address = request.scope["fpj.token"], request.scope["fpj.address"]
    if namespace is not None:
        await ask.access.require(user, "watch", JOBS, namespace)
    elif not await _sees_any(ask, user):
        raise forbidden(user, "watch", JOBS)

    async def known() -> bool:
        return await ask.identities.user(token, address) is not None

    async def may_see(where: str) -> bool:
        return await ask.access.sees(user, JOBS, where, "watch")

    return JobStream(
        ask.watched.hub,
        ask.streams,
        user=user.name,
        namespace=namespace,
        last_id=request.headers.get("last-event-id"),
        known=known,
        may_see=may_see,
    )


async def _sees_any(ask: Ask, user: Caller) -> bool:
    """Whether there is anything to stream to them: first by what is
    known without asking for lists.
    """
    near = ask.watched.table.namespaces | user.home
    if await ask.access.sees_any(user, JOBS, near, "watch"):
        return True
    return await ask.access.sees_any(user, JOBS, await ask.known_namespaces() - near, "watch")
