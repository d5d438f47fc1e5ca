"""How long a child's task has waited for storage:
numbers in memory that the child and its supervisor share.

Messages would do as well, but each image is read and written, and hardly any for long: memory costs
nothing, and the supervisor looks at it only when a task takes long.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
import time
from enum import StrEnum
from multiprocessing import reduction
from typing import Any

from typing_extensions import override


class Away(StrEnum):
    """What a task may wait for on a clock of its own."""

    FETCHING = "fetching"
    """Bytes of the source, from a disk or over a network."""
    STORING = "storing"
    """Output on its way to where it is kept."""


_MOMENT = struct.Struct("d")
_SINCE, _SPENT, _WHAT, _BYTES = 0, 8, 16, 24
"""Offsets: since when the task waits now, 0 while it works; seconds that it waited before.

For what.
"""
_ALL = tuple(Away)
_LOOKS = 3


class Stopwatch:
    """Made by the supervisor, and pickled for the child that is started with it.

    Moments are of the monotonic clock.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """Takes over a descriptor of the memory; makes some without."""
        self._descriptor = (
            os.memfd_create("fpj-stopwatch", os.MFD_CLOEXEC) if descriptor is None else descriptor
        )
        if descriptor is None:
            os.ftruncate(self._descriptor, _BYTES)
        self._memory = mmap.mmap(self._descriptor, _BYTES)

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (reduction.DupFd(self._descriptor),)

    def close(self) -> None:
        """Give back what it holds."""
        self._memory.close()
        os.close(self._descriptor)

    # In the child ---------------------------------------------------------------------------------

    def restart(self) -> None:
        """Another task begins."""
        self._write(_SINCE, 0.0)
        self._write(_SPENT, 0.0)

    def begin(self, what: Away) -> None:
        """The task waits from now on."""
        self._memory[_WHAT] = _ALL.index(what)
        self._write(_SINCE, time.monotonic())

    def end(self) -> None:
        """It works again."""
        since = self._read(_SINCE)
        # In this order: whoever looks in between takes the time for longer, never for shorter.
        self._write(_SPENT, self._read(_SPENT) + time.monotonic() - since)
        self._write(_SINCE, 0.0)

    # In the supervisor ----------------------------------------------------------------------------

    def read(self, now: float) -> tuple[float, Away | None]:
        """(seconds that the task has waited, what it waits for at this moment).

        A child may write anything there.
        """
        for _ in range(_LOOKS):
            since = self._read(_SINCE)
            spent, what = self._read(_SPENT), self._memory[_WHAT]
            if since == self._read(_SINCE):
                break
        waits = 0.0 < since <= now
        seconds = spent + (now - since if waits else 0.0)
        known = _ALL[what] if what < len(_ALL) else Away.FETCHING
        return seconds if math.isfinite(seconds) and seconds > 0 else 0.0, known if waits else None

    def _read(self, offset: int) -> float:
        (value,) = _MOMENT.unpack_from(self._memory, offset)
        return float(value)

    def _write(self, offset: int, value: float) -> None:
        _MOMENT.pack_into(self._memory, offset, value)


def _received(given: Any) -> Stopwatch:
    return Stopwatch(given.detach())
