"""Waiting for what another process does, with a bound."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(
    condition: Callable[[], T | None],
    what: str | Callable[[], str],
    seconds: float = 60.0,
    every: float = 0.05,
) -> T:
    """What the condition gives as soon as it holds.

    ``what`` says what was waited for; called when it is too late.

    ``every``: seconds between two looks; more where a look costs those who are waited for.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{what if isinstance(what, str) else what()}: not within {seconds:g} s"
            )
        time.sleep(every)
    return found


def end(process: subprocess.Popen[bytes], seconds: float = 20.0) -> None:
    """Have a process end, by force where it does not when asked."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(seconds)
