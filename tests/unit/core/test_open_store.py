"""What names a store, and what an error about it may say."""

from __future__ import annotations

import os
import shutil
import sqlite3
import traceback
from contextlib import closing
from pathlib import Path

import pytest
from unit.mounts import read_only

from fpj_core.errors import ReadOnlyStoreError, StoreError, StoreUnavailableError
from fpj_core.model import Folder, Job
from fpj_core.store import open_store
from fpj_core.store.protocol import Store


@pytest.mark.parametrize(
    "url", ["postgres://u:secret@h/x", "mongodb:/u:secret@h/x", "mongo:u:secret@h", "sqlite://x.db"]
)
def test_an_unknown_scheme_is_an_error_and_no_file(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=r"cannot use .*mongodb://") as refused:
        open_store(url)
    assert "secret" not in str(refused.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://user:pa/ss@host/db",
        "mongodb://user:pa?ss@host/db",
        "mongodb://user:pa@ss@host/db",
        "mongodb://user:pa%ss@host/db",
        "mongodb://user:pa:ss@host:x/db",
    ],
)
def test_a_password_is_in_no_error(url: str) -> None:
    with pytest.raises(StoreError) as refused:
        open_store(url)
    trace = "".join(traceback.format_exception(refused.value))
    assert "user" not in str(refused.value) or "in user and password" in str(refused.value)
    assert (
        "pa/ss" not in trace
        and '"ss@' not in str(refused.value)
        and "pa:ss" not in str(refused.value)
    )


def test_opening_waits_for_no_writer(tmp_path: Path) -> None:
    path = tmp_path / "fpj.db"
    open_store(str(path)).close()
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        store = open_store(str(path))  # within 30 s it would fail
        assert store.jobs() == []
        store.close()


# A store that cannot be written -------------------------------------------------------------------


def recorded(path: Path, number: int = 1) -> Store:
    store = open_store(str(path))
    for each in range(number):
        store.create_job(Job(f"job-{each}", "it", "holiday", {}, "", created_at=float(each)))
    return store


def names_in(path: Path) -> list[str]:
    with closing(open_store(str(path), make=False)) as store:
        return [job.id for job in store.jobs()]


@pytest.mark.parametrize("state", ["closed", "open", "crashed", "earlier"])
def test_a_store_on_a_read_only_file_system_can_be_read(tmp_path: Path, state: str) -> None:
    """As one that was closed leaves it; while another process works with it; after a crash.

    Of an earlier version.
    """
    folder = tmp_path / "a store"
    folder.mkdir()
    store = recorded(folder / "fpj.db", 2)
    if state == "crashed":
        (tmp_path / "copy").mkdir()
        for name in ("fpj.db", "fpj.db-wal"):
            shutil.copy(folder / name, tmp_path / "copy")
        folder = tmp_path / "copy"
    if state != "open":
        store.close()
    if state == "earlier":
        with closing(sqlite3.connect(folder / "fpj.db", isolation_level=None)) as db:
            db.executescript(
                "DROP TABLE removals; DROP TABLE reservations;"
                " ALTER TABLE derivatives DROP COLUMN cost_ms;"
                " ALTER TABLE folders DROP COLUMN policy;"
                " ALTER TABLE collections DROP COLUMN requested;"
                " DROP INDEX images_deleted; ALTER TABLE images DROP COLUMN deleted_at;"
                " PRAGMA user_version = 6"
            )
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with read_only(folder) as mounted:
        assert names_in(mounted / "fpj.db") == ["job-1", "job-0"]
        if state == "open":
            store.create_job(Job("job-2", "it", "holiday", {}, "", created_at=2.0))
            assert names_in(mounted / "fpj.db")[0] == "job-2", "what is written meanwhile is seen"
        else:
            assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        with closing(open_store(str(mounted / "fpj.db"), make=False)) as opened:
            assert opened.folders() == []
            with pytest.raises(ReadOnlyStoreError, match="cannot be written"):
                opened.upsert_folder(Folder("out", "/out"))
        with pytest.raises(ReadOnlyStoreError):
            open_store(str(mounted / "fpj.db"))
        with pytest.raises(StoreUnavailableError):
            open_store(str(mounted / "another.db"))
    store.close()
