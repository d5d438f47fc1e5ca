"""Answers kept for a while: bounded, one question at a time for each key, failures kept too."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class JoinedCache(Generic[K, V]):
    """Remembers the ``most`` latest answers, each for ``seconds``,
    and errors of ``failures`` for ``failed_seconds``.

    Whoever asks while the same is being asked waits for that answer. One that gives up waiting
    stops no other.
    """

    def __init__(
        self,
        seconds: float,
        most: int,
        *,
        failures: tuple[type[Exception], ...] = (),
        failed_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds, self._most = seconds, most
        self._failures, self._failed_seconds = failures, failed_seconds
        self._clock = clock
        self._kept: OrderedDict[K, tuple[float, V | Exception]] = OrderedDict()
        self._asking: dict[K, asyncio.Task[V | Exception]] = {}

    def __contains__(self, key: K) -> bool:
        """Whether there was an answer; it may be out of date."""
        return key in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    async def get(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        """The answer for ``key``: remembered, or asked for. Raises what ``ask`` raised."""
        until, found = self._kept.get(key, (0.0, None))
        if found is None or self._clock() >= until:
            if key not in self._asking:
                self._asking[key] = asyncio.create_task(self._ask(key, ask))
                self._asking[key].add_done_callback(_heard)
            found = await asyncio.shield(self._asking[key])
        if isinstance(found, Exception):
            raise found.with_traceback(None)
        return found

    def put(self, key: K, found: V) -> None:
        """An answer that was found otherwise."""
        self._keep(key, found, self._seconds)

    def drop(self, key: K) -> None:
        """Forget an answer."""
        self._kept.pop(key, None)

    async def _ask(self, key: K, ask: Callable[[], Awaitable[V]]) -> V | Exception:
        found: V | Exception
        try:
            found, seconds = await ask(), self._seconds
        except self._failures as error:
            found, seconds = error, self._failed_seconds
        finally:
            del self._asking[key]
        self._keep(key, found, seconds)
        return found

    def _keep(self, key: K, found: V | Exception, seconds: float) -> None:
        self._kept[key] = (self._clock() + seconds, found)
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)


def _heard(asked: asyncio.Task[V | Exception]) -> None:
    """An error does not matter where everybody who asked has left in the meantime."""
    if not asked.cancelled():
        asked.exception()
