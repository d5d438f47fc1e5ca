"""A shard's sign of life from a thread, so that a supervisor that is slow is not taken for dead."""

from __future__ import annotations

import logging
import threading
from contextvars import copy_context
from typing import Self

from fpj_core.errors import FencedError, FpjError
from fpj_core.model import Shard
from fpj_core.store.protocol import Store

_JOIN_SECONDS = 1.0

log = logging.getLogger("fpj.worker")


class Heartbeat:
    """Beats for one shard every ``interval`` seconds while it is open.

    The processor beats between its steps, but a step may take long: a slow file system, a large
    read, images in flight that are waited for at the end. A thread beats through all of these. It
    proves no more than that the process is scheduled; a job that beats and makes no progress is the
    reaper's business.
    """

    def __init__(self, store: Store, shard: Shard, interval: float) -> None:
        self._store = store
        self._shard = shard
        self._interval = interval
        self._ended = threading.Event()
        self._lost: FencedError | None = None
        within = copy_context()  # what its lines in the log are about
        self._thread = threading.Thread(
            target=within.run, args=(self._run,), name="heartbeat", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        # It may be waiting for a store that has gone; that must hold nobody up.
        self._thread.join(_JOIN_SECONDS)

    def check(self) -> None:
        """Raise `FencedError` if the shard was found to be taken over."""
        if self._lost is not None:
            raise self._lost

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            try:
                self._store.heartbeat(self._shard, self._store.now())
            except FencedError as error:
                self._lost = error
                return
            except FpjError as error:  # whoever records results will find out, and act
                log.warning("heartbeat failed: %s", error)
