"""What the client makes of the API server's answers, from a server that only answers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import pytest
from kubernetes.aio.client import ApiClient, Configuration

from fpj_core.kube.api import Cluster, ClusterError

JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a", "namespace": "team"}}
T = TypeVar("T")
EXISTS = {"reason": "AlreadyExists", "code": 409, "message": 'jobs.batch "a" already exists'}
QUOTA = {"reason": "Conflict", "code": 409, "message": "Operation cannot be fulfilled on resourcequotas"}


class Server(ThreadingHTTPServer):
    """Gives the ``answers`` (status, document) in turn, and keeps what it was asked as (method, path, body)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.asked: list[tuple[str, str, dict[str, Any]]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, json.loads(body or b"{}")))
        status, document = self.server.answers.pop(0)
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        found.shutdown()
        thread.join(10)


def ask(server: Server, question: Callable[[Cluster], Awaitable[T]]) -> T:
    async def within() -> T:
        configuration = Configuration()
        configuration.host = f"http://127.0.0.1:{server.server_port}"
        cluster = Cluster(ApiClient(configuration), tries=1)
        try:
            return await question(cluster)
        finally:
            await cluster.close()

    return asyncio.run(within())


def test_only_an_object_of_that_name_exists_already(server: Server) -> None:
    server.answers = [(409, EXISTS), (409, QUOTA), (201, JOB)]
    assert ask(server, lambda cluster: cluster.create(JOB)) is None
    with pytest.raises(ClusterError, match="resourcequotas") as refused:
        ask(server, lambda cluster: cluster.create(JOB))
    assert (refused.value.status, refused.value.reason) == (409, "Conflict")
    assert ask(server, lambda cluster: cluster.create(JOB)) == JOB


def test_an_invalid_object_names_its_fields(server: Server) -> None:
    cause = {"reason": "FieldValueInvalid", "field": "spec.template", "message": "must be small"}
    server.answers = [(422, {"reason": "Invalid", "message": "is invalid", "details": {"causes": [cause]}})]
    with pytest.raises(ClusterError) as refused:
        ask(server, lambda cluster: cluster.create(JOB))
    assert refused.value.reason == "Invalid" and refused.value.causes == (("spec.template", "must be small"),)


@pytest.mark.parametrize("answer", [{}, {"reason": None, "message": "no"}])
def test_an_answer_without_a_reason_has_none(server: Server, answer: dict[str, Any]) -> None:
    server.answers = [(409, answer)]
    with pytest.raises(ClusterError) as refused:
        ask(server, lambda cluster: cluster.create(JOB))
    assert refused.value.reason == ""


def test_a_status_may_name_the_version_it_was_decided_on(server: Server) -> None:
    server.answers = [(200, {}), (200, {}), (409, {"reason": "Conflict", "message": "has been modified"})]
    ask(server, lambda cluster: cluster.apply_status("CacheFolder", "team", "a", {}))
    ask(server, lambda cluster: cluster.apply_status("CacheFolder", "team", "a", {}, "uid-1", "7"))
    written = [body["metadata"] for _, _, body in server.asked]
    assert written == [
        {"name": "a", "namespace": "team"},
        {"name": "a", "namespace": "team", "uid": "uid-1", "resourceVersion": "7"},
    ]
    with pytest.raises(ClusterError) as refused:
        ask(server, lambda cluster: cluster.apply_status("CacheFolder", "team", "a", {}, version="7"))
    assert (refused.value.status, refused.value.reason) == (409, "Conflict")


@pytest.mark.parametrize(("most", "sizes", "last"), [(100, [2, 1], ""), (3, [2, 1], "b"), (2, [2], "a")])
def test_a_list_comes_in_pages_as_far_as_it_is_wanted(server: Server, most: int, sizes: list[int], last: str) -> None:
    pages: list[dict[str, Any]] = [{"items": [{}] * size, "metadata": {}} for size in sizes]
    for page, after in zip(pages, "ab", strict=False):
        page["metadata"] = {"continue": after}
    pages[-1]["metadata"] = {"continue": last}
    server.answers = [(200, page) for page in pages]

    async def sizes_of(cluster: Cluster) -> list[int]:
        found = cluster.pages("Pod", "team", size=2, most=most, labels="a=b")
        return [len(page) async for page in found]

    assert ask(server, sizes_of) == sizes
    asked = [path for _, path, _ in server.asked]
    assert asked[0] == "/api/v1/namespaces/team/pods?limit=2&labelSelector=a%3Db"
    assert asked[1:] == [
        f"/api/v1/namespaces/team/pods?limit={min(2, most - 2)}&continue=a&labelSelector=a%3Db" for _ in sizes[1:]
    ]
