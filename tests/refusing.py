"""An API server that says no: a proxy before the real one, which answers some requests itself."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import urllib3
import yaml
from podrunner import Api
from typing_extensions import override

Refusal = Callable[[str, str], int | None]
"""From (method, path) to the status to answer with, or None.

Never called from two threads at once.
"""

_REASONS = {409: "Conflict", 410: "Expired", 429: "TooManyRequests", 503: "ServiceUnavailable"}
_HOP_BY_HOP = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding"})


class RefusingProxy(ThreadingHTTPServer):
    """Passes requests on with an administrator's rights, unless ``refusal`` gives a status."""

    daemon_threads = True

    def __init__(self, kubeconfig: Path, refusal: Refusal) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.api = Api(kubeconfig)
        self.refused: Counter[int] = Counter()
        self.written: list[tuple[float, str, str, int]] = []
        """(time, method, path, the server's status) of each write that was passed on."""
        self._refusal = refusal
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})

    @override
    def __enter__(self) -> Self:
        self._thread.start()
        return self

    @override
    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join(10)
        self.server_close()
        self.api.close()

    def kubeconfig(self, path: Path) -> Path:
        """Write one that leads here."""
        cluster = {"name": "here", "cluster": {"server": f"http://127.0.0.1:{self.server_port}"}}
        context = {"name": "here", "context": {"cluster": "here", "user": "here"}}
        users = [{"name": "here", "user": {}}]
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [cluster],
            "contexts": [context],
            "users": users,
        }
        path.write_text(yaml.safe_dump(content | {"current-context": "here"}))
        return path

    def refuse(self, method: str, path: str) -> int | None:
        """The status to answer a request with; None to pass it on."""
        with self._lock:
            status = self._refusal(method, path)
            if status is not None:
                self.refused[status] += 1
            return status


class _Passing(BaseHTTPRequestHandler):
    server: RefusingProxy

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.close_connection = True
        status = self.server.refuse(self.command, self.path)
        if status is None:
            self._pass_on(body)
        else:
            self._refuse(status)

    do_GET = do_PUT = do_PATCH = do_DELETE = do_POST = handle_any  # noqa: N815

    def _refuse(self, status: int) -> None:
        """As the API server words it."""
        answer = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": _REASONS[status],
            "code": status,
        }
        content = json.dumps(answer | {"message": "refused on purpose"}).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(content)

    def _pass_on(self, body: bytes) -> None:
        """Whatever comes of it, piece by piece as it comes: it may be a watch."""
        headers = {
            name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP
        }
        response = self.server.api.stream(self.command, self.path, body, headers)
        if self.command != "GET":
            self.server.written.append((time.time(), self.command, self.path, response.status))
        try:
            self.send_response_only(response.status)
            for name, value in response.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            while piece := response.read1(65_536):
                self.wfile.write(piece)
        except (ConnectionError, urllib3.exceptions.HTTPError):
            return  # either end has gone, as happens to watches
        finally:
            response.close()

    @override
    def log_message(self, *_: Any) -> None:
        """Nothing."""
