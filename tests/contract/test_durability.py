"""What was acknowledged is there after kill -9: of the writer, and of the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from contract.records import COLLECTION, JOB, shard
from mongodb_server import free_port, start_server
from pymongo import MongoClient

from fpj_core.errors import NoStoreError, StoreError, StoreUnavailableError
from fpj_core.store import open_store
from fpj_core.store.protocol import Store

TESTS = Path(__file__).parents[1]
IMAGES = 100_000


def write_until(url: str, acknowledged: int, then_kill: list[int]) -> int:
    """Run a writer until it has so many acknowledgements, kill -9 the given processes and it.

    The last one seen.
    """
    writer = subprocess.Popen(
        [sys.executable, "-m", "contract.killed_writer", url],
        cwd=TESTS,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert writer.stdout
    seen = 0
    for line in writer.stdout:
        seen = int(line)
        acknowledged -= 1
        if acknowledged == 0:
            break
    for pid in then_kill:
        os.kill(pid, signal.SIGKILL)
    writer.kill()
    rest = writer.stdout.read().split()
    writer.wait(10)
    writer.stdout.close()
    return int(rest[-1]) if rest and rest[-1].isdecimal() else seen


def check_consistent(store: Store, acknowledged: int) -> None:
    (only,) = store.shards(JOB, 1)
    assert only.cursor >= acknowledged, "an acknowledged flush was lost"
    assert only.counts.completed == only.cursor
    recorded = [
        d.ordinal
        for start in range(0, only.cursor + 2, 10_000)
        for d in store.derivatives(COLLECTION, start, start + 10_000, ["full"])
    ]
    assert recorded[: only.cursor] == list(range(only.cursor))
    assert len(recorded) - only.cursor in (0, 1), "at most one batch beyond the cursor"


def test_sqlite_survives_killed_writers(tmp_path: Path) -> None:
    url = str(tmp_path / "store.db")
    store = open_store(url)
    store.put_shards(JOB, 1, [shard(0, 0, IMAGES)])
    last = 0
    for acknowledged in (1, 20, 50, 7):
        reached = write_until(url, acknowledged, [])
        assert reached > last
        last = reached
        check_consistent(store, last)
    store.close()


def test_mongodb_survives_a_killed_server(tmp_path: Path) -> None:
    if os.environ.get("FPJ_TEST_MONGODB_URI"):
        pytest.skip("the server is not ours to kill")
    port = free_port()
    url = f"mongodb://127.0.0.1:{port}/fpj"
    server = start_server(tmp_path, port, "--sync-on-commit")
    try:
        store = open_store(url)
        store.put_shards(JOB, 1, [shard(0, 0, IMAGES)])
        store.close()
        for acknowledged in (5, 30):
            last = write_until(url, acknowledged, [server.pid])
            server.wait(10)
            server = start_server(tmp_path, port, "--sync-on-commit")
            store = open_store(url)
            check_consistent(store, last)
            store.close()
    finally:
        server.kill()
        server.wait(10)


def test_an_unreachable_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fpj_core.store.mongodb_connection._SELECT_MS", 300)
    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        open_store(f"mongodb://127.0.0.1:{free_port()}/fpj")


def test_a_store_that_must_not_be_made_is_not(store_url: str, mongodb_server: str) -> None:
    with pytest.raises(NoStoreError, match=r"no store at .*fpj run") as refused:
        open_store(store_url, make=False)
    assert store_url in str(refused.value)
    if store_url.startswith("mongodb"):
        with MongoClient[dict[str, Any]](mongodb_server) as client:
            assert store_url.rpartition("/")[2] not in client.list_database_names()
    else:
        assert not Path(store_url).exists()
    open_store(store_url).close()
    open_store(store_url, make=False).close()


def test_passwords_are_not_shown(mongodb_server: str) -> None:
    store = open_store(mongodb_server + "/fpj-test-location")
    try:
        assert store.location.endswith("/fpj-test-location")
        store._url = "mongodb://user:secret@db.example:27017/x"  # type: ignore[attr-defined]
        assert "secret" not in store.location
    finally:
        store.close()


@pytest.mark.parametrize("url", ["mongodb://", "mongodb://host:99999999/", "redis://host/1"])
def test_bad_urls_are_refused(url: str) -> None:
    with pytest.raises(StoreError):
        open_store(url)


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but dear to someone" * 100)
    with pytest.raises(StoreError, match="not a database"):
        open_store(str(path))
    assert path.read_text().startswith("not a database")


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(StoreError, match="not one of fpj's"):
        open_store(str(path))


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "store.db"
    open_store(str(path)).close()
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 999")
    newer.close()
    with pytest.raises(StoreError, match="newer fpj"):
        open_store(str(path))


def test_a_store_in_an_impossible_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailableError, match="folder"):
        open_store(str(tmp_path / "file" / "store.db"))


def test_writers_of_several_processes_wait_for_each_other(tmp_path: Path) -> None:
    """Four processes flush to one SQLite file at once; no error says that it is locked."""
    url = str(tmp_path / "store.db")
    store = open_store(url)
    store.put_shards(JOB, 1, [shard(n, n * 1_000, n * 1_000 + 60) for n in range(4)])
    command = [sys.executable, "-m", "contract.killed_writer", url, "once"]
    writers = [
        subprocess.Popen(command, cwd=TESTS, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors.decode()
    assert store.job_counts(JOB, 1)[0].completed == 240
    store.close()
