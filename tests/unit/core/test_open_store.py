"""What names a store, and what an error about it may say."""

from __future__ import annotations

import os
import sqlite3
import traceback
from contextlib import closing
from pathlib import Path

import pytest

from fpj_core.errors import StoreError
from fpj_core.store import open_store


@pytest.mark.parametrize(
    "url", ["postgres://u:secret@h/x", "mongodb:/u:secret@h/x", "mongo:u:secret@h", "sqlite://x.db"]
)
def test_an_unknown_scheme_is_an_error_and_no_file(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    told = "".join(traceback.format_exception(refused.value))
    assert "user" not in str(refused.value) or "in user and password" in str(refused.value)
    assert "pa/ss" not in told and '"ss@' not in str(refused.value) and "pa:ss" not in str(refused.value)


def test_opening_waits_for_no_writer(tmp_path: Path) -> None:
    path = tmp_path / "fpj.db"
    open_store(str(path)).close()
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        store = open_store(str(path))  # within 30 s it would fail
        assert store.jobs() == []
        store.close()
