"""Around the application: metrics, authentication, limits of the body.

Plain ASGI: streams pass untouched.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import MutableMapping, Sequence
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fpj_api import metrics
from fpj_api.addresses import Network, client_address
from fpj_api.audit import REFUSALS, Refusals
from fpj_api.identities import Identities
from fpj_api.problems import ProblemError, respond, translated, unauthorized
from fpj_core.kube.errors import ClusterError
from fpj_core.process.logs import about

PREFIX = "/api/v1/"
SCHEMA = f"{PREFIX}openapi.json"
STREAM = f"{PREFIX}cache/jobs/stream"
MOST_BODY = 256 * 1024
_BODY_SECONDS = 10.0
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE"})
_POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

log = logging.getLogger("fpj.api")


class Observed:
    """The outermost: counts and times requests, sets the headers of all responses,
    answers uncaught errors.

    Whatever is logged meanwhile has the request's id and the client's address.
    """

    def __init__(self, app: ASGIApp, proxies: Sequence[Network] = ()) -> None:
        self._app, self._proxies = app, proxies
        self._refusals = Refusals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on."""
        if scope["type"] != "http":
            return
        request, address = _request_id(scope), self._address(scope)
        scope["fpj.address"] = address
        with about(request=request, address=address):
            await self._observe(request, scope, receive, send)

    def _address(self, scope: Scope) -> str:
        peer = (scope.get("client") or ("",))[0]
        return client_address(peer, Headers(scope=scope).getlist("x-forwarded-for"), self._proxies)

    async def _observe(self, request: str, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        bodiless = method == "HEAD" and scope["path"] != STREAM
        if bodiless:
            scope = {**scope, "method": "GET"}
        started, status = time.monotonic(), 0

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _secure(message, scope["path"])
                MutableHeaders(raw=message["headers"])["X-Request-Id"] = request
            elif bodiless:
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except Exception as error:
            log.exception("a request failed")
            if not status:
                await respond(translated(error), scope, receive, observed)
        finally:
            if status in REFUSALS:
                self._refusals.note(scope, status)
            _measure(scope, method, status, time.monotonic() - started)


class Authenticated:
    """Authenticates the caller; below `PREFIX` only users that the cluster knows are served."""

    def __init__(self, app: ASGIApp, identities: Identities) -> None:
        self._app, self._identities = app, identities

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may be passed on; ``fpj.user`` and ``fpj.token`` are then in the scope."""
        if scope["path"].startswith(PREFIX) and scope["path"] != SCHEMA:
            try:
                await self._find_out(scope)
            except (ProblemError, ClusterError) as error:
                await respond(translated(error), scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _find_out(self, scope: Scope) -> None:
        given = Headers(scope=scope).getlist("authorization")
        if not given:
            raise unauthorized(
                "a bearer token is required, such as one from `kubectl create token`"
            )
        kind, _, token = given[0].strip().partition(" ")
        token = token.strip()
        if (
            len(given) > 1
            or kind.lower() != "bearer"
            or not token
            or not token.isascii()
            or " " in token
        ):
            raise unauthorized("the Authorization header must be: Bearer TOKEN")
        user = await self._identities.user(token, scope["fpj.address"])
        if user is None:
            raise unauthorized("the token is invalid or has expired", invalid=True)
        scope["fpj.user"], scope["fpj.token"] = user, token


class Bounded:
    """Reads a body before it is passed on: not more than `MOST_BODY`, not longer than some seconds,
    JSON alone.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, with the body if there is one."""
        if scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        try:
            body = await _body(scope, receive)
        except ProblemError as problem:
            await respond(problem, scope, receive, send)
            return
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)


async def _body(scope: Scope, receive: Receive) -> bytes:
    headers = Headers(scope=scope)
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length) > MOST_BODY:
        raise _too_large()
    body = b""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise ProblemError(400, "the request ended early")
                body += bytes(message.get("body", b""))
                if len(body) > MOST_BODY:
                    raise _too_large()
                if not message.get("more_body"):
                    break
    except TimeoutError:
        raise ProblemError(408, "the request body did not arrive in time") from None
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/json":
        raise ProblemError(415, "a body must be JSON, with Content-Type: application/json")
    return body


def _request_id(scope: Scope) -> str:
    """The client's own if it is one that can stand in a log; else a new one."""
    given = Headers(scope=scope).getlist("x-request-id")
    return given[0] if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]) else secrets.token_hex(8)


def _too_large() -> ProblemError:
    return ProblemError(
        413, f"a body may have {MOST_BODY // 1024} KiB at most", headers={"Connection": "close"}
    )


def _secure(message: MutableMapping[str, Any], path: str) -> None:
    headers = MutableHeaders(raw=message.setdefault("headers", []))
    for name, value in _HEADERS.items():
        headers[name] = value
    headers.setdefault("Cache-Control", "no-store")
    if path.startswith(PREFIX):
        headers["Cache-Control"] = "no-store"


def _measure(scope: Scope, method: str, status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", None) or metrics.OTHER
    method = method if method in _METHODS else metrics.OTHER
    metrics.REQUESTS.labels(route, method, str(status or 499)).inc()
    if route != STREAM:
        metrics.REQUEST_SECONDS.labels(route).observe(seconds)
