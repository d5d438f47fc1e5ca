"""The time of day by a server's clock.

Hosts whose clocks disagree decide alike by it who is late.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from fpj_core.errors import StoreUnavailableError

_EVERY_SECONDS = 60.0
_AGAIN_SECONDS = 10.0
"""After a question without a good answer: so long an outage costs nobody another wait."""
_SOON_SECONDS = 0.5
"""An answer that took no longer is off by at most half of it.

One that took longer replaces nothing.
"""


class ServerClock:
    """Seconds since the epoch, by the clock that ``ask`` reads.

    Asks once a minute, and counts on by itself.

    This host's own time of day has no say: it may be wrong, and may be set while a lease runs.
    """

    def __init__(
        self, ask: Callable[[], float], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask, self._monotonic = ask, monotonic
        self._lock = threading.Lock()
        self._ahead: float | None = None
        self._ask_at = 0.0

    def now(self) -> float:
        """Raises `StoreError` as long as the server has never been asked with success."""
        if self._ahead is None:
            self._measure()
        elif self._takes_turn():
            with suppress(StoreUnavailableError):
                self._measure()
        return self._monotonic() + (self._ahead or 0.0)

    def _takes_turn(self) -> bool:
        """Whether the caller is the one to ask; all others count on meanwhile."""
        with self._lock:
            now = self._monotonic()
            if now < self._ask_at:
                return False
            self._ask_at = now + _AGAIN_SECONDS
            return True

    def _measure(self) -> None:
        before = self._monotonic()
        answered = self._ask()
        took = self._monotonic() - before
        with self._lock:
            if self._ahead is None or took <= _SOON_SECONDS:
                self._ahead = answered - before - took / 2
                self._ask_at = before + (
                    _EVERY_SECONDS if took <= _SOON_SECONDS else _AGAIN_SECONDS
                )
