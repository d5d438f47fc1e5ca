"""Commands in a pod: what the API server sends over the connection becomes output and exit code."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kubernetes.client import Configuration

from fpj_cli.kube import Api
from fpj_cli.podexec import run_in_pod
from fpj_core.kube.errors import ClusterError

STDOUT, STDERR, VERDICT = 1, 2, 3
SUCCESS = {"status": "Success"}


def failure(**details: Any) -> dict[str, Any]:
    return {"status": "Failure", "message": "it went wrong", "details": details}


@contextmanager
def pod(*frames: tuple[int, bytes], refuse: bytes = b"") -> Iterator[tuple[Api, list[str]]]:
    """An API server for one connection, which sends these frames, or refuses."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked: list[str] = []

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(4_096)
            head = request.decode().split("\r\n")
            asked.append(head[0])
            if refuse:
                connection.sendall(refuse)
                return
            key = next(
                line.split(": ")[1] for line in head if line.lower().startswith("sec-websocket-key")
            )
            digest = hashlib.sha1(
                f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode(), usedforsecurity=False
            ).digest()
            connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n"
                b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
            )
            for channel, content in frames:
                payload = bytes([channel]) + content
                connection.sendall(b"\x82\x7e" + len(payload).to_bytes(2, "big") + payload)
            connection.sendall(b"\x88\x02\x03\xe8")

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    api = Api(Configuration(host=f"http://127.0.0.1:{listener.getsockname()[1]}"), "default")
    try:
        yield api, asked
    finally:
        api.close()
        thread.join(5)
        listener.close()


def run(api: Api) -> tuple[int, str, str]:
    return run_in_pod(api, "fpj-system", "operator-1", "operator", ["fpj", "failures", "a b"])


def verdict(document: dict[str, Any]) -> tuple[int, bytes]:
    return VERDICT, json.dumps(document).encode()


def test_output_of_any_length_comes_whole() -> None:
    text = "ä" * 100_000
    content = text.encode()
    chunks = [(STDOUT, content[start : start + 32_767]) for start in range(0, len(content), 32_767)]
    with pod(*chunks, (STDERR, b"a warning\n"), verdict(SUCCESS)) as (api, asked):
        assert run(api) == (0, text, "a warning\n")
    assert asked[0].split()[1] == (
        "/api/v1/namespaces/fpj-system/pods/operator-1/exec"
        "?container=operator&stdout=true&stderr=true&command=fpj&command=failures&command=a+b"
    )


def test_a_command_that_fails() -> None:
    ended = failure(causes=[{"reason": "ExitCode", "message": "2"}])
    with pod((STDERR, b"Error: no\n"), verdict(ended)) as (api, _):
        assert run(api) == (2, "", "Error: no\n")


@pytest.mark.parametrize("details", [{}, {"causes": []}])
def test_a_command_that_is_not_there(details: dict[str, Any]) -> None:
    with (
        pod(verdict(failure(**details))) as (api, _),
        pytest.raises(ClusterError, match="nothing can be run in pod operator-1: it went wrong"),
    ):
        run(api)


@pytest.mark.parametrize("last", [b"", b"nonsense", b"[]", b"{}"])
def test_a_connection_that_ends_early(last: bytes) -> None:
    with (
        pod((STDOUT, b"half"), (VERDICT, last)) as (api, _),
        pytest.raises(ClusterError, match="pod operator-1 broke off"),
    ):
        run(api)


def test_a_refusal() -> None:
    body = json.dumps({"message": "pods is forbidden", "details": {"name": "operator-1"}}).encode()
    head = f"HTTP/1.1 403 Forbidden\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with (
        pod(refuse=head + body) as (api, _),
        pytest.raises(ClusterError, match="pods is forbidden") as caught,
    ):
        run(api)
    assert caught.value.status == 403
