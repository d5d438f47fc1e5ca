"""Whose time decides."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from fpj_core.errors import LeaseHeldError, StoreUnavailableError
from fpj_core.store.protocol import Store
from fpj_core.store.serverclock import ServerClock


def test_a_host_whose_clock_is_wrong_takes_no_lease_before_its_time(
    store_url: str, store: Store, open_another: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file is of one host; hosts of one server may disagree."""
    if "mongodb" not in store_url:
        pytest.skip("processes of one host have one clock")
    held = store.acquire_lease("collection", "a", 60, store.now())
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3_600)
    other = open_another()
    assert abs(other.now() - real()) < 60
    with pytest.raises(LeaseHeldError):
        other.acquire_lease("collection", "b", 60, other.now())
    monkeypatch.setattr(time, "time", lambda: real() - 3_600)
    assert store.renew_lease(held, 60, store.now()).expires_at > real()


class Server:
    """A clock that is an hour ahead of nobody's, and takes its time to say so."""

    def __init__(self) -> None:
        self.monotonic = 1_000.0
        self.ahead, self.takes = 5_000.0, 0.0
        self.asked, self.away = 0, False

    def ask(self) -> float:
        self.asked += 1
        if self.away:
            raise StoreUnavailableError("away")
        self.monotonic += self.takes / 2
        reading = self.monotonic + self.ahead
        self.monotonic += self.takes / 2
        return reading


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock(server: Server) -> ServerClock:
    return ServerClock(server.ask, lambda: server.monotonic)


def test_it_is_asked_once_a_minute_and_counts_on(server: Server, clock: ServerClock) -> None:
    server.takes = 0.4
    assert clock.now() == pytest.approx(6_000.4)
    server.monotonic += 30
    assert clock.now() == pytest.approx(6_030.4)
    assert server.asked == 1
    server.monotonic += 31
    server.ahead += 2
    assert clock.now() == pytest.approx(6_063.8)
    assert server.asked == 2


def test_a_slow_answer_replaces_nothing(server: Server, clock: ServerClock) -> None:
    clock.now()
    server.monotonic += 61
    server.takes, server.ahead = 3.0, 0.0
    assert clock.now() == pytest.approx(6_064.0)
    server.takes = 0.1
    server.monotonic += 10
    assert clock.now() == pytest.approx(1_074.1)


def test_while_the_server_is_away_it_counts_on_and_at_first_it_is_an_error(
    server: Server, clock: ServerClock
) -> None:
    server.away = True
    with pytest.raises(StoreUnavailableError):
        clock.now()
    server.away = False
    clock.now()
    server.away = True
    server.monotonic += 500
    assert clock.now() == pytest.approx(6_500.0)


def test_an_outage_costs_one_wait_in_ten_seconds(server: Server, clock: ServerClock) -> None:
    clock.now()
    server.monotonic += 61
    server.away = True
    for _ in range(19):
        clock.now()
        server.monotonic += 1
    assert server.asked == 3


def test_nobody_waits_for_the_question_of_another(server: Server) -> None:
    def ask() -> float:
        if server.asked:
            assert ours.now() == pytest.approx(6_061.0), "another caller counts on meanwhile"
        return server.ask()

    ours = ServerClock(ask, lambda: server.monotonic)
    ours.now()
    server.monotonic += 61
    ours.now()
    assert server.asked == 2
