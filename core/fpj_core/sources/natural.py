"""Natural order: ``page2`` before ``page10``, and sorting more names than fit in memory."""

from __future__ import annotations

import heapq
import pickle
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import IO, Any, TypeVar

from fpj_core.errors import SourceError

T = TypeVar("T")

_DIGITS = re.compile(r"(\d+)", re.ASCII)
_CHUNK = 50_000
"""Items sorted in memory at a time: some 20 MB of entries."""
_MOST_SPILLS = 256
"""Temporary files open at a time, of the 1,024 that a process may usually have."""
_MOST_DIGITS = 4_000
"""Python refuses to read longer numbers (sys.set_int_max_str_digits).

No file name is that long anyway.
"""


def natural_key(name: str) -> tuple[Any, ...]:
    """Sort key: numbers by value, letters without case; the exact name decides between equals.

    Splitting always alternates text and digits, so the parts of two keys compare like with like.
    """
    parts: list[Any] = _DIGITS.split(name.casefold())
    for place in range(1, len(parts), 2):
        parts[place] = int(parts[place][:_MOST_DIGITS])
    return (parts, name)


def sorted_externally(
    items: Iterable[T],
    key: Callable[[T], Any],
    chunk: int = _CHUNK,
    on_step: Callable[[], None] = lambda: None,
) -> Iterator[T]:
    """Sort any number of picklable items in memory for ``chunk`` of them.

    More go through temporary files.

    ``on_step`` is called while those are written. Raises `SourceError` when there is no room for
    them.
    """
    iterator = iter(items)
    run = sorted(islice(iterator, chunk), key=key)
    if len(run) < chunk:
        yield from run
        return
    spills: list[IO[bytes]] = []
    try:
        while run:
            spills.append(_spill(run, on_step))
            if len(spills) == _MOST_SPILLS:
                merged = _spill(_merged(spills, key), on_step)
                _close(spills)
                spills.append(merged)
            run = sorted(islice(iterator, chunk), key=key)
        yield from _merged(spills, key)
    finally:
        _close(spills)


def _merged(spills: list[IO[bytes]], key: Callable[[Any], Any]) -> Iterator[Any]:
    return heapq.merge(*(_read_back(spill) for spill in spills), key=key)


def _spill(run: Iterable[Any], on_step: Callable[[], None]) -> IO[bytes]:
    iterator = iter(run)
    try:
        spill = tempfile.TemporaryFile(prefix="fpj-sort-")  # noqa: SIM115 - the caller closes it
        try:
            while part := list(islice(iterator, 500)):
                pickle.dump(part, spill, pickle.HIGHEST_PROTOCOL)
                on_step()
            spill.seek(0)
        except BaseException:
            _close([spill])
            raise
    except OSError as error:
        raise SourceError(
            f"no room for temporary files to sort the images' names: {error.strerror}"
        ) from error
    return spill


def _close(spills: list[IO[bytes]]) -> None:
    while spills:
        with suppress(OSError):  # closing writes what is left, which a full disk refuses once more
            spills.pop().close()


def _read_back(spill: IO[bytes]) -> Iterator[Any]:
    while True:
        try:
            yield from pickle.load(spill)  # noqa: S301 - our own anonymous file, written above
        except EOFError:
            return
