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
    problem = ask.watched.problem()
    return PlainTextResponse(f"{problem or 'ok'}\n", 503 if problem else 200)
