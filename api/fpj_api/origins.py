"""Changes are accepted from our own pages and from clients that are not browsers:
not from pages of other sites.

A proxy that signs people in by a cookie adds the token to every request of a browser, also to one
that another site's page has sent. Browsers say where a request comes from; nothing else is needed
to know it.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from fpj_api.problems import ProblemError, respond

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
_OWN = frozenset({"same-origin", "none"})
_PORTS = {"http": 80, "https": 443}


class OwnPages:
    """Refuses changes that pages of other sites ask for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may be passed on."""
        if scope["method"] not in SAFE and is_foreign(Headers(scope=scope)):
            problem = ProblemError(403, "the request comes from a page of another site")
            await respond(problem, scope, receive, send)
            return
        await self._app(scope, receive, send)


def is_foreign(headers: Headers) -> bool:
    """Whether a browser says that another site's page has sent this.

    ``Sec-Fetch-Site`` decides. A browser leaves it out where the page came in the clear; then
    ``Origin`` must name the host that was asked. Its scheme is not compared: TLS may end before
    this process.
    """
    sites, origins = headers.getlist("sec-fetch-site"), headers.getlist("origin")
    if sites:
        return not set(sites) <= _OWN
    return bool(origins) and not all(_names(origin, headers.get("host", "")) for origin in origins)


def _names(origin: str, host: str) -> bool:
    try:
        asked, named = urlsplit(f"//{host}"), urlsplit(origin)
        default = _PORTS.get(named.scheme)
        same_port = (named.port or default) == (asked.port or default)
    except ValueError:
        return False
    return (
        default is not None
        and bool(named.hostname)
        and named.hostname == asked.hostname
        and same_port
    )
