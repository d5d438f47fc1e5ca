"""A real server of MongoDB's protocol for the tests: one that is named,
or one built and started here.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cluster  # noqa: F401 - it knows where fpj_cluster is
import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from waiting import end

from fpj_cluster.ports import free_ports

_VERSION = "0.5.3-beta.193"


def server_binary() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    binary = cache / "fpj" / f"secantus-mdb-{_VERSION}" / "bin" / "secantusd-rs"
    if not binary.exists():
        pytest.fail(
            "there is no MongoDB server to test against: run hack/secantusd.sh or set"
            " FPJ_TEST_MONGODB_URI"
        )
    return binary


def free_port() -> int:
    """One that neither Linux hands out (from 32768 on) nor clusters take (from 20000 on)."""
    return int(free_ports(1, range(10_000, 20_000))[0])


def start_server(
    storage: Path, port: int, *options: str, host: str = "127.0.0.1"
) -> subprocess.Popen[bytes]:
    where = ["--host", host, "--port", str(port), "--storage-path", str(storage)]
    server = subprocess.Popen(
        [str(server_binary()), *where, "--cache-size", "256M", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with MongoClient[dict[str, Any]](
                f"mongodb://{host}:{port}", serverSelectionTimeoutMS=500
            ) as client:
                client.admin.command("ping")
        except PyMongoError:
            time.sleep(0.1)
        else:
            return server
    server.kill()
    pytest.fail("the MongoDB server did not answer within 30 s")


@contextmanager
def guarded_server(storage: Path, user: str, password: str) -> Iterator[int]:
    """The port of a server that wants a password, and has one user who may read and write."""
    port = free_port()
    server = start_server(storage, port)
    try:
        with MongoClient[dict[str, Any]](f"mongodb://127.0.0.1:{port}") as client:
            roles = [{"role": "readWriteAnyDatabase", "db": "admin"}]
            client.admin.command("createUser", user, pwd=password, roles=roles)
    finally:
        end(server)
    server = start_server(storage, port, "--auth")
    try:
        yield port
    finally:
        end(server)
