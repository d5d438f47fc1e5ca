"""The API as a real process, and clients of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import urllib3
from mongodb_server import free_port
from waiting import wait_for

Document = dict[str, Any]


class ApiProcess:
    """One replica of the API, listening on this machine.

    Args:
        kubeconfig: whose rights the API has.
        store: URL of the store.
        folder: for its log.
        settings: further environment variables.
    """

    def __init__(
        self, kubeconfig: Path, store: str, folder: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        self.port, self.metrics_port, self.probe_port = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = folder / f"api-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FPJ_")}
        self._environment = kept | {
            "KUBECONFIG": str(kubeconfig),
            "FPJ_STORE": store,
            "FPJ_API_HOST": "127.0.0.1",
            "FPJ_API_PORT": str(self.port),
            "FPJ_METRICS_PORT": str(self.metrics_port),
            "FPJ_API_PROBE_PORT": str(self.probe_port),
            **(settings or {}),
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            print(self.log[-20_000:])
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait(20)

    def start(self, *, wait: bool = True) -> None:
        """Start it; by default, wait until it is ready."""
        with self.log_path.open("ab") as log:
            command = [sys.executable, "-m", "fpj_api.main"]
            self._process = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        if wait:
            wait_for(
                lambda: self.probe("readyz") == 200, lambda: f"the API is ready\n{self.log}", 60
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def changes(self) -> list[Document]:
        """Its notes of changes."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [
            line
            for line in lines
            if (line["logger"], line["message"]) == ("fpj.api.audit", "change")
        ]

    def probe(self, name: str) -> int:
        """The status of a probe; 0 where nobody answers."""
        assert self._process and self._process.poll() is None, f"the API ended\n{self.log}"
        try:
            return Client(f"http://127.0.0.1:{self.probe_port}").ask("GET", f"/{name}")[0]
        except urllib3.exceptions.HTTPError:
            return 0

    def wait_end(self, seconds: float = 30) -> int:
        """The exit code of a process that ends by itself."""
        assert self._process
        return self._process.wait(seconds)

    def stop(self, seconds: float = 30) -> int:
        """SIGTERM, as Kubernetes does it; the exit code."""
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(seconds)

    def scrape(self) -> str:
        """What Prometheus would get."""
        return urllib3.request("GET", f"http://127.0.0.1:{self.metrics_port}/metrics").data.decode()


class Client:
    """Requests with a token, or without one."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self.headers = {"Connection": "close"} | (
            {"Authorization": f"Bearer {token}"} if token else {}
        )
        self._pool = urllib3.PoolManager(retries=False, timeout=60)

    def response(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        """The answer as it is."""
        given = self.headers | dict(headers or {})
        content = None
        if body is not None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            given = {"Content-Type": "application/json"} | given
        return self._pool.request(method, self.url + path, body=content, headers=given)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Document]:
        """Status and JSON."""
        response = self.response(method, path, body)
        text = response.data.decode()
        return response.status, json.loads(text) if "json" in response.headers.get(
            "Content-Type", ""
        ) else {"": text}

    def get(self, path: str) -> Document:
        """A JSON answer; it must be 200."""
        status, found = self.ask("GET", path)
        assert status == 200, (path, status, found)
        return found

    def post(self, path: str, body: object = None) -> tuple[int, Document]:
        return self.ask("POST", path, body)

    def stream_status(self, query: str = "") -> int:
        """What comes of asking for a stream."""
        with self.stream(query) as stream:
            return stream.status

    def stream(self, query: str = "", last_id: str | None = None) -> Stream:
        """The stream of events, read in the background."""
        headers = self.headers | ({"Last-Event-ID": last_id} if last_id is not None else {})
        return Stream(f"{self.url}/api/v1/cache/jobs/stream{query}", headers)


class Stream:
    """Server-sent events as they come.

    The connection is open, and the stream started, once this is made.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.last_id = ""
        self._events: queue.Queue[Document | None] = queue.Queue()
        parts = urlsplit(url)
        assert parts.hostname
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        self._connection.request("GET", f"{parts.path}?{parts.query}", headers=dict(headers))
        assert self._connection.sock
        self._socket: socket.socket = self._connection.sock
        self._response = self._connection.getresponse()
        self.status = self._response.status
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if self.status == 200:
            wait_for(lambda: self.last_id, "the stream begins", 20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # which wakes the reader
        self._reader.join(20)
        self._response.close()
        self._connection.close()

    def next(self, seconds: float = 30) -> Document:
        """The next event: ``{id, event, data}``. Fails where the stream has ended."""
        found = self._events.get(timeout=seconds)
        assert found is not None, "the stream has ended"
        return found

    def until(self, event: str, name: str = "", seconds: float = 30) -> Document:
        """The data of the next such event, about a job of this name; others are skipped."""
        for _ in range(10_000):
            found = self.next(seconds)
            if found["event"] == event and name in ("", found["data"].get("name")):
                return dict(found["data"])
        raise AssertionError(f"no {event} of {name}")

    def ended(self, seconds: float = 30) -> bool:
        """Whether it ends, with nothing more of an event in it."""
        return self._events.get(timeout=seconds) is None

    def _read(self) -> None:
        fields: dict[str, str] = {}
        try:
            while raw := self._response.readline():
                line = raw.decode().rstrip("\n")
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.strip()
                    continue
                self.last_id = fields.get("id", self.last_id)
                if "data" in fields:
                    event = {
                        "id": self.last_id,
                        "event": fields["event"],
                        "data": json.loads(fields["data"]),
                    }
                    self._events.put(event)
                fields = {}
        except (http.client.HTTPException, OSError):
            pass  # the test has closed it, or the process has ended
        finally:
            self._events.put(None)
