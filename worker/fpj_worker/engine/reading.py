"""Reading an opened image at any offset, wherever it lies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fpj_core.sources.base import OpenedImage, image_error_from_os

Read = Callable[[int, int], bytes]
"""From an offset and a number of bytes to those that are there."""

_PIECE = 2**20
_MOST_OFFSET = 2**62
"""What pread(2) takes, and more than any file has."""


@contextmanager
def reader(opened: OpenedImage) -> Iterator[Read]:
    """Reads at any offset; beyond the end there is nothing.

    Raises `ImageError` for a file that cannot be read.
    """
    if opened.data is not None:
        data = opened.data
        yield lambda offset, count: data[offset : offset + count]
        return
    try:
        with open(opened.path or b"", "rb", buffering=0) as stream:
            descriptor = stream.fileno()
            yield lambda offset, count: os.pread(descriptor, count, min(offset, _MOST_OFFSET))
    except OSError as error:
        raise image_error_from_os(error, "the file") from error


def refuse_unreadable(opened: OpenedImage) -> None:
    """Raise `ImageError` if the system cannot read all of it:
    to a decoder that is the same as damage.
    """
    with reader(opened) as read:
        offset = 0
        while piece := read(offset, _PIECE):
            offset += len(piece)
