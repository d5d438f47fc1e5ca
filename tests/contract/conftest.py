"""Both stores, real: SQLite in a temporary file, MongoDB's protocol from a server process."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from fpj_core.store import open_store
from fpj_core.store.protocol import Store

_VERSION = "0.5.3-beta.193"


def server_binary() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    binary = cache / "fpj" / f"secantus-mdb-{_VERSION}" / "bin" / "secantusd-rs"
    if not binary.exists():
        pytest.fail("there is no MongoDB server to test against: run hack/secantusd.sh or set FPJ_TEST_MONGODB_URI")
    return binary


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start_server(storage: Path, port: int, *options: str) -> subprocess.Popen[bytes]:
    server = subprocess.Popen(
        [server_binary(), "--port", str(port), "--storage-path", storage, "--cache-size", "256M", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with MongoClient(f"mongodb://127.0.0.1:{port}", serverSelectionTimeoutMS=500) as client:
                client.admin.command("ping")
        except PyMongoError:
            time.sleep(0.1)
        else:
            return server
    server.kill()
    pytest.fail("the MongoDB server did not answer within 30 s")


@pytest.fixture(scope="session")
def mongodb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server, without a database name."""
    if given := os.environ.get("FPJ_TEST_MONGODB_URI"):
        yield given.rstrip("/")
        return
    port = free_port()
    server = start_server(tmp_path_factory.mktemp("mongodb"), port)
    yield f"mongodb://127.0.0.1:{port}"
    server.terminate()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()


@pytest.fixture(params=["sqlite", "mongodb"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh, empty store of each kind."""
    if request.param == "sqlite":
        yield str(tmp_path / "store.db")
        return
    server = request.getfixturevalue("mongodb_server")
    name = f"fpj-test-{uuid.uuid4().hex[:12]}"
    yield f"{server}/{name}"
    with MongoClient(server) as client:
        client.drop_database(name)


@pytest.fixture
def open_another(store_url: str) -> Iterator[Callable[[], Store]]:
    """Opens further clients of the same store."""
    opened: list[Store] = []

    def open_one() -> Store:
        opened.append(open_store(store_url))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_another: Callable[[], Store]) -> Store:
    return open_another()
