"""Ctrl-C, SIGTERM and SIGHUP: the first asks the run to stop, the second ends it at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Set by the first signal."""

    def __init__(self) -> None:
        self.requested = False

    def __call__(self) -> bool:
        """Whether the run should stop."""
        return self.requested


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Collect them into a `StopRequest`; a second one raises KeyboardInterrupt.

    A signal that is ignored stays so: that is what `nohup` is for.
    """
    request = StopRequest()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if request.requested:
            raise KeyboardInterrupt
        request.requested = True

    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
