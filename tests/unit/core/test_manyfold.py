"""Many questions at once: in threads where answers take their time,
and in order whatever happens.
"""

from __future__ import annotations

import threading

import pytest

from fpj_core import manyfold
from fpj_core.manyfold import Manyfold


class Asked:
    """Answers with twice the number; notes how many wait at a time."""

    def __init__(self, meet: int = 0) -> None:
        self.threads: set[str] = set()
        self._together = threading.Barrier(meet) if meet else None

    def __call__(self, number: int) -> int:
        name = threading.current_thread().name
        self.threads.add(name)
        if self._together and number >= 64 and name != threading.main_thread().name:
            self._together.wait(10)
        return 2 * number


def test_quick_answers_need_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manyfold, "_SLOW_SECONDS", 10.0)
    asked = Asked()
    assert Manyfold()(asked, range(1_000)) == [2 * number for number in range(1_000)]
    assert len(asked.threads) == 1


def test_slow_ones_are_asked_for_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manyfold, "_SLOW_SECONDS", 0.0)
    asked = Asked(meet=8)
    assert Manyfold(threads=8)(asked, range(64 + 800)) == [2 * number for number in range(864)]
    assert len(asked.threads) == 9, "all eight wait for each other"


def test_what_an_answer_raises_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manyfold, "_SLOW_SECONDS", 0.0)

    def ask(number: int) -> int:
        if number == 500:
            raise OSError(5, "no")
        return number

    with pytest.raises(OSError, match="no"):
        Manyfold()(ask, range(1_000))
