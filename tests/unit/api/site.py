"""The application without a cluster, a store or a socket: requests in, answers out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from unit.api.clusters import FakeCluster, job

from fpj_api.app import application
from fpj_api.context import backend_of
from fpj_api.settings import ApiSettings
from fpj_api.storage import Storage
from fpj_api.table import held_of
from fpj_core.errors import StoreUnavailableError
from fpj_core.kube.jobresource import JobResource

V1 = "/api/v1"
JSON = {"content-type": "application/json"}


class Answer:
    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.status = messages[0]["status"]
        self.headers = {
            name.decode().lower(): value.decode() for name, value in messages[0]["headers"]
        }
        self.body = b"".join(each.get("body", b"") for each in messages[1:])

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class BrokenStore:
    def __init__(self) -> None:
        self.asked = 0
        self.namespaces: list[str | None] = []

    def statistics(self, *, namespace: str | None = None) -> list[Any]:
        self.asked += 1
        self.namespaces.append(namespace)
        raise StoreUnavailableError("MongoDB cannot be reached")


class Site:
    """The application with a user ``t``, who may do everything."""

    def __init__(self, store: Any = None, **settings: Any) -> None:
        self.cluster, self.store = FakeCluster(), store or BrokenStore()
        self.cluster.users["t"] = {"authenticated": True, "user": {"username": "anna"}}
        self.cluster.rule = lambda spec: True
        self.backend = backend_of(
            ApiSettings("mongodb://store", **settings),
            self.cluster,  # type: ignore[arg-type]
            self.cluster,  # type: ignore[arg-type]
            Storage(self.store),  # type: ignore[arg-type]
        )
        self.app = application(self.backend)

    def ask(
        self,
        method: str,
        path: str,
        *chunks: bytes,
        headers: dict[str, str] | None = None,
        token: str | None = "t",
        unfinished: bool = False,
        client: str = "127.0.0.1",
        more: Sequence[tuple[str, str]] = (),
    ) -> Answer:
        """``more`` are headers that may be there already."""
        path, _, query = path.partition("?")
        given = ({"authorization": f"Bearer {token}"} if token else {}) | (headers or {})
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in (*given.items(), *more)],
            "client": (client, 1),
            "server": ("127.0.0.1", 2),
        }
        queue = [
            {"type": "http.request", "body": chunk, "more_body": unfinished or number < len(chunks)}
            for number, chunk in enumerate(chunks, 1)
        ] or [{"type": "http.request", "body": b"", "more_body": False}]
        sent: list[dict[str, Any]] = []

        async def receive() -> Any:
            return queue.pop(0) if queue else await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        async def run() -> None:
            await asyncio.wait_for(self.app(scope, receive, send), 20)

        asyncio.run(run())
        return Answer(sent)

    def fill(self, *names: str) -> None:
        for informer in self.backend.watched.informers:
            informer.listed = True
        for name in names:
            self.backend.watched.table.put(held_of(JobResource(job(name, 1))))
