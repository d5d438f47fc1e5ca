"""Asking the same of many files: one after another while answers are quick,
in threads where they are not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_THREADS = 32
_SLOW_SECONDS = 100e-6
"""A question that takes longer is waiting for something: a disk, a network.

On a local disk a stat takes 2 µs, and threads would only make it slower.
"""
_PROBES = 64
_PROBES_WHEN_SLOW = 8


class Manyfold:
    """Asks something about many items.

    The first few of every batch show whether threads are worth it.

    ``threads`` bounds the calls at a time. Threads are started when they are first needed, and end
    with the process.
    """

    def __init__(self, threads: int = _THREADS) -> None:
        self._most = threads
        self._threads: ThreadPoolExecutor | None = None
        self._slow = False

    def __call__(
        self, ask: Callable[[T], R], items: Sequence[T], in_thread: Callable[[T], R] | None = None
    ) -> list[R]:
        """What ``ask`` gives for each item, in their order; raises what it raises.

        ``in_thread`` asks the same, where there is a way that suits threads better.
        """
        probes = _PROBES_WHEN_SLOW if self._slow else _PROBES
        started = time.perf_counter()
        answers = [ask(item) for item in items[:probes]]
        if len(answers) < probes:
            return answers
        self._slow = time.perf_counter() - started > _SLOW_SECONDS * probes
        rest = items[probes:]
        return answers + (
            self._in_threads(in_thread or ask, rest) if self._slow else [ask(item) for item in rest]
        )

    def _in_threads(self, ask: Callable[[T], R], items: Sequence[T]) -> list[R]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._most, thread_name_prefix="fpj-files")
        each = -(-len(items) // self._most) or 1
        parts = [items[start : start + each] for start in range(0, len(items), each)]
        answers = self._threads.map(lambda part: [ask(item) for item in part], parts)
        return [answer for part in answers for answer in part]
