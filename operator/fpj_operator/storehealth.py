"""Whether the store answers, known to all jobs at once.

One question at a time asks it every few seconds, whatever jobs there are. When that fails,
everybody who waits for an answer stops waiting, nobody else starts to, and all active jobs are
reconciled: so an outage is reported while it lasts, and suspensions, deletions and renewals of
Leases go on. When it answers again, they are reconciled at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fpj_core.errors import StoreError, StoreUnavailableError
from fpj_core.store.protocol import Store
from fpj_operator.storecalls import StoreCalls, TooLateError, Work

T = TypeVar("T")

_EVERY_SECONDS = 2.0
_AWAY_SECONDS = 0.5
"""Between two questions while it does not answer.

The driver itself waits until it does, or for its own limit.
"""
_PATIENCE_SECONDS = 4.0
"""No answer within this is an outage. The largest question that is asked here is for one record."""
_CALL_SECONDS = 10.0
_LONG_SECONDS = 60.0
"""For calls that take as long as a job is large.

They end by themselves once nobody waits, and go on next time.
"""
_NOBODY = "-"

log = logging.getLogger("fpj.store")


class StoreHealth:
    """Asks the store, and knows whether it answers.

    ``changed`` is called whenever that becomes another.

    ``needed`` says whether any job is unfinished. Without one nothing is asked, so that an idle
    operator does not load a driver of 10 MB.
    """

    def __init__(
        self, store: Store, changed: Callable[[], None], needed: Callable[[], bool]
    ) -> None:
        self._store = store
        self._changed = changed
        self._needed = needed
        self._calls = StoreCalls()
        self._probe = ThreadPoolExecutor(1, thread_name_prefix="store-health")
        self._lost: asyncio.Future[None] | None = None
        self.error: str | None = None
        """Why the store cannot be used; None while it answers."""

    async def ask(
        self, subject: str, work: Work[T], *, long: bool = False, informs: bool = False
    ) -> T:
        """What ``work`` makes of the store, in a thread, in time.

        There is more of that for ``long`` work.

        Raises `StoreUnavailableError` as soon as the store is known not to answer. The call may
        still be carried out then, late: each must allow for it, and none about the same ``subject``
        begins before it has ended. With ``informs`` its failure is an outage for everybody: for
        what only reads, and so says nothing of one record.
        """
        if self.error is not None:
            raise StoreUnavailableError(self.error)
        lost = self._outage(asyncio.get_running_loop())
        try:
            return await self._calls.call(
                subject, work, _LONG_SECONDS if long else _CALL_SECONDS, lost
            )
        except StoreUnavailableError as error:
            if lost.done():
                raise StoreUnavailableError(self.error or str(error)) from error
            if informs and not isinstance(error, TooLateError):
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
        self._calls.close()
        self._probe.shutdown(wait=False, cancel_futures=True)

    def _outage(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        if self._lost is None or self._lost.done():
            self._lost = loop.create_future()
        return self._lost

    def _set(self, error: str | None) -> None:
        before, self.error = self.error, error if error is None else error[:500]
        if error is not None and before is not None:
            # The first words stay: each other one would be another write of all statuses.
            self.error = before
        if (before is None) == (error is None):
            return
        if error is None:
            log.info("the store answers again")
        else:
            log.warning("the store: %s", error)
            if self._lost is not None and not self._lost.done():
                self._lost.set_result(None)
        self._changed()
