"""A work queue: each key at most once in line and once in hand, delays,
and a growing pause after each failure.

There are two lines. What is urgent, an active job whose lease must be renewed in time, does not
wait behind thousands that only ask for their place; one in every few keys comes from the other line
anyway.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

from fpj_core.kube.errors import ClusterError

K = TypeVar("K", bound=Hashable)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
_LONGEST_PASSING_PAUSE = 12.0
"""After refusals of the API server, which end by themselves: a quota, a conflict,
too many requests.
"""
_LONGEST_ASKED = 60.0
"""That a server may ask to wait (`Retry-After`)."""
_URGENT_IN_A_ROW = 8

log = logging.getLogger("fpj.workqueue")


class Workqueue(Generic[K]):
    """``handle`` gives the seconds until it wants to see the key again, or None.

    What it raises is tried again.

    ``about`` is entered while a key is in hand: what the log says of it. Keys that are ``urgent``
    go first.
    """

    def __init__(
        self,
        handle: Callable[[K], Awaitable[float | None]],
        workers: int,
        about: Callable[[K], AbstractContextManager[None]] = lambda _key: nullcontext(),
        urgent: Callable[[K], bool] = lambda _key: True,
    ) -> None:
        self._handle = handle
        self._about = about
        self._workers = workers
        self._urgent = urgent
        self._ready = asyncio.Semaphore(0)
        self._lines: tuple[deque[K], deque[K]] = (deque(), deque())
        """The urgent ones, and the others."""
        self._in_a_row = 0
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
        """Put a key in line.

        One that is in hand comes again afterwards: it may have been looked at too early.
        """
        self._cancel_timer(key)
        if key in self._in_hand:
            self._again.add(key)
        elif key not in self._waiting:
            if not self._waiting:
                self.handled_at = time.monotonic()
            self._waiting.add(key)
            self._lines[0 if self._urgent(key) else 1].append(key)
            self._ready.release()

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
            await self._ready.acquire()
            key = self._next()
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

    def _next(self) -> K:
        first, others = self._lines
        if first and (self._in_a_row < _URGENT_IN_A_ROW or not others):
            self._in_a_row += 1
            return first.popleft()
        self._in_a_row = 0
        return others.popleft()

    async def _try(self, key: K) -> float | None:
        try:
            delay = await self._handle(key)
        except Exception as error:  # whatever it is, the key is tried again, ever more slowly
            self._failures[key] = self._failures.get(key, 0) + 1
            delay = pause_after(error, self._failures[key])
            log.warning("%s; again in %.1f s", error, delay, exc_info=self._failures[key] == 1)
        else:
            self._failures.pop(key, None)
        return delay

    def _cancel_timer(self, key: K) -> None:
        if planned := self._timers.pop(key, None):
            planned[1].cancel()


def pause_after(error: Exception, failures: int) -> float:
    """Seconds until a key is tried again after so many failures in a row.

    What a server asks for is heeded.
    """
    longest = _LONGEST_PASSING_PAUSE if isinstance(error, ClusterError) else _LONGEST_PAUSE
    pause = min(_FIRST_PAUSE * 2.0 ** min(failures - 1, 20), longest) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
    return max(pause, min(float(getattr(error, "retry_after", 0.0)), _LONGEST_ASKED))
