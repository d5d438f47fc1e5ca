"""What several tests ask for: a real S3 server, one that goes wrong on purpose,
an audited control plane, an API.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from api_process import ApiProcess
from apis import Place, place_in
from audit import Audit
from mongodb_server import free_port
from planes import with_crds
from typing_extensions import override

from fpj_cluster import Cluster
from fpj_core.objects import Bucket

KEY, SECRET = "test-key", "test-secret"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of an empty server that any credentials open."""
    yield from _moto()


@pytest.fixture(scope="session")
def strict_s3_server() -> Iterator[str]:
    """The URL of a server that checks credentials, of which it knows none."""
    yield from _moto(INITIAL_NO_AUTH_ACTION_COUNT="0")


def _moto(**settings: str) -> Iterator[str]:
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env=os.environ | settings,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            assert server.poll() is None and time.monotonic() < deadline, (
                "the S3 server did not start"
            )
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait(20)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Objects:
    """A bucket of its own for a test, filled and looked at with Amazon's own client."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.name = f"test-{uuid.uuid4().hex[:12]}"
        self._client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )
        self._client.create_bucket(Bucket=self.name)

    def put(self, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=self.name, Key=key, Body=content)

    def fill(self, keys: Iterable[str], content: bytes) -> None:
        """Many at once: the server asks for no signatures."""
        connection = http.client.HTTPConnection(self.endpoint.removeprefix("http://"), timeout=30)
        for key in keys:
            connection.request("PUT", f"/{self.name}/{key}", content)
            assert connection.getresponse().read() is not None
        connection.close()

    def get(self, key: str) -> bytes:
        return bytes(self._client.get_object(Bucket=self.name, Key=key)["Body"].read())

    def head(self, key: str) -> dict[str, Any]:
        return dict(self._client.head_object(Bucket=self.name, Key=key))

    def remove(self, key: str) -> None:
        self._client.delete_object(Bucket=self.name, Key=key)

    def keys(self, prefix: str = "") -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=prefix
        )
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def bucket(
        self, prefix: str = "", *, name: str | None = None, endpoint: str | None = None
    ) -> Bucket:
        """The same as fpj sees it."""
        return Bucket(name or self.name, prefix, endpoint or self.endpoint, None, KEY, SECRET)

    def close(self) -> None:
        keys = self.keys()
        for start in range(0, len(keys), 1_000):
            doomed = [{"Key": key} for key in keys[start : start + 1_000]]
            self._client.delete_objects(Bucket=self.name, Delete={"Objects": doomed})
        self._client.delete_bucket(Bucket=self.name)
        self._client.close()


@pytest.fixture
def objects(s3_server: str) -> Iterator[Objects]:
    made = Objects(s3_server)
    yield made
    made.close()


class Proxy(ThreadingHTTPServer):
    """Passes requests on to the server, once the answers lined up in ``faults`` are used up.

    A fault is a status to answer with, or ``"cut"``: half of the content, then the connection is
    closed.
    """

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.target = target.removeprefix("http://")
        self.faults: list[int | str] = []
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.verifying = False
        """Whether uploads are checked as S3 checks them, which the server behind does not."""
        self.damages = 0
        """How many of the next uploads lose a bit on their way."""
        self.checksums: list[str] = []
        """What was sent with uploads while they are checked."""
        self.pause = 0.0
        """Seconds before each answer."""
        self.sent = 0
        """Bytes of content that were passed on."""
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def next_fault(self, request: str) -> int | str | None:
        with self.lock:
            self.requests.append(request)
            return self.faults.pop(0) if self.faults else None


class _Passing(BaseHTTPRequestHandler):
    server: Proxy

    def handle_any(self) -> None:
        fault = self.server.next_fault(f"{self.command} {self.path}")
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        content = self._damaged(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if not self._verified(content):
            self._answer(
                400,
                {},
                b"<Error><Code>BadDigest</Code><Message>The checksum did not"
                b" match.</Message></Error>",
            )
            return
        if isinstance(fault, int):
            self._answer(
                fault, {}, b"<Error><Code>Fault</Code><Message>on purpose</Message></Error>"
            )
            return
        time.sleep(self.server.pause)
        connection = http.client.HTTPConnection(self.server.target, timeout=30)
        try:
            connection.request(self.command, self.path, content, dict(self.headers))
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        self._answer(response.status, dict(response.headers), body, cut=fault == "cut")

    def _damaged(self, content: bytes) -> bytes:
        if self.command != "PUT" or not content or not self.server.damages:
            return content
        self.server.damages -= 1
        return bytes([content[0] ^ 1]) + content[1:]

    def _verified(self, content: bytes) -> bool:
        if self.command != "PUT" or not self.server.verifying:
            return True
        sent = self.headers.get("x-amz-checksum-sha256", "")
        self.server.checksums.append(sent)
        return base64.b64encode(hashlib.sha256(content).digest()).decode() == sent

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_any  # noqa: N815

    def _answer(
        self, status: int, headers: dict[str, str], body: bytes, *, cut: bool = False
    ) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                self.send_header(name, value)
        if self.command == "HEAD":
            self.send_header("Content-Length", headers.get("Content-Length", "0"))
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with self.server.lock:
            self.server.sent += len(body)
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = cut

    @override
    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def proxy(s3_server: str) -> Iterator[Proxy]:
    with Proxy(s3_server) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """Who asked for what of `plane`."""
    return Audit(tmp_path_factory.mktemp("audit"))


@pytest.fixture(scope="module")
def plane(audit: Audit, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane of a module's own, with the resources, that writes down who asks for what."""
    cluster = Cluster(
        tmp_path_factory.mktemp("plane"), arguments={"kube-apiserver": audit.arguments}
    )
    cluster.up(owner=os.getpid())
    with_crds(cluster.kube)
    yield cluster
    cluster.down()


@pytest.fixture(scope="module")
def place(
    cluster: Cluster, mongodb_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """Where an API finds what it needs, for the tests of a module."""
    with place_in(cluster, mongodb_server, tmp_path_factory.mktemp("place")) as place:
        yield place


@pytest.fixture(scope="module")
def process(place: Place) -> Iterator[ApiProcess]:
    """An API there, which soon asks again who may do what."""
    with place.serving({"FPJ_API_REVIEW_SECONDS": "1"}) as process:
        yield process
