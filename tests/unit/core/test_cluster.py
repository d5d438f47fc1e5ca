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
from typing_extensions import override

from fpj_core.kube.api import Cluster
from fpj_core.kube.errors import ClusterError

JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a", "namespace": "team"}}
T = TypeVar("T")
EXISTS = {"reason": "AlreadyExists", "code": 409, "message": 'jobs.batch "a" already exists'}
QUOTA = {
    "reason": "Conflict",
    "code": 409,
    "message": "Operation cannot be fulfilled on resourcequotas",
}


class Server(ThreadingHTTPServer):
    """Gives the ``answers`` (status, document) in turn, and keeps what it was asked as (method,
    path, body).

    ``retry_after`` is that header's text, by the status that it goes with.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.retry_after: dict[int, str] = {}


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
        if status in self.server.retry_after:
            self.send_header("Retry-After", self.server.retry_after[status])
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = answer  # noqa: N815

    @override
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


def ask(
    server: Server, question: Callable[[Cluster], Awaitable[T]], tries: int = 1, **options: Any
) -> T:
    async def within() -> T:
        configuration = Configuration()
        configuration.host = f"http://127.0.0.1:{server.server_port}"
        cluster = Cluster(ApiClient(configuration), tries=tries, **options)
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
    server.answers = [
        (422, {"reason": "Invalid", "message": "is invalid", "details": {"causes": [cause]}})
    ]
    with pytest.raises(ClusterError) as refused:
        ask(server, lambda cluster: cluster.create(JOB))
    assert refused.value.reason == "Invalid" and refused.value.causes == (
        ("spec.template", "must be small"),
    )


@pytest.mark.parametrize("answer", [{}, {"reason": None, "message": "no"}])
def test_an_answer_without_a_reason_has_none(server: Server, answer: dict[str, Any]) -> None:
    server.answers = [(409, answer)]
    with pytest.raises(ClusterError) as refused:
        ask(server, lambda cluster: cluster.create(JOB))
    assert refused.value.reason == ""


def test_a_status_may_name_the_version_it_was_decided_on(server: Server) -> None:
    server.answers = [
        (200, {}),
        (200, {}),
        (409, {"reason": "Conflict", "message": "has been modified"}),
    ]
    ask(server, lambda cluster: cluster.apply_status("CacheFolder", "team", "a", {}))
    ask(server, lambda cluster: cluster.apply_status("CacheFolder", "team", "a", {}, "uid-1", "7"))
    written = [body["metadata"] for _, _, body in server.asked]
    assert written == [
        {"name": "a", "namespace": "team"},
        {"name": "a", "namespace": "team", "uid": "uid-1", "resourceVersion": "7"},
    ]
    with pytest.raises(ClusterError) as refused:
        ask(
            server,
            lambda cluster: cluster.apply_status("CacheFolder", "team", "a", {}, version="7"),
        )
    assert (refused.value.status, refused.value.reason) == (409, "Conflict")


@pytest.mark.parametrize(
    ("most", "sizes", "last"), [(100, [2, 1], ""), (3, [2, 1], "b"), (2, [2], "a")]
)
def test_a_list_comes_in_pages_as_far_as_it_is_wanted(
    server: Server, most: int, sizes: list[int], last: str
) -> None:
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
        f"/api/v1/namespaces/team/pods?limit={min(2, most - 2)}&continue=a&labelSelector=a%3Db"
        for _ in sizes[1:]
    ]


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds between tries; none of them pass."""
    found: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        if seconds:  # the transport only lets others run
            found.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    return found


def test_what_may_pass_is_tried_again_as_often_as_was_said(
    server: Server, waited: list[float]
) -> None:
    server.answers = [(503, {}), (500, {}), (504, {}), (200, JOB)]
    with pytest.raises(ClusterError) as refused:
        ask(server, lambda cluster: cluster.get("Job", "team", "a"), tries=3)
    assert refused.value.status == 504 and len(server.asked) == 3
    assert waited == [0.4, 0.8]
    assert ask(server, lambda cluster: cluster.get("Job", "team", "a"), tries=3) == JOB


def test_what_will_not_pass_is_not_tried_again(server: Server, waited: list[float]) -> None:
    server.answers = [(403, {"reason": "Forbidden", "message": "no"})]
    with pytest.raises(ClusterError, match="no"):
        ask(server, lambda cluster: cluster.get("Job", "team", "a"), tries=3)
    assert len(server.asked) == 1 and waited == []


@pytest.mark.parametrize(
    ("said", "seconds"), [("7", 7.0), ("0", 0.4), ("3600", 20.0), ("-1", 0.4), ("Tue", 0.4)]
)
def test_the_server_says_how_long_to_leave_it_alone(
    server: Server, waited: list[float], said: str, seconds: float
) -> None:
    server.answers, server.retry_after = [(429, {}), (200, JOB)], {429: said}
    assert (
        ask(server, lambda cluster: cluster.get("Job", "team", "a"), tries=2, timeout=20.0) == JOB
    )
    assert waited == [seconds]


def test_who_may_write_no_more_reads_on(server: Server) -> None:
    writes: list[Callable[[Cluster], Awaitable[object]]] = [
        lambda cluster: cluster.create(JOB),
        lambda cluster: cluster.apply(JOB),
        lambda cluster: cluster.apply_status("CacheFolder", "team", "a", {}),
        lambda cluster: cluster.merge("Job", "team", "a", {}),
        lambda cluster: cluster.replace(JOB),
        lambda cluster: cluster.delete("Job", "team", "a"),
    ]
    for write in writes:
        with pytest.raises(ClusterError, match="not sent"):
            ask(server, write, may_write=lambda: False)
    assert server.asked == []
    server.answers = [(200, JOB)]
    assert (
        ask(server, lambda cluster: cluster.get("Job", "team", "a"), may_write=lambda: False) == JOB
    )


def test_whether_to_write_is_asked_before_each_try(server: Server, waited: list[float]) -> None:
    server.answers = [(503, {}), (200, JOB)]
    with pytest.raises(ClusterError, match="not sent"):
        ask(
            server,
            lambda cluster: cluster.apply(JOB),
            tries=2,
            may_write=iter([True, False]).__next__,
        )
    assert len(server.asked) == 1 and waited == [0.4]


@pytest.mark.parametrize("status", [404, 409])
def test_what_has_changed_since_is_not_replaced(server: Server, status: int) -> None:
    server.answers = [(200, JOB), (status, {"message": "has been modified"})]
    assert ask(server, lambda cluster: cluster.replace(JOB)) == JOB
    assert ask(server, lambda cluster: cluster.replace(JOB)) is None
    assert [(method, path) for method, path, _ in server.asked] == [
        ("PUT", "/apis/batch/v1/namespaces/team/jobs/a")
    ] * 2


def test_only_the_object_that_is_meant_is_deleted(server: Server) -> None:
    server.answers = [(200, {}), (409, {"message": "Precondition failed"}), (404, {}), (200, {})]
    for _ in range(3):  # gone, and another of that name, are both what was wanted
        ask(server, lambda cluster: cluster.delete("Job", "team", "a", "uid-1"))
    assert [body["preconditions"] for _, _, body in server.asked] == [{"uid": "uid-1"}] * 3
    ask(server, lambda cluster: cluster.delete("Job", "team", "a"))
    assert server.asked[-1][2] == {"propagationPolicy": "Background"}


def test_a_deletion_or_replacement_that_is_forbidden_is_told(server: Server) -> None:
    server.answers = [(403, {"message": "no"})] * 2
    with pytest.raises(ClusterError, match="no"):
        ask(server, lambda cluster: cluster.delete("Job", "team", "a", "uid-1"))
    with pytest.raises(ClusterError, match="no"):
        ask(server, lambda cluster: cluster.replace(JOB))
