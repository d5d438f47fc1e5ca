"""What probes ask: on a port of their own, and on the API's for whatever stands before it."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from fpj_api.context import Ask
from fpj_api.watched import Watched

router = APIRouter(include_in_schema=False)


@router.get("/livez")
async def livez() -> PlainTextResponse:
    """Green while the event loop runs: the answer comes from it."""
    return PlainTextResponse("ok\n")


@router.get("/readyz")
async def readyz(ask: Ask) -> PlainTextResponse:
    """Red until the jobs are listed, and when nothing has been heard of them for long."""
    return _readiness(ask.watched)


def probes(watched: Watched) -> ASGIApp:
    """The same two, and nothing else."""

    async def live(_request: object) -> PlainTextResponse:
        return await livez()

    async def ready(_request: object) -> PlainTextResponse:
        return _readiness(watched)

    return Starlette(routes=[Route("/livez", live), Route("/readyz", ready)])


def _readiness(watched: Watched) -> PlainTextResponse:
    if watched.problem() is None:
        return PlainTextResponse("ok\n")
    return PlainTextResponse("the jobs are not known yet, or no longer; the log says why\n", 503)
