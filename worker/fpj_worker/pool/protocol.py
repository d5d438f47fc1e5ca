"""What supervisor and children say to each other, and how a child is set up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

from fpj_worker.pool.sandbox import Reach
from fpj_worker.pool.stopwatch import Stopwatch

Admit = Callable[[int], None]
"""Asks leave for a decode that needs so many bytes; returns when it is given."""
READY, DONE, ERROR, ADMIT, UNBEGUN = "ready", "done", "error", "admit", "unbegun"
TASK, GRANT = "task", "grant"
"""Tasks are numbered from 0 in each child, and what it says names the number of the task that it is
about.
"""
PRELOAD_VARIABLE = "FPJ_POOL_PRELOAD"
"""Environment variable that names, separated by spaces,
what the fork server imports for its children.
"""


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """How a child is set up. ``memory_limit`` bounds the address space it may add, in bytes.

    ``factory`` is pickled: unpickling imports its module, which may fail, and the reason must not
    get lost. ``stop`` is at its end once no more tasks shall begin.
    """

    factory: bytes
    memory_limit: int | None
    heavy_budget: int | None
    stderr_path: str
    stop: Connection
    stopwatch: Stopwatch
    reach: Reach | None
    """None: not confined."""
