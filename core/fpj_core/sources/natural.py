"""Natural order: ``page2`` before ``page10``, and sorting more names than fit in memory."""

from __future__ import annotations

import heapq
import pickle
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import IO, Any, TypeVar

T = TypeVar("T")

_DIGITS = re.compile(r"(\d+)", re.ASCII)
_CHUNK = 50_000
"""Items sorted in memory at a time: some 20 MB of entries."""
_MOST_DIGITS = 4_000
"""Python refuses to read longer numbers (sys.set_int_max_str_digits); no file name is that long anyway."""


def natural_key(name: str) -> tuple[Any, ...]:
    """Sort key: numbers by value, letters without case; the exact name decides between equals.

    Splitting always alternates text and digits, so the parts of two keys compare like with like.
    """
    parts: list[Any] = _DIGITS.split(name.casefold())
    for place in range(1, len(parts), 2):
        parts[place] = int(parts[place][:_MOST_DIGITS])
    return (parts, name)


def sorted_externally(items: Iterable[T], key: Callable[[T], Any], chunk: int = _CHUNK) -> Iterator[T]:
    """Sort any number of picklable items in memory for ``chunk`` of them; more go through temporary files."""
    iterator = iter(items)
    run = sorted(islice(iterator, chunk), key=key)
    if len(run) < chunk:
        yield from run
        return
    spills: list[IO[bytes]] = []
    try:
        while run:
            spills.append(_spill(run))
            run = sorted(islice(iterator, chunk), key=key)
        yield from heapq.merge(*(_read_back(spill) for spill in spills), key=key)
    finally:
        for spill in spills:
            spill.close()


def _spill(run: list[Any]) -> IO[bytes]:
    spill = tempfile.TemporaryFile(prefix="fpj-sort-")  # noqa: SIM115 - the caller closes it
    for start in range(0, len(run), 500):
        pickle.dump(run[start : start + 500], spill, pickle.HIGHEST_PROTOCOL)
    spill.seek(0)
    return spill


def _read_back(spill: IO[bytes]) -> Iterator[Any]:
    while True:
        try:
            yield from pickle.load(spill)  # noqa: S301 - our own anonymous file, written above
        except EOFError:
            return
