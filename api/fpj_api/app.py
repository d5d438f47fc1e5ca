"""The application: routes, errors and middleware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from fastapi import Depends, FastAPI, Request, Security
from fastapi.security import HTTPBearer
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp

from fpj_api import middleware
from fpj_api.addresses import networks
from fpj_api.context import Backend
from fpj_api.origins import OwnPages
from fpj_api.pages import page_routes, pages
from fpj_api.problems import MEDIA_TYPE, Problem, ProblemError, answer, register
from fpj_api.routes import bulk, caches, folders, health, jobs, purges, steering, stream
from fpj_core import __version__

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in (
        (400, "The cursor does not belong to this list, or the request ended early."),
        (401, "Not authenticated."),
        (403, "Forbidden."),
        (404, "It does not exist, or the namespace is not served."),
        (408, "The body did not arrive in time."),
        (409, "It exists already, or its state does not allow the action."),
        (413, "The body is too large."),
        (415, "The body is not JSON."),
        (422, "Invalid request."),
        (429, "Too many requests, streams or invalid tokens; Retry-After says when to try again."),
        (500, "Internal error; the log has the details, by the X-Request-Id of the response."),
        (503, "The cluster or the store does not answer; try again."),
        (504, "The cluster or the store does not answer in time; try again."),
    )
}
_MODULES = (jobs, steering, bulk, caches, folders, purges, stream)
_OF_CHANGES = ("408", "409", "413", "415")


def application(backend: Backend) -> ASGIApp:
    """All of it, ready to be served."""
    app = FastAPI(
        title="fpj",
        version=__version__,
        description=(
            "Shows and controls fpj's jobs and caches, for users that the cluster's RBAC allows to."
        ),
        openapi_url=middleware.SCHEMA,
        # Its page loads files from a CDN, which neither clusters without internet nor our policy
        # allow.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.backend = backend
    register(app)
    for module in _MODULES:
        # The middleware checks the token; this says so in the description.
        needed = [Security(HTTPBearer(auto_error=False)), Depends(_refuse_unknown_parameters)]
        app.include_router(module.router, responses=_ERRORS, dependencies=needed)
    others = (health.router, page_routes(pages()))
    for router in others:
        app.include_router(router)
    routers = (*(module.router for module in _MODULES), *others)
    app.add_exception_handler(
        405, _not_allowed([route for router in routers for route in router.routes])
    )
    app.openapi = partial(_description, app.openapi)  # type: ignore[method-assign]
    inner = middleware.Authenticated(OwnPages(middleware.Bounded(app)), backend.identities)
    return middleware.Observed(inner, networks(backend.settings.trusted_proxies))


def _description(made: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The OpenAPI document, with errors as they are sent: as problem documents,
    and only those that a method has.
    """
    described = made()
    for path in described["paths"].values():
        for method, operation in path.items():
            responses = operation["responses"]
            if method == "get":
                for status in _OF_CHANGES:
                    responses.pop(status, None)
            for status, response in responses.items():
                if status >= "4" and "application/json" in response["content"]:
                    response["content"] = {MEDIA_TYPE: response["content"]["application/json"]}
    return described


def _refuse_unknown_parameters(request: Request) -> None:
    """A filter with a typing error in its name would show everything."""
    known = sorted(each.alias for each in request.scope["route"].dependant.query_params)
    if odd := sorted(set(request.query_params) - set(known)):
        hint = f"is unknown; known parameters: {', '.join(known) or 'none'}"
        raise ProblemError(
            422, "unknown query parameters", errors=[(name[:100], hint) for name in odd]
        )


def _not_allowed(
    routes: Sequence[BaseRoute],
) -> Callable[[Request, Exception], Awaitable[Response]]:
    """405, with the methods of all routes that have the path."""

    async def handle(request: Request, _error: Exception) -> Response:
        matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
        methods = {method for route in matching for method in getattr(route, "methods", None) or ()}
        if "GET" in methods and request.url.path != middleware.STREAM:
            methods.add("HEAD")
        allowed = ", ".join(sorted(methods))
        return answer(ProblemError(405, f"allowed methods: {allowed}", headers={"Allow": allowed}))

    return handle
