"""Whether the store answers, known to all jobs at once.

One question at a time asks it every few seconds, whatever jobs there are. When that fails, everybody who waits for an
answer stops waiting, nobody else begins to, and all active jobs are looked at: so an outage is told while it lasts, and
suspensions, deletions and renewals of Leases go on. When it answers again, they are looked at again, at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from fpj_core.errors import StoreError, StoreUnavailableError
from fpj_core.store.protocol import Store

P = ParamSpec("P")
T = TypeVar("T")

_EVERY_SECONDS = 2.0
_AWAY_SECONDS = 0.5
"""Between two questions while it does not answer; the driver itself waits until it does, or for its own limit."""
_PATIENCE_SECONDS = 4.0
"""No answer within this is an outage. The largest question that is asked here is for one record."""
_THREADS = 16
_NOBODY = "-"

log = logging.getLogger("fpj.store")


class StoreHealth:
    """Asks the store, and knows whether it answers. ``changed`` is called whenever that becomes another.

    ``needed`` says whether any job is unfinished. Without one nothing is asked, so that an idle operator does not load
    a driver of 10 MB.
    """

    def __init__(self, store: Store, changed: Callable[[], None], needed: Callable[[], bool]) -> None:
        self._store = store
        self._changed = changed
        self._needed = needed
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")
        self._probe = ThreadPoolExecutor(1, thread_name_prefix="store-health")
        self._lost: asyncio.Future[None] | None = None
        self.error: str | None = None
        """Why the store cannot be used; None while it answers."""

    async def ask(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """What a question to the store answers. Raises `StoreUnavailableError` as soon as it is known not to.

        Only for what changes nothing: a call that is given up may still be carried out later.
        """
        if self.error is not None:
            raise StoreUnavailableError(self.error)
        loop = asyncio.get_running_loop()
        asked = loop.run_in_executor(self._threads, lambda: function(*arguments, **options))
        either: set[asyncio.Future[Any]] = {asked, self._outage(loop)}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            asked.add_done_callback(_forget)
            raise StoreUnavailableError(self.error or "the store does not answer")
        try:
            return asked.result()
        except StoreUnavailableError as error:
            self._set(str(error))
            raise

    async def watch(self) -> None:
        """Ask until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_EVERY_SECONDS if self.error is None else _AWAY_SECONDS)
            if self.error is None and not self._needed():
                continue
            asked = loop.run_in_executor(self._probe, self._store.get_job, _NOBODY)
            done, _ = await asyncio.wait({asked}, timeout=_PATIENCE_SECONDS)
            if not done:
                self._set(f"the store does not answer within {_PATIENCE_SECONDS:.0f} s")
            try:
                await asked
            except StoreError as error:
                self._set(str(error))
            else:
                self._set(None)

    def close(self) -> None:
        """Start nothing any more; threads that wait for the store end with their answer."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._probe.shutdown(wait=False, cancel_futures=True)

    def _outage(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        if self._lost is None or self._lost.done():
            self._lost = loop.create_future()
        return self._lost

    def _set(self, error: str | None) -> None:
        before, self.error = self.error, error if error is None else error[:500]
        if error is not None and before is not None:
            self.error = before  # the first words stay: each other one would be another write of all statuses
        if (before is None) == (error is None):
            return
        if error is None:
            log.info("the store answers again")
        else:
            log.warning("the store: %s", error)
            if self._lost is not None and not self._lost.done():
                self._lost.set_result(None)
        self._changed()


def _forget(asked: asyncio.Future[T]) -> None:
    """Nobody waits for the answer any more."""
    with contextlib.suppress(Exception, asyncio.CancelledError):
        asked.result()
