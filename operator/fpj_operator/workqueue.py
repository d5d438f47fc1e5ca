"""A work queue: each key at most once in line and once in hand, delays, and a growing pause after each failure."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0

log = logging.getLogger("fpj.workqueue")


class Workqueue(Generic[K]):
    """``handle`` gives the seconds until it wants to see the key again, or None. What it raises is tried again.

    ``about`` is entered while a key is in hand: what the log says of it.
    """

    def __init__(
        self,
        handle: Callable[[K], Awaitable[float | None]],
        workers: int,
        about: Callable[[K], AbstractContextManager[None]] = lambda _key: nullcontext(),
    ) -> None:
        self._handle = handle
        self._about = about
        self._workers = workers
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._waiting: set[K] = set()
        self._in_hand: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, tuple[float, asyncio.TimerHandle]] = {}
        self._failures: dict[K, int] = {}
        self.handled_at = time.monotonic()
        """When a worker last finished something, or the first of those in line came."""

    @property
    def depth(self) -> int:
        """Keys in line."""
        return len(self._waiting)

    def add(self, key: K) -> None:
        """Put a key in line. One that is in hand comes again afterwards: it may have been looked at too early."""
        self._cancel_timer(key)
        if key in self._in_hand:
            self._again.add(key)
        elif key not in self._waiting:
            if not self._waiting:
                self.handled_at = time.monotonic()
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Put a key in line later; the earliest of several such wishes counts."""
        when = time.monotonic() + seconds
        planned = self._timers.get(key)
        if planned and planned[0] <= when:
            return
        self._cancel_timer(key)
        self._timers[key] = (when, asyncio.get_running_loop().call_later(seconds, self.add, key))

    def forget(self, key: K) -> None:
        """The key is gone: no timer and no count of failures remain."""
        self._cancel_timer(key)
        self._failures.pop(key, None)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self._ready.get()
            self._waiting.discard(key)
            self._in_hand.add(key)
            try:
                with self._about(key):
                    delay = await self._try(key)
            finally:
                self._in_hand.discard(key)
                self.handled_at = time.monotonic()
            if key in self._again:
                self._again.discard(key)
                self.add(key)
            elif delay is not None:
                self.add_after(key, delay)

    async def _try(self, key: K) -> float | None:
        try:
            delay = await self._handle(key)
        except Exception as error:  # whatever it is, the key is tried again, ever more slowly
            self._failures[key] = self._failures.get(key, 0) + 1
            pause = min(_FIRST_PAUSE * 2.0 ** (self._failures[key] - 1), _LONGEST_PAUSE)
            delay = pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
            log.warning("%s; again in %.1f s", error, delay, exc_info=self._failures[key] == 1)
        else:
            self._failures.pop(key, None)
        return delay

    def _cancel_timer(self, key: K) -> None:
        if planned := self._timers.pop(key, None):
            planned[1].cancel()
