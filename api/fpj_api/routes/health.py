"""What probes ask."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import PlainTextResponse

from fpj_api.context import Ask

router = APIRouter(include_in_schema=False)


@router.get("/livez")
async def livez() -> PlainTextResponse:
    """Green while the event loop runs: the answer comes from it."""
    return PlainTextResponse("ok\n")


@router.get("/readyz")
async def readyz(ask: Ask) -> PlainTextResponse:
    """Red until the jobs are listed, and when nothing has been heard of them for long."""
    if ask.watched.problem() is None:
        return PlainTextResponse("ok\n")
    return PlainTextResponse("the jobs are not known, or not any more; the log says why\n", 503)
