"""A store that cannot be reached yet: one attempt at a time, and everybody hears of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from fpj_core.errors import StoreError, StoreUnavailableError
from fpj_core.store import Store
from fpj_core.store.late import LateStore

JOBS = 40


class Reached:
    def identity(self) -> str:
        return "it"


class Opener:
    """Opens once the test allows it, and fails as often as it is set to."""

    def __init__(self, *failures: Exception, held: bool = False) -> None:
        self.attempts = 0
        self.now = 100.0
        self.go = threading.Event()
        self.started = threading.Event()
        self._failures = list(failures)
        if not held:
            self.go.set()

    def __call__(self, url: str) -> Store:
        self.attempts += 1
        self.started.set()
        assert self.go.wait(30)
        if self._failures:
            raise self._failures.pop(0)
        return cast("Store", Reached())

    def store(self) -> Any:
        return LateStore("url", self, away_seconds=5.0, clock=lambda: self.now)


def away() -> StoreUnavailableError:
    return StoreUnavailableError("MongoDB cannot be reached")


def test_it_is_opened_once() -> None:
    opener = Opener()
    store = opener.store()
    assert opener.attempts == 0
    assert [store.identity(), store.identity()] == ["it", "it"]
    assert opener.attempts == 1


def test_one_failed_attempt_tells_everybody() -> None:
    opener = Opener(away(), held=True)
    store = opener.store()

    def ask(_number: int) -> str:
        with pytest.raises(StoreUnavailableError) as refused:
            store.identity()
        return str(refused.value)

    with ThreadPoolExecutor(JOBS) as threads:
        asked = [threads.submit(ask, number) for number in range(JOBS)]
        assert opener.started.wait(30)
        opener.go.set()
        said = [each.result(30) for each in asked]
    assert said == ["MongoDB cannot be reached"] * JOBS
    assert opener.attempts == 1, "whoever comes later than the attempt gets its result"


def test_after_a_while_it_is_tried_again() -> None:
    opener = Opener(away(), away())
    store = opener.store()
    for now, attempts in ((100.0, 1), (104.9, 1), (105.0, 2), (109.9, 2)):
        opener.now = now
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            store.identity()
        assert opener.attempts == attempts
    opener.now = 110.0
    assert store.identity() == "it"
    assert opener.attempts == 3


def test_what_will_not_pass_is_told_as_it_is() -> None:
    opener = Opener(StoreError("a newer schema"))
    store = opener.store()
    with pytest.raises(StoreError, match="newer") as refused:
        store.identity()
    assert not isinstance(refused.value, StoreUnavailableError)
    assert store.identity() == "it"


def test_an_attempt_that_breaks_leaves_nobody_waiting() -> None:
    opener = Opener(KeyError("a bug"))
    store = opener.store()
    with pytest.raises(KeyError):
        store.identity()
    assert store.identity() == "it"
