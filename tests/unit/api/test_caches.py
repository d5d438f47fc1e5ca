"""Answers that are kept: for how long, how many, and asked for once."""

from __future__ import annotations

import asyncio

import pytest

from fpj_api.joinedcache import JoinedCache


class Source:
    """What is asked; it counts, and may fail or wait."""

    def __init__(self, clock: Clock) -> None:
        self.cache: JoinedCache[str, str] = JoinedCache(10, 3, failures=(OSError,), clock=clock)
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def get(self, key: str) -> str:
        return await self.cache.get(key, lambda: self._answer(key))

    async def _answer(self, key: str) -> str:
        self.asked.append(key)
        await self.gate.wait()
        if self.error:
            raise self.error
        return f"{key}{len(self.asked)}"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_for_as_long_as_it_should() -> None:
    async def scene() -> None:
        clock = Clock()
        source = Source(clock)
        assert await source.get("a") == await source.get("a") == "a1"
        clock.now = 9.9
        assert await source.get("a") == "a1"
        clock.now = 10.0
        assert await source.get("a") == "a2"

    asyncio.run(scene())


def test_failures_for_a_moment_only() -> None:
    async def scene() -> None:
        clock = Clock()
        source = Source(clock)
        source.error = OSError("away")
        for _ in range(3):
            with pytest.raises(OSError, match="away"):
                await source.get("a")
        assert source.asked == ["a"]
        source.error, clock.now = None, 1.0
        assert await source.get("a") == "a2"

    asyncio.run(scene())


def test_what_is_no_failure_to_be_kept_is_asked_again() -> None:
    async def scene() -> None:
        source = Source(Clock())
        source.error = KeyError("a mistake")
        for _ in range(2):
            with pytest.raises(KeyError):
                await source.get("a")
        source.error = None
        assert await source.get("a") == "a3"

    asyncio.run(scene())


def test_the_oldest_answers_make_room() -> None:
    async def scene() -> None:
        source = Source(Clock())
        for key in "abcd":
            await source.get(key)
        assert len(source.cache) == 3
        assert await source.get("b") == "b2"
        assert await source.get("a") == "a5"

    asyncio.run(scene())


def test_the_same_question_is_asked_once_and_nobody_stops_another() -> None:
    async def scene() -> None:
        source = Source(Clock())
        source.gate.clear()
        first, second, third = (asyncio.create_task(source.get("a")) for _ in range(3))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        source.gate.set()
        assert await second == await third == "a1"
        assert first.cancelled() and source.asked == ["a"]

    asyncio.run(scene())
