"""``/healthz``: red when the event loop or the work stands still.

A watch that dies ends the process by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as LoopSilentError
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Thread
from typing import Any

from typing_extensions import override

from fpj_core.process.listening import any_address
from fpj_operator.workqueue import Workqueue

_MOST_LAG_SECONDS = 60.0
_PROBE_SECONDS = 5.0
"""How long the event loop has for an answer. The probe itself waits less long."""


class Health:
    """What the probe sees.

    ``queues`` are given once this process leads; one that waits to lead is healthy.
    """

    def __init__(self) -> None:
        self.queues: Sequence[Workqueue[Any]] = ()
        self._server: _Server | None = None

    def serve(self, port: int) -> None:
        """Answer on ``port``, once the event loop that called this has.

        Raises `OSError` for a port that is taken.
        """
        loop = asyncio.get_running_loop()
        self._server = _Server(port, lambda: self._asked(loop))
        Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def problem(self) -> str | None:
        """What is wrong, or None."""
        for queue in self.queues:
            silent = time.monotonic() - queue.handled_at
            if queue.depth and silent > _MOST_LAG_SECONDS:
                return f"{queue.depth} jobs wait, and nothing was finished for {silent:.0f} s"
        return None

    def _asked(self, loop: asyncio.AbstractEventLoop) -> str | None:
        """What is wrong, by the event loop's own word: when that hangs, the probe is to be red."""

        async def answer() -> str | None:
            return self.problem()

        asked = asyncio.run_coroutine_threadsafe(answer(), loop)
        try:
            return asked.result(_PROBE_SECONDS)
        except LoopSilentError:
            asked.cancel()
            return f"the event loop has not answered for {_PROBE_SECONDS:.0f} s"


class _Server(ThreadingTCPServer):
    """Not an `HTTPServer`, which asks the DNS for its own name first."""

    daemon_threads = allow_reuse_address = True
    address_family, host = any_address()

    def __init__(self, port: int, problem: Callable[[], str | None]) -> None:
        self.problem = problem
        super().__init__((self.host, port), _Answer)


class _Answer(BaseHTTPRequestHandler):
    server: _Server
    timeout = _PROBE_SECONDS

    def do_GET(self) -> None:
        if self.path != "/healthz":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        problem = self.server.problem()
        body = f"{problem or 'ok'}\n".encode()
        self.send_response(HTTPStatus.INTERNAL_SERVER_ERROR if problem else HTTPStatus.OK)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, *_: Any) -> None:
        """Nothing: probes come every few seconds."""
