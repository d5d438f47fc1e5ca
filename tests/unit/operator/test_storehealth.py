"""One question that is not answered informs everybody; few threads wait, and nobody else does."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast

import pytest

from fpj_core.errors import StoreUnavailableError
from fpj_core.store.protocol import Store
from fpj_operator import storehealth
from fpj_operator.storecalls import Check
from fpj_operator.storehealth import StoreHealth


class Store60:
    """A store that takes connections and does not answer, until it is let."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.answers.set()
        self.error: Exception | None = None
        self.asked = 0

    def get(self, _: Check) -> None:
        self.get_job("")

    def get_job(self, _uid: str) -> None:
        self.asked += 1
        assert self.answers.wait(30)
        if self.error is not None:
            raise self.error


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_EVERY_SECONDS", "_AWAY_SECONDS"):
        monkeypatch.setattr(storehealth, name, 0.05)
    monkeypatch.setattr(storehealth, "_PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(storehealth, "_CALL_SECONDS", 60.0)


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def test_everybody_hears_of_an_outage_by_one_question_and_of_its_end() -> None:
    async def outage() -> None:
        store, errors, others = Store60(), [], set(threading.enumerate())
        health = StoreHealth(
            cast("Store", store), lambda: errors.append(health.error), lambda: True
        )
        watching = asyncio.create_task(health.watch())
        try:
            await health.ask("a", store.get, informs=True)
            store.answers.clear()
            waiting = [
                asyncio.create_task(health.ask(str(number), store.get)) for number in range(100)
            ]
            for each in waiting:
                with pytest.raises(StoreUnavailableError):
                    async with asyncio.timeout(20):
                        await each
            assert len(errors) == 1 and errors[0]
            threads = [
                each
                for each in set(threading.enumerate()) - others
                if each.name.startswith("store")
            ]
            assert len(threads) <= 17
            asked = store.asked
            with pytest.raises(StoreUnavailableError):
                await health.ask("late", store.get)
            assert store.asked == asked, "nobody asks a store that is known not to answer"
            store.answers.set()
            await until(lambda: len(errors) == 2)
            assert errors[1] is None and health.error is None
            await health.ask("b", store.get)
        finally:
            store.answers.set()
            watching.cancel()
            health.close()

    asyncio.run(outage())


def test_one_failure_of_anybody_informs_all_and_words_are_kept() -> None:
    async def outage() -> None:
        store, errors = Store60(), []
        health = StoreHealth(
            cast("Store", store), lambda: errors.append(health.error), lambda: True
        )
        store.error = StoreUnavailableError("connection refused")
        with pytest.raises(StoreUnavailableError):
            await health.ask("a", store.get, informs=True)
        assert errors == ["connection refused"]
        store.error = StoreUnavailableError("connection refused by another port")
        watching = asyncio.create_task(health.watch())
        asked = store.asked
        await until(lambda: store.asked > asked + 3)
        assert errors == ["connection refused"], "each other word would be a write of every status"
        store.error = None
        await until(lambda: len(errors) == 2)
        watching.cancel()
        health.close()

    asyncio.run(outage())


def test_nothing_is_asked_while_no_job_needs_the_store_unless_it_was_away() -> None:
    async def idle() -> None:
        store = Store60()
        errors: list[str | None] = []
        needed: list[str] = []
        health = StoreHealth(
            cast("Store", store), lambda: errors.append(health.error), lambda: bool(needed)
        )
        watching = asyncio.create_task(health.watch())
        try:
            await asyncio.sleep(0.3)
            assert store.asked == 0
            needed.append("a job")
            await until(lambda: store.asked > 0)
            store.error = StoreUnavailableError("connection refused")
            await until(lambda: errors == ["connection refused"])
            needed.clear()
            store.error = None
            await until(lambda: errors == ["connection refused", None])
        finally:
            watching.cancel()
            health.close()

    asyncio.run(idle())


def test_an_outage_keeps_its_first_words() -> None:
    """Each other one would be another write of all statuses."""
    changes: list[str | None] = []
    health = StoreHealth(
        cast("Store", Store60()), lambda: changes.append(health.error), lambda: True
    )
    for said in ("away", "away for 2 s", None, "gone"):
        health._set(said)
    assert changes == ["away", None, "gone"]
    health._set("another")
    assert health.error == "gone"
    health.close()
