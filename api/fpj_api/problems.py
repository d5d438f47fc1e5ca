"""Errors as problem documents (RFC 9457), whatever they come from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from fpj_core.errors import ManifestError, StoreError
from fpj_core.kube.errors import ClusterError, NoAnswerError
from fpj_core.kube.steering import RefusedActionError

MEDIA_TYPE = "application/problem+json"
BLANK, TOO_LARGE_HERE = "about:blank", "tag:fpj.dev,2026:too-large-here"
"""Types of problems, for programs."""
_AGAIN = {"Retry-After": "2"}
_MOST_ERRORS = 50
_LACKS = '" cannot '
"""In what the API server says to whoever lacks a right: ``User "x" cannot list resource …``."""

log = logging.getLogger("fpj.api")


class FieldError(BaseModel):
    """What is wrong with one part of the input."""

    path: str = Field(
        description="Where, such as spec.cache.tiers[0].quality; empty for the whole."
    )
    message: str


class Problem(BaseModel):
    """Why a request was not done."""

    type: str = Field(
        BLANK,
        description=(
            "about:blank: the title says everything; tag:fpj.dev,2026:too-large-here: ask `fpj`"
            " on a machine of your own."
        ),
    )
    title: str = Field(description="The status as text.")
    status: int
    detail: str = Field(description="An explanation for people.")
    errors: list[FieldError] | None = Field(None, description="Where the input was wrong.")


class ProblemError(Exception):
    """Ends a request with a problem document. ``errors`` are (path, message), ``kind`` its type."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        kind: str = BLANK,
    ) -> None:
        self.status, self.detail, self.errors = status, detail, tuple(errors)
        self.kind = kind
        self.headers = dict(headers or {})
        super().__init__(detail)


def unauthorized(detail: str, *, invalid: bool = False) -> ProblemError:
    """401: not authenticated; ``invalid`` says that there was a token."""
    challenge = 'Bearer error="invalid_token"' if invalid else "Bearer"
    return ProblemError(401, detail, headers={"WWW-Authenticate": challenge})


def not_found(kind: str, namespace: str, name: str) -> ProblemError:
    """404: only for those who may know."""
    return ProblemError(404, f"there is no {kind} {name} in namespace {namespace}")


def unavailable(detail: str) -> ProblemError:
    """503: what is needed to answer does not work now."""
    return ProblemError(503, detail, headers=_AGAIN)


def answer(problem: ProblemError) -> Response:
    """The response."""
    errors = [
        FieldError(path=path, message=message) for path, message in problem.errors[:_MOST_ERRORS]
    ]
    document = Problem(
        type=problem.kind,
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        detail=problem.detail,
        errors=errors or None,
    )
    content = document.model_dump(exclude_none=True)
    return JSONResponse(content, problem.status, problem.headers, MEDIA_TYPE)


async def respond(problem: ProblemError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with a problem; the audit finds it in the scope."""
    scope["fpj.problem"] = problem
    await answer(problem)(scope, receive, send)


def translated(error: Exception) -> ProblemError:
    """The problem for any error; what is kept from the client is in the log."""
    problem = problem_of(error)
    if problem.status >= 500 and not isinstance(error, ProblemError):
        log.warning("answered %d: %s: %s", problem.status, type(error).__name__, error)
    return problem


def problem_of(error: Exception) -> ProblemError:
    """What any error comes to. Nothing in it names a host, an address or a setting of ours."""
    for kind, translate in _TRANSLATIONS:
        if isinstance(error, kind):
            return translate(error)
    return ProblemError(500, "internal error; the log of the API has the details")


def register(app: FastAPI) -> None:
    """Have every error of the application answered as a problem."""

    async def handle(request: Request, error: Exception) -> Response:
        problem = translated(error)
        request.scope["fpj.problem"] = problem
        return answer(problem)

    for kind in (
        *(ProblemError, ClusterError, ManifestError, RefusedActionError, StoreError),
        *(RequestValidationError, HTTPException, Exception),
    ):
        app.add_exception_handler(kind, handle)


def _from_cluster(error: ClusterError) -> ProblemError:
    match error.status:
        case 404 | 409:
            return ProblemError(error.status, str(error))
        case 400 | 422:
            errors = [(path.removeprefix("<nil>"), message) for path, message in error.causes]
            return ProblemError(422, str(error), errors=errors)
        # A quota, a namespace on its way out, an admission webhook.
        case 403 if _LACKS not in str(error):
            return ProblemError(403, str(error))
        case 401 | 403:
            return unavailable("the API lacks a permission in the cluster; its log says which")
        case 429:
            return unavailable("the cluster's API server has too many requests; try again")
        case _:
            return unavailable("the cluster's API server does not answer properly; try again")


def _from_manifest(error: ManifestError) -> ProblemError:
    errors = error.fields or [("", problem) for problem in error.problems]
    return ProblemError(422, "the job is invalid", errors=errors)


def _from_validation(error: RequestValidationError) -> ProblemError:
    first = error.errors()[:_MOST_ERRORS]
    errors = [
        ("" if each["type"] == "json_invalid" else _path(each["loc"]), str(each["msg"]))
        for each in first
    ]
    return ProblemError(422, "invalid request", errors=errors)


def _path(location: Sequence[str | int]) -> str:
    """``jobs[0].name`` from where the framework found it:
    ``body`` and the like are its own words.
    """
    path = ""
    for step in location[1:]:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
    return path


_TRANSLATIONS: tuple[tuple[type[Exception], Callable[[Any], ProblemError]], ...] = (
    (ProblemError, lambda error: error),
    (
        NoAnswerError,
        lambda _: ProblemError(
            504, "the cluster's API server does not answer in time", headers=_AGAIN
        ),
    ),
    (ClusterError, _from_cluster),
    (ManifestError, _from_manifest),
    (RefusedActionError, lambda error: ProblemError(409, str(error))),
    (StoreError, lambda _: unavailable("the store does not answer; try again")),
    (RequestValidationError, _from_validation),
    (
        HTTPException,
        lambda error: ProblemError(error.status_code, str(error.detail), headers=error.headers),
    ),
)
