"""Posting purged URLs, to a real HTTP server on this machine."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from typing_extensions import override

from fpj_core.kube.purgereport import Notified
from fpj_worker.purging import PurgedFile
from fpj_worker.webhook import Webhook

SECRET = "s3cr3t-t0ken"
Asked = list[tuple[str, str | None, Any]]
"""Path, Authorization and body of each request."""


def purged(*paths: str, collection: str = "team.photos") -> list[PurgedFile]:
    return [PurgedFile(collection, "a.jpg", "full", "team.main", path, 5) for path in paths]


@contextmanager
def served(*answers: int, hold: threading.Event | None = None) -> Iterator[tuple[str, Asked]]:
    """A server that answers with these, and then with 200; and what it was asked."""
    asked: Asked = []
    left = list(answers)

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, self.headers["Authorization"], body))
            if hold is not None:
                hold.wait(30)
            self.send_response(left.pop(0) if left else 200)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        @override
        def log_message(self, *_arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        if hold is not None:
            hold.set()
        server.shutdown()
        server.server_close()
        thread.join(30)


class Slept:
    """Instead of time.sleep."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def hook(url: str, token: str | None = None, sleep: Callable[[float], None] | None = None) -> Any:
    return Webhook(
        f"{url}/purge?zone=7", "https://img.example.com/c/", token, sleep=sleep or Slept()
    )


def test_urls_are_posted_with_the_token() -> None:
    with served() as (url, asked):
        webhook = hook(url, SECRET + "\n")
        webhook.notify(purged("a b/ä.jpg", "c.jpg"))
    urls = ["https://img.example.com/c/a%20b/%C3%A4.jpg", "https://img.example.com/c/c.jpg"]
    body = {"collection": "team.photos", "urls": urls}
    assert asked == [("/purge?zone=7", f"Bearer {SECRET}", body)]
    assert webhook.notified == Notified(urls=2)


def test_a_request_has_a_thousand_urls_of_one_collection() -> None:
    with served() as (url, asked):
        webhook = hook(url)
        webhook.notify(purged(*(f"{n}.jpg" for n in range(2_001))) + purged("z", collection="b"))
    assert [(body["collection"], len(body["urls"])) for _, _, body in asked] == [
        *(("team.photos", 1_000), ("team.photos", 1_000), ("team.photos", 1), ("b", 1))
    ]
    assert [authorization for _, authorization, _ in asked] == [None] * 4
    assert webhook.notified == Notified(urls=2_002)


def test_nothing_is_posted_of_nothing() -> None:
    with served() as (url, asked):
        hook(url).notify([])
    assert asked == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int) -> None:
    slept = Slept()
    with served(status, status) as (url, asked):
        webhook = hook(url, sleep=slept)
        webhook.notify(purged("a.jpg"))
    assert (len(asked), slept.seconds) == (3, [0.5, 2.0])
    assert webhook.notified == Notified(urls=1)


def test_three_tries_are_enough() -> None:
    slept = Slept()
    with served(*[500] * 9) as (url, asked):
        webhook = hook(url, sleep=slept)
        webhook.notify(purged("a.jpg"))
    assert (len(asked), len(slept.seconds)) == (3, 2)
    assert webhook.notified == Notified(0, 1, "127.0.0.1 answers with status 500")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_is_not_asked_again(status: int) -> None:
    with served(status) as (url, asked):
        webhook = hook(url)
        webhook.notify(purged("a.jpg"))
    assert len(asked) == 1
    assert webhook.notified == Notified(0, 1, f"127.0.0.1 answers with status {status}")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirection_is_not_followed(status: int) -> None:
    with served(status) as (url, asked):
        webhook = hook(url, SECRET)
        webhook.notify(purged("a.jpg"))
    assert len(asked) == 1
    assert (webhook.notified.failed, "not followed" in webhook.notified.message) == (1, True)


def test_after_three_requests_that_failed_no_more_are_sent() -> None:
    with served(*[404] * 99) as (url, asked):
        webhook = hook(url)
        for number in range(5):
            webhook.notify(purged(f"{number}.jpg"))
    assert len(asked) == 3
    assert webhook.notified == Notified(0, 5, "127.0.0.1 answers with status 404")


def test_a_request_that_is_accepted_clears_earlier_failures() -> None:
    with served(404, 404, 200, 404, 404) as (url, asked):
        webhook = hook(url)
        for number in range(6):
            webhook.notify(purged(f"{number}.jpg"))
    assert len(asked) == 6
    assert (webhook.notified.urls, webhook.notified.failed) == (2, 4)


def test_a_server_that_does_not_answer_ends_the_try() -> None:
    hold = threading.Event()
    with served(hold=hold) as (url, asked):
        webhook = Webhook(url, url, seconds=0.2, sleep=Slept())
        webhook.notify(purged("a.jpg"))
    assert len(asked) == 3
    assert (webhook.notified.urls, webhook.notified.failed) == (0, 1)


def test_nobody_listens() -> None:
    with served() as (url, _):
        pass
    webhook = hook(url)
    webhook.notify(purged("a.jpg"))
    assert webhook.notified == Notified(0, 1, "127.0.0.1: ConnectionRefusedError")


def test_what_on_step_raises_ends_it() -> None:
    class StopError(Exception):
        pass

    def on_step() -> None:
        raise StopError

    with served() as (url, asked), pytest.raises(StopError):
        hook(url).notify(purged("a.jpg"), on_step)
    assert asked == []


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://h/x", "file:///etc/passwd", "h/x", "https://", "http://h:port/", "http://[::1/"),
        *("https://user@h/", "https://user:password@h/"),
    ],
)
def test_other_urls_are_refused_and_not_shown(url: str) -> None:
    for pair in ((url, "https://h/"), ("https://h/", url)):
        with pytest.raises(ValueError) as refused:  # noqa: PT011 - what it says is looked at
            Webhook(*pair)
        assert "h/" not in str(refused.value)


@pytest.mark.parametrize("token", ["a\r\nX-Other: 1", "ä", "x" * 9_000])
def test_a_token_that_no_header_can_hold_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ValueError, match="the token is not one line of printable ASCII"):
        Webhook("https://h/", "https://h/", token)


def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with served(*[500] * 9) as (url, _):
        webhook = Webhook(f"{url}/{SECRET}?key={SECRET}", "https://h/", SECRET, sleep=Slept())
        webhook.notify(purged("a.jpg"))
    assert "127.0.0.1" in caplog.text
    assert SECRET not in caplog.text and SECRET not in repr(webhook.notified)
