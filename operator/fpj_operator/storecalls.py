"""Calls of the store: in few threads of their own, with a deadline,
and those about one subject one after the other.

A store that hangs keeps these threads busy, never those of the event loop's default pool, in which
names are resolved and the API server is reached. A call that nobody waits for any more may still be
carried out: its thread cannot be stopped. So no other call about the same subject, such as a job,
begins before it has ended: late, it is late for all. What other processes write meanwhile is
guarded by the store itself: versions of records, fences of leases, attempts of shards.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fpj_core.errors import StoreUnavailableError

T = TypeVar("T")

_THREADS = 16

Check = Callable[[], None]
"""Raises `StoreUnavailableError` once nobody waits for the call any more.

For work of several steps, between them.
"""

Work = Callable[[Check], T]


class TooLateError(StoreUnavailableError):
    """A call that takes too long. Others may be answered meanwhile."""


class StoreCalls:
    """A bounded number of calls at a time; the others wait, within their deadlines."""

    def __init__(self, threads: int = _THREADS) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="store")
        self._latest: dict[str, asyncio.Future[Any]] = {}
        """By subject, the call that has not ended."""

    async def call(
        self, subject: str, work: Work[T], seconds: float, unless: asyncio.Future[None]
    ) -> T:
        """What ``work`` returns or raises, within so many seconds, and before ``unless`` is done.

        Raises `StoreUnavailableError` otherwise. One that has not started by then never does.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (before := self._latest.get(subject)) is not None:
            await _first(before, unless, until - loop.time(), seconds)
        wanted = _Wanted()
        asked = loop.run_in_executor(self._threads, lambda: wanted.by(work))
        self._latest[subject] = asked
        asked.add_done_callback(lambda _: self._ended(subject))
        try:
            await _first(asked, unless, until - loop.time(), seconds)
        except BaseException:
            wanted.given_up = True
            raise
        return asked.result()

    def close(self) -> None:
        """Start nothing any more; threads that wait for the store end with their answer."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ended(self, subject: str) -> None:
        asked = self._latest.pop(subject)
        # Whoever still waits hears of it, too.
        with contextlib.suppress(Exception, asyncio.CancelledError):
            asked.result()


class _Wanted:
    """Whether somebody waits for a call."""

    def __init__(self) -> None:
        self.given_up = False

    def by(self, work: Work[T]) -> T:
        self.check()  # its turn may have come too late
        return work(self.check)

    def check(self) -> None:
        if self.given_up:
            raise TooLateError("nobody waits for the store's answer any more")


async def _first(
    asked: asyncio.Future[Any], unless: asyncio.Future[None], left: float, seconds: float
) -> None:
    """Wait for ``asked``. Raises `StoreUnavailableError` if it is not done first, nor in time."""
    either: set[asyncio.Future[Any]] = {asked, unless}
    await asyncio.wait(either, timeout=max(left, 0.0), return_when=asyncio.FIRST_COMPLETED)
    if asked.done():
        return
    if unless.done():
        raise StoreUnavailableError("the store does not answer")
    raise TooLateError(f"the store does not answer within {seconds:g} s")
