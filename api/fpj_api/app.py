"""The application: routes, errors, and what stands around them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Security
from fastapi.security import HTTPBearer
from starlette.types import ASGIApp

from fpj_api import middleware
from fpj_api.addresses import networks
from fpj_api.context import Backend
from fpj_api.origins import OwnPages
from fpj_api.pages import page_routes, pages
from fpj_api.problems import MEDIA_TYPE, Problem, register
from fpj_api.routes import caches, health, jobs, steering, stream
from fpj_core import __version__

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text, "content": {MEDIA_TYPE: {}}}
    for status, text in (
        (401, "Nobody knows who asks."),
        (403, "It is not allowed."),
        (422, "The request is not as it must be."),
        (503, "The cluster or the store does not answer."),
    )
}


def application(backend: Backend) -> ASGIApp:
    """All of it, ready to be served."""
    app = FastAPI(
        title="fpj",
        version=__version__,
        description="Jobs and caches of fpj, seen and steered by whoever the cluster lets.",
        openapi_url=middleware.SCHEMA,
        docs_url=None,  # its page comes from elsewhere, which neither clusters without internet nor our policy allow
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.backend = backend
    register(app)
    for module in (jobs, steering, caches, stream):
        # The middleware checks the token; this says so in the description.
        app.include_router(module.router, responses=_ERRORS, dependencies=[Security(HTTPBearer(auto_error=False))])
    app.include_router(health.router)
    app.include_router(page_routes(pages()))
    inner = middleware.Authenticated(OwnPages(middleware.Bounded(app)), backend.identities)
    return middleware.Observed(inner, networks(backend.settings.trusted_proxies))
