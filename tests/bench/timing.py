"""CPU time of a function within this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any


def timed(make: Callable[..., Any], *arguments: object, times: int = 3) -> tuple[float, Any]:
    """(median CPU milliseconds, what was made)."""
    seconds = []
    for _ in range(times):
        started = time.process_time()
        made = make(*arguments)
        seconds.append(time.process_time() - started)
    return median(seconds) * 1000, made
