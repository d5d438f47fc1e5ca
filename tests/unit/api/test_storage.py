"""The store behind requests: a time limit, a bound on what waits, and patience while it is away."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from fpj_api.problems import ProblemError
from fpj_api.storage import Storage
from fpj_core.errors import StoreError, StoreUnavailableError


class Store:
    """Counts what it is asked; may be away, refuse, or keep everybody waiting."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def folders(self) -> list[Any]:
        self.asked += 1
        assert self.gate.wait(20)
        if self.error:
            raise self.error
        return ["a folder"]


def folders(store: Any) -> list[Any]:
    return list(store.folders())


async def refused(asked: Storage) -> str:
    with pytest.raises((StoreError, ProblemError)) as raised:
        await asked.ask(folders)
    return str(raised.value)


def is_idle(asked: Storage) -> bool:
    return not asked.busy


def test_while_it_is_away_it_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    async def scene() -> None:
        nonlocal now
        store = Store()
        asked = Storage(store)  # type: ignore[arg-type]
        store.error = StoreUnavailableError("away")
        assert [await refused(asked) for _ in range(3)] == ["away"] * 3
        assert store.asked == 1
        now, store.error = 102.0, None
        assert await asked.ask(folders) == ["a folder"]
        store.error = StoreError("no")  # it answers, if only with a refusal
        assert [await refused(asked) for _ in range(2)] == ["no"] * 2
        assert store.asked == 4
        asked.close()

    asyncio.run(scene())


def test_what_takes_too_long_is_not_waited_for_and_what_waits_is_bounded() -> None:
    async def scene() -> None:
        store = Store()
        store.gate.clear()
        asked = Storage(store, seconds=0.01)  # type: ignore[arg-type]
        for _ in range(32):
            assert await refused(asked) == "the store does not answer in time"
        assert asked.busy and store.asked == 8
        assert await refused(asked) == "too many concurrent requests to the store"
        store.gate.set()
        for _ in range(2_000):
            if is_idle(asked):
                break
            await asyncio.sleep(0.005)
        assert is_idle(asked)
        asked = Storage(store)  # type: ignore[arg-type]
        assert await asked.ask(folders) == ["a folder"]
        asked.close()

    asyncio.run(scene())
