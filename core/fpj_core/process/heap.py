"""The C heap, where that is glibc's; with another library nothing happens."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8
"""As glibc's malloc.h has it."""


def give_back() -> None:
    """Give the kernel what is free in the heap. It takes a millisecond for tens of megabytes."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def use_one_arena() -> None:
    """Let threads to come share one heap: else each of some begins its own,
    and leaves free what no other may use.
    """
    option = getattr(ctypes.CDLL(None), "mallopt", None)
    if option is not None:
        option(_M_ARENA_MAX, 1)
