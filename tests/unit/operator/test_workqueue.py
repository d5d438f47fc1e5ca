"""Who goes first, and how long a key that failed waits."""

from __future__ import annotations

import asyncio
import time

import pytest

from fpj_core.kube.errors import ClusterError
from fpj_operator.workqueue import Workqueue, pause_after


def order_of(keys: list[str], workers: int = 1) -> list[str]:
    """In which order keys are handled that were all in line at the start.

    Those with a capital are urgent.
    """
    handled: list[str] = []

    async def run() -> None:
        async def handle(key: str) -> None:
            handled.append(key)

        queue: Workqueue[str] = Workqueue(handle, workers, urgent=str.istitle)
        for key in keys:
            queue.add(key)
        working = asyncio.create_task(queue.run())
        async with asyncio.timeout(20):
            while queue.depth:
                await asyncio.sleep(0)
        working.cancel()

    asyncio.run(run())
    return handled


def test_active_jobs_do_not_wait_behind_queued_ones() -> None:
    queued = [f"q{number}" for number in range(50)]
    assert order_of([*queued, "Active"])[0] == "Active"


def test_the_others_get_their_turn_all_the_same() -> None:
    active = [f"A{number}" for number in range(40)]
    handled = order_of(["q", *active])
    assert handled.index("q") <= 8
    assert sorted(handled) == sorted(["q", *active])


@pytest.mark.parametrize("failures", [1, 5, 50, 5_000])
def test_what_may_heal_soon_is_tried_soon(failures: int) -> None:
    assert pause_after(ClusterError(403, "exceeded quota"), failures) <= 12
    assert pause_after(ValueError("a bug"), failures) <= 60


def test_a_server_that_asks_to_wait_is_heeded_within_reason() -> None:
    assert pause_after(ClusterError(429, "busy", 25.0), 1) == 25
    assert pause_after(ClusterError(429, "busy", 9_999.0), 1) == 60


def test_a_key_that_is_in_hand_comes_again() -> None:
    """What happened to it meanwhile may have been too late for this look."""
    handled: list[str] = []

    async def run() -> None:
        async def handle(key: str) -> None:
            handled.append(key)
            if len(handled) == 1:
                queue.add(key)

        queue: Workqueue[str] = Workqueue(handle, 1)
        queue.add("a")
        working = asyncio.create_task(queue.run())
        async with asyncio.timeout(20):
            while len(handled) < 2:
                await asyncio.sleep(0)
        working.cancel()

    asyncio.run(run())
    assert handled == ["a", "a"]


@pytest.mark.parametrize("wishes", [(60.0, 5.0), (5.0, 60.0)])
def test_of_several_wishes_to_come_again_the_earliest_counts(wishes: tuple[float, float]) -> None:
    async def run() -> None:
        async def handle(_key: str) -> None: ...

        queue: Workqueue[str] = Workqueue(handle, 1)
        for seconds in wishes:
            queue.add_after("a", seconds)
        (when, _), *others = queue._timers.values()
        assert not others and when - time.monotonic() <= 5
        queue.forget("a")

    asyncio.run(run())


def test_a_key_that_worked_again_has_no_failures_behind_it() -> None:
    fails = True

    async def run() -> None:
        async def handle(_key: str) -> None:
            if fails:
                raise ValueError("no")

        nonlocal fails
        queue: Workqueue[str] = Workqueue(handle, 1)
        for _ in range(3):
            await queue._try("a")
        assert queue._failures == {"a": 3}
        fails = False
        await queue._try("a")
        assert queue._failures == {}

    asyncio.run(run())
