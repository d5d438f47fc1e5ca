"""The time of day by a server's clock. Hosts whose clocks disagree decide alike by it who is late."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fpj_core.errors import StoreUnavailableError

_EVERY_SECONDS = 60.0
_SOON_SECONDS = 0.5
"""An answer that took no longer is off by at most half of it; one that took longer replaces nothing."""


class ServerClock:
    """Seconds since the epoch, by the clock that ``ask`` reads. Asks once a minute, and counts on by itself.

    This host's own time of day has no say: it may be wrong, and may be set while a lease runs.
    """

    def __init__(self, ask: Callable[[], float], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._monotonic = ask, monotonic
        self._lock = threading.Lock()
        self._ahead: float | None = None
        self._asked_at = 0.0

    def now(self) -> float:
        """Raises `StoreError` as long as the server has never been asked with success."""
        with self._lock:
            before = self._monotonic()
            if self._ahead is None or before - self._asked_at > _EVERY_SECONDS:
                self._measure(before)
            return self._monotonic() + (self._ahead or 0.0)

    def _measure(self, before: float) -> None:
        try:
            answered = self._ask()
        except StoreUnavailableError:
            if self._ahead is None:
                raise
            return
        took = self._monotonic() - before
        if self._ahead is None or took <= _SOON_SECONDS:
            self._ahead = answered - before - took / 2
            self._asked_at = before
