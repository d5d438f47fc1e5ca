"""Requests to stop.

Imports next to nothing, so that a pod can heed SIGTERM before it has loaded the rest.
"""

from __future__ import annotations

import signal
import time
from types import FrameType

from fpj_core.errors import FpjError


class InterruptedRunError(FpjError):
    """The run was asked to stop. What is finished is recorded; running again goes on from there."""


class Stop:
    """Whether, and since when, SIGTERM asks this process to end.

    Process 1 of a container never gets a signal that it does not handle: without this it would sit
    through its whole grace period and be killed.
    """

    def __init__(self) -> None:
        self._requested_at: float | None = None

    def listen(self) -> None:
        """Handle SIGTERM from now on. Only in the main thread."""
        signal.signal(signal.SIGTERM, self._request)

    def check(self) -> None:
        """Raise `InterruptedRunError` once the signal has come."""
        if self._requested_at is not None:
            raise InterruptedRunError("SIGTERM: the pod is to end")

    def left_of(self, seconds: float) -> float:
        """What is left of ``seconds`` that began with the signal; all of them if there was none."""
        since = 0.0 if self._requested_at is None else time.monotonic() - self._requested_at
        return max(seconds - since, 0.0)

    def _request(self, _number: int, _frame: FrameType | None) -> None:
        if self._requested_at is None:
            self._requested_at = time.monotonic()
