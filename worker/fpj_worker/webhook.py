"""Posting which files were purged, say to a CDN: ``{"collection": …, "urls": […]}``.

What is purged stays purged whatever the webhook answers. Nothing of the URL but its host is ever
shown, and nothing of the token.
"""

from __future__ import annotations

import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import quote, urlsplit

from fpj_core.kube.purgereport import Notified
from fpj_core.store.codec import batched
from fpj_core.store.protocol import nothing
from fpj_worker.purging import PurgedFile

TOKEN = "FPJ_WEBHOOK_TOKEN"  # noqa: S105 - a name
"""The variable that has the token."""
MOST_URLS = 1_000
"""Of one request."""
_TRIES = 3
_PAUSES = (0.5, 2.0)
"""Seconds between the tries."""
_SECONDS = 10.0
"""For a whole try: a server that answers a byte at a time ends it, too."""
_MOST_FAILED = 3
"""Requests in a row. No more is sent after that: a purge of millions must not wait for a service
that is down.
"""
_MOST_TOKEN = 8_192
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which a request is repeated."""

log = logging.getLogger("fpj.webhook")


class Webhook:
    """Where purged URLs are posted, and what came of it so far.

    Raises ValueError for a URL or a token that cannot be used; it shows neither.
    """

    def __init__(
        self,
        url: str,
        base_url: str,
        token: str | None = None,
        *,
        seconds: float = _SECONDS,
        pauses: Sequence[float] = _PAUSES,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._secure, self._host, self._port, self._target = _parts(url)
        _parts(base_url)
        self._base_url = base_url.rstrip("/")
        self._headers = {"Content-Type": "application/json", "User-Agent": "fpj"}
        if token:
            self._headers["Authorization"] = f"Bearer {_checked(token)}"
        self._seconds, self._pauses, self._sleep = seconds, pauses, sleep
        self._failed_in_a_row = 0
        self.notified = Notified()

    def notify(self, purged: Sequence[PurgedFile], on_step: Callable[[], None] = nothing) -> None:
        """Post the URLs of these files; never raises for what the webhook does.

        ``on_step`` is called before each try; what it raises ends it.
        """
        for collection in dict.fromkeys(each.collection for each in purged):
            paths = (each.path for each in purged if each.collection == collection)
            for some in batched(map(self.url_of, paths), MOST_URLS):
                self._count(len(some), self._post(collection, some, on_step))

    def url_of(self, path: str) -> str:
        """The URL of a file, by its path in the cache folder."""
        return f"{self._base_url}/{quote(path)}"

    def _count(self, urls: int, problem: str) -> None:
        said = self.notified
        if not problem:
            self.notified = replace(said, urls=said.urls + urls)
            return
        self.notified = replace(said, failed=said.failed + urls, message=said.message or problem)

    def _post(self, collection: str, urls: Sequence[str], on_step: Callable[[], None]) -> str:
        """Why the request has failed; empty if it has not."""
        if self._failed_in_a_row >= _MOST_FAILED:
            return "it was not asked any more"
        body = json.dumps({"collection": collection, "urls": list(urls)}).encode()
        problem = ""
        for pause in (*self._pauses[: _TRIES - 1], None):
            on_step()
            problem, again = self._try(body)
            if not problem:
                self._failed_in_a_row = 0
                return ""
            log.warning("the webhook at %s has failed: %s", self._host, problem)
            if pause is None or not again:
                break
            self._sleep(pause)
        self._failed_in_a_row += 1
        return problem

    def _try(self, body: bytes) -> tuple[str, bool]:
        """Why a try has failed, empty if it has not, and whether another may help."""
        connection = self._connection()
        late = threading.Timer(self._seconds, _cut, [connection])
        late.daemon = True
        late.start()
        try:
            connection.request("POST", self._target, body, self._headers)
            status = connection.getresponse().status
        except (OSError, HTTPException, ValueError) as error:
            return f"{self._host}: {type(error).__name__}", True
        finally:
            late.cancel()
            connection.close()
        if 200 <= status < 300:
            return "", False
        if 300 <= status < 400:
            return f"{self._host} redirects with status {status}, which is not followed", False
        return f"{self._host} answers with status {status}", status in _AGAIN

    def _connection(self) -> HTTPConnection:
        if not self._secure:
            return HTTPConnection(self._host, self._port, timeout=self._seconds)
        trust = ssl.create_default_context()
        return HTTPSConnection(self._host, self._port, timeout=self._seconds, context=trust)


def _cut(connection: HTTPConnection) -> None:
    """End what the connection waits for."""
    if connection.sock is not None:
        try:
            connection.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


def _parts(url: str) -> tuple[bool, str, int | None, str]:
    """Whether it is HTTPS, host, port and what is asked for. Raises ValueError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("it is not a URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("only URLs with http:// or https:// and a host are used")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL with a user or a password is not used")
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    query = f"?{quote(parts.query, safe='/%:@!$&()*+,;=~?')}" if parts.query else ""
    return parts.scheme == "https", parts.hostname, port, target + query


def _checked(token: str) -> str:
    """Raises ValueError where a header cannot hold it."""
    token = token.strip()
    if not token.isascii() or not token.isprintable() or len(token) > _MOST_TOKEN:
        raise ValueError("the token is not one line of printable ASCII")
    return token
