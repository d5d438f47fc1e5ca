"""A page of another site, a real browser, and a proxy that signs people in by a cookie:
nothing is changed.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from api_process import ApiProcess
from playwright.sync_api import Browser, Page
from typing_extensions import override
from world import World

pytestmark = pytest.mark.timeout(300)


class SigningIn(ThreadingHTTPServer):
    """Stands for oauth2-proxy: adds the token to whatever comes with its cookie."""

    daemon_threads = True

    def __init__(self, target: ApiProcess, token: str) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.target, self.token = f"127.0.0.1:{target.port}", token
        self.seen: list[tuple[str, str, int]] = []
        """(method and path, Sec-Fetch-Site, status)."""


class _Passing(BaseHTTPRequestHandler):
    server: SigningIn

    def handle_any(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = dict(self.headers)
        if "session=1" in headers.get("Cookie", ""):
            headers["Authorization"] = f"Bearer {self.server.token}"
        connection = http.client.HTTPConnection(self.server.target, timeout=30)
        try:
            connection.request(self.command, self.path, content, headers | {"Connection": "close"})
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        site = headers.get("Sec-Fetch-Site") or headers.get("sec-fetch-site") or ""
        self.server.seen.append((f"{self.command} {self.path}", site, response.status))
        self.send_response_only(response.status)
        self.send_header("Content-Type", response.headers.get("Content-Type", "text/plain"))
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "session=1; HttpOnly; Path=/")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    do_GET = do_POST = do_DELETE = handle_any  # noqa: N815

    @override
    def log_message(self, *_: Any) -> None:
        """Nothing."""


class _Evil(BaseHTTPRequestHandler):
    """A page with a form that leads elsewhere: an empty one,
    as a change without a body needs it.
    """

    target = ""

    def do_GET(self) -> None:
        form = f'<form method="post" action="{self.target}"><button>Win</button></form>'
        body = f"<!doctype html>{form}".encode()
        self.send_response_only(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def serve() -> Iterator[Any]:
    with ExitStack() as stack:

        def start(server: ThreadingHTTPServer) -> ThreadingHTTPServer:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            stack.callback(thread.join, 20)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return server

        yield start


def suspended(world: World, name: str) -> bool:
    jobs = {
        each["metadata"]["name"]: each
        for each in world.items("fileprocessingjobs", "apis/fpj.dev/v1alpha1")
    }
    return bool(jobs[name]["spec"].get("suspend"))


def test_a_form_of_another_site_changes_nothing(
    browser: Browser, process: ApiProcess, tokens: dict[str, str], world: World, serve: Any
) -> None:
    world.job("held", "photos", suspend=True)
    proxy = serve(SigningIn(process, tokens["fpj-admin"]))
    path = f"/api/v1/namespaces/{world.namespace}/jobs/held/resume"
    own = f"http://127.0.0.1:{proxy.server_port}"
    evil = serve(
        ThreadingHTTPServer(("127.0.0.1", 0), type("Evil", (_Evil,), {"target": own + path}))
    )
    context = browser.new_context()
    try:
        page: Page = context.new_page()
        page.goto(f"{own}/jobs")  # signed in: the proxy's cookie is set
        page.goto(f"http://localhost:{evil.server_port}/")
        with page.expect_response(lambda response: response.url.endswith(path)) as answered:
            page.get_by_role("button", name="Win").click()
        assert answered.value.status == 403
        assert (f"POST {path}", "cross-site", 403) in proxy.seen
        assert suspended(world, "held")
        assert '"outcome": "the request comes from a page of another site"' in process.log

        page.goto(f"{own}/jobs")
        status = page.evaluate(
            "path => fetch(path, { method: 'POST' }).then(response => response.status)", path
        )
        assert status == 202, "the same from our own page"
        assert not suspended(world, "held")
    finally:
        context.close()
