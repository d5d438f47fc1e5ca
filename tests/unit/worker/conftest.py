"""A fresh SQLite store, and time that does not pass by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.worker.fakes import Clock

from fpj_core.store import open_store
from fpj_core.store.protocol import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "fpj.db"))
    yield opened
    opened.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("fpj_worker.shard.time", clock)
    monkeypatch.setattr("fpj_worker.local.time", clock)
    monkeypatch.setattr("fpj_worker.room.time", clock)
    monkeypatch.setattr("fpj_core.store.sqlite.time", clock)
    return clock
