"""A GIF's screen and where its frames lie on it (GIF89a), without decoding it.

libvips takes some sizes of screens for mistakes of old programs and cuts them to the first frame, and paints black what
no frame has covered. Browsers show the screen as it is stated, and transparent where nothing was painted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fpj_worker.engine.reading import Read
from fpj_worker.engine.tiffbare import Patch

_EXTENSION, _IMAGE = 0x21, 0x2C
_CONTROL = 0xF9
_CLEARED, _RESTORED = 2, 3
"""What becomes of a frame's place before the next one is drawn (GIF89a, 23.c.iv)."""
_MOST_BLOCKS = 4_000_000

Mask = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a frame lies, and what becomes of its place afterwards."""

    left: int
    top: int
    width: int
    height: int
    disposal: int


def screen(read: Read) -> tuple[int, int]:
    """(width, height) as stated; zeros if there is none."""
    width, height = struct.unpack_from("<HH", read(0, 10).ljust(10, b"\0"), 6)
    return width, height


def believed(width: int, height: int) -> Patch:
    """A screen that libvips believes: one column more than the size that it takes for a mistake."""
    return Patch(6, struct.pack("<HH", width + 1, height))


def frames(read: Read, most: int) -> Iterator[Frame]:
    """The first ``most`` frames, as far as the file makes sense."""
    (flags,) = read(10, 1) or b"\0"
    position = 13 + _palette(flags)
    disposal = 0
    for _ in range(_MOST_BLOCKS):
        block = read(position, 10)
        if most < 1 or len(block) < 2 or block[0] not in (_EXTENSION, _IMAGE):
            return
        if block[0] == _EXTENSION:
            if block[1] == _CONTROL and len(block) > 3:
                disposal = block[3] >> 2 & 7
            position = _behind_blocks(read, position + 2)
            continue
        if len(block) < 10:
            return
        left, top, width, height = struct.unpack_from("<HHHH", block, 1)
        yield Frame(left, top, width, height, disposal)
        most -= 1
        if most:
            position = _behind_blocks(read, position + 11 + _palette(block[9]))
        disposal = 0


def covered(places: Sequence[Frame], width: int, height: int) -> Iterator[Mask]:
    """For each frame, 255 where something was painted and 0 elsewhere, of shape (height, width)."""
    painted = np.zeros((height, width), np.uint8)
    for place in places:
        before = painted.copy() if place.disposal == _RESTORED else None
        part = slice(place.top, place.top + place.height), slice(place.left, place.left + place.width)
        painted[part] = 255
        yield painted
        if before is not None:
            painted = before
        elif place.disposal == _CLEARED:
            painted = painted.copy()
            painted[part] = 0


def covers_all(places: Sequence[Frame], width: int, height: int) -> bool:
    """Whether every pixel is painted in every frame."""
    first = places[0]
    whole = first.left == first.top == 0 and first.width >= width and first.height >= height
    cleared = first.disposal == _RESTORED or any(place.disposal == _CLEARED for place in places[:-1])
    return whole and (len(places) == 1 or not cleared)


def _palette(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _behind_blocks(read: Read, position: int) -> int:
    for _ in range(_MOST_BLOCKS):
        size = read(position, 1)
        position += 1 + (size[0] if size else 0)
        if not size or not size[0]:
            break
    return position
