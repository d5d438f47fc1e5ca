"""The store, asked from threads: a few at a time, with a time limit,
and not again while it is known to be away.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fpj_api.joinedcache import JoinedCache
from fpj_api.problems import ProblemError, unavailable
from fpj_core.errors import StoreError, StoreUnavailableError
from fpj_core.store.protocol import CollectionStatistics, Store

T = TypeVar("T")

_THREADS = 8
_MOST_WAITING = 32
_SECONDS = 15.0
_AWAY_SECONDS = 2.0
_STATISTICS_SECONDS = 5.0
_MOST_NAMESPACES = 100


class Storage:
    """Operations of the store for requests. Each raises `StoreError`, or a problem (503, 504)."""

    def __init__(self, store: Store, *, seconds: float = _SECONDS) -> None:
        self._store, self._seconds = store, seconds
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")
        self._at_work = 0
        self._away_until, self._why = 0.0, ""
        self._kept: JoinedCache[str | None, list[CollectionStatistics]] = JoinedCache(
            _STATISTICS_SECONDS, _MOST_NAMESPACES, failures=(StoreError, ProblemError)
        )

    @property
    def busy(self) -> bool:
        """Whether an operation has not come back yet."""
        return self._at_work > 0

    async def ask(self, operation: Callable[[Store], T]) -> T:
        """The result of an operation. One that takes too long goes on, but is not waited for."""
        if time.monotonic() < self._away_until:
            raise StoreUnavailableError(self._why)
        if self._at_work >= _MOST_WAITING:
            raise unavailable("too many concurrent requests to the store")
        self._at_work += 1
        asked = asyncio.get_running_loop().run_in_executor(self._pool, operation, self._store)
        asked.add_done_callback(self._done)
        done, _ = await asyncio.wait({asked}, timeout=self._seconds)
        if not done:
            raise ProblemError(504, "the store does not answer in time")
        return asked.result()

    async def statistics(self, namespace: str | None = None) -> list[CollectionStatistics]:
        """Of the collections of a namespace, or of all; some seconds old at most."""
        return await self._kept.get(
            namespace, lambda: self.ask(lambda store: store.statistics(namespace=namespace))
        )

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _done(self, asked: asyncio.Future[T]) -> None:
        self._at_work -= 1
        error = None if asked.cancelled() else asked.exception()
        if isinstance(error, StoreUnavailableError):
            self._away_until, self._why = time.monotonic() + _AWAY_SECONDS, str(error)
