"""What the API server's refusals, and its silence, become: one line each."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import Configuration
from mongodb_server import free_port
from typing_extensions import override

from fpj_cli import kube
from fpj_cli.cluster import ClusterJobs
from fpj_cli.context import UsageProblemError
from fpj_cli.kube import Api, connect
from fpj_core.kube.errors import ClusterError, UnreachableError

pytestmark = pytest.mark.slow


class Server(ThreadingHTTPServer):
    """Answers every request alike."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.body, self.delay = 200, b"{}", 0.0
        self.seen: list[tuple[str, str, bytes]] = []

    @override
    def handle_error(self, *_: object) -> None:
        """A client that goes away is not reported."""


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, body))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.flush()
        time.sleep(self.server.delay)
        self.wfile.write(self.server.body)

    def do_PATCH(self) -> None:
        self.do_GET()

    @override
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def api(server: Server) -> Iterator[Api]:
    api = made(f"http://127.0.0.1:{server.server_address[1]}")
    yield api
    api.close()


def made(host: str, seconds: float | None = None) -> Api:
    configuration = Configuration(host=host)
    configuration.retries = False
    return Api(configuration, "default", seconds)


def refusal(**status: Any) -> bytes:
    return json.dumps({"kind": "Status"} | status).encode()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            403,
            refusal(message='jobs is forbidden: User "u" cannot list'),
            'jobs is forbidden: User "u" cannot list',
        ),
        (401, refusal(message="Unauthorized"), "does not accept these credentials; log in again"),
        (
            404,
            b"404 page not found\n",
            "does not know FileProcessingJobs: install the resources in crds/",
        ),
        (404, refusal(message='fpj "x" not found', details={"name": "x"}), 'fpj "x" not found'),
        (503, b"<html>\n<p>try later", "<html> <p>try later"),
        (500, b"", "answered with status 500"),
        (500, b"[1]", "[1]"),
    ],
)
def test_refusals(api: Api, server: Server, status: int, body: bytes, words: str) -> None:
    server.status, server.body = status, body
    with pytest.raises(ClusterError) as caught:
        api.get("/apis")
    assert caught.value.status == status
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nobody_listens() -> None:
    api = made(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(
        UnreachableError, match=r"the API server http://\S+ cannot be reached: Connection refused$"
    ):
        api.get("/apis")
    api.close()


@pytest.mark.parametrize("streamed", [False, True])
def test_a_server_that_falls_silent(server: Server, streamed: bool) -> None:
    api = made(f"http://127.0.0.1:{server.server_address[1]}", 0.2)
    server.delay = 1.0
    with pytest.raises(UnreachableError, match=r": no answer in time$"):
        list(api.lines("/log")) if streamed else api.get("/apis")
    api.close()


def test_lists_of_any_length(api: Api, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {"": ({"continue": "2"}, "ab"), "2": ({"continue": "3"}, "c"), "3": ({}, "d")}
    asked = []

    def get(path: str, **query: Any) -> dict[str, Any]:
        asked.append(path)
        metadata, names = pages[query.get("continue", "")]
        return {"metadata": metadata, "items": list(names)}

    monkeypatch.setattr(api, "get", get)
    assert "".join(api.pages("/list")) == "abcd"  # type: ignore[arg-type]
    assert asked == ["/list"] * 3


@pytest.mark.parametrize(
    ("body", "lines"),
    [(b"", []), (b"a\nb\n", ["a", "b"]), (b"\xc3\xa4\n\nlast", ["ä", "", "last"])],
)
def test_lines(api: Api, server: Server, body: bytes, lines: list[str]) -> None:
    server.body = body
    assert list(api.lines("/log", tailLines=3)) == lines
    assert server.seen == [("GET", "/log?tailLines=3", b"")]


def test_a_change_is_a_merge_patch(api: Api, server: Server) -> None:
    api.patch("/x", {"spec": {"suspend": True}})
    assert server.seen == [("PATCH", "/x?fieldManager=fpj", b'{"spec": {"suspend": true}}')]


def test_a_cluster_without_our_resources(api: Api, server: Server) -> None:
    server.status, server.body = 404, b"404 page not found\n"
    calls: tuple[Callable[[ClusterJobs], object], ...] = (
        lambda jobs: jobs.all(),
        lambda jobs: jobs.get("x"),
        lambda jobs: jobs.get(None),
    )
    for call in calls:
        with pytest.raises(ClusterError, match="does not know FileProcessingJobs"):
            call(ClusterJobs(api, "default", "fpj-system"))


# Kubeconfigs --------------------------------------------------------------------------------------

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: one
clusters: [{name: c, cluster: {server: "http://one"}}, {name: d, cluster: {server: "http://two"}}]
users: [{name: u, user: {token: secret}}]
contexts:
- {name: one, context: {cluster: c, user: u, namespace: photos}}
- {name: two, context: {cluster: d, user: u}}
"""


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config"
    path.write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


def test_the_context_names_server_and_namespace(kubeconfig: Path) -> None:
    for context, host, namespace in (
        (None, "http://one", "photos"),
        ("two", "http://two", "default"),
    ):
        api = connect(None, context)
        assert (api.configuration.host, api.namespace) == (host, namespace)
        assert api.headers()["authorization"] == "Bearer secret"
        api.close()


def test_an_option_is_nearer_than_the_environment(kubeconfig: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text(KUBECONFIG.replace("http://one", "http://other"))
    api = connect(str(other), None)
    assert api.configuration.host == "http://other"
    api.close()


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[1]", "a: {", "current-context: x\ncontexts: []\n", "contexts: 1"]
)
def test_a_kubeconfig_that_makes_no_sense(kubeconfig: Path, text: str) -> None:
    kubeconfig.write_text(text)
    with pytest.raises(UsageProblemError, match=r"^cannot use the kubeconfig \S+: \S"):
        connect(None, None)


def test_no_kubeconfig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(kube, "_ACCOUNT", tmp_path)
    with pytest.raises(
        UsageProblemError,
        match=r"^there is no kubeconfig ~/.kube/config; name one with --kubeconfig",
    ):
        connect(None, None)


def test_an_unknown_context(kubeconfig: Path) -> None:
    with pytest.raises(UsageProblemError, match="three"):
        connect(None, "three")
