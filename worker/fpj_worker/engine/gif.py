"""A GIF's screen and where its frames lie on it (GIF89a), without decoding it.

libvips takes some sizes of screens for mistakes of old programs and cuts them to the first frame,
and paints black what no frame has covered. Browsers show the screen as it is stated, and
transparent where nothing was painted.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
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
    transparent: int | None = None
    """The number of the colour that shows what is below."""

    position: int = 0
    """Where in the file its descriptor begins."""


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
    disposal, transparent = 0, None
    for _ in range(_MOST_BLOCKS):
        block = read(position, 10)
        if most < 1 or len(block) < 2 or block[0] not in (_EXTENSION, _IMAGE):
            return
        if block[0] == _EXTENSION:
            if block[1] == _CONTROL and len(block) > 3:
                disposal, transparent = (
                    block[3] >> 2 & 7,
                    block[6] if block[3] & 1 and len(block) > 6 else None,
                )
            position = _behind_blocks(read, position + 2)
            continue
        if len(block) < 10:
            return
        left, top, width, height = struct.unpack_from("<HHHH", block, 1)
        yield Frame(left, top, width, height, disposal, transparent, position)
        most -= 1
        if most:
            position = _behind_blocks(read, position + 11 + _palette(block[9]))
        disposal, transparent = 0, None


def covered(places: Sequence[Frame], width: int, height: int) -> Iterator[Mask]:
    """For each frame, 255 where something was painted and 0 elsewhere, of shape (height, width)."""
    painted = np.zeros((height, width), np.uint8)
    for place in places:
        before = painted.copy() if place.disposal == _RESTORED else None
        part = (
            slice(place.top, place.top + place.height),
            slice(place.left, place.left + place.width),
        )
        painted[part] = 255
        yield painted
        if before is not None:
            painted = before
        elif place.disposal == _CLEARED:
            painted = painted.copy()
            painted[part] = 0


def alone(read: Read, place: Frame) -> bytes:
    """A GIF of one frame, for its transparent pixels."""
    (flags,) = read(10, 1) or b"\0"
    head = bytearray(read(0, 13 + _palette(flags)))
    head[6:10] = struct.pack("<HH", place.width, place.height)
    control = b"!\xf9\4\1\0\0" + bytes((place.transparent or 0, 0))
    stop = _behind_blocks(
        read, place.position + 11 + _palette((read(place.position + 9, 1) or b"\0")[0])
    )
    content = read(place.position + 9, stop - place.position - 9)
    return (
        bytes(head)
        + control
        + struct.pack("<BHHHH", _IMAGE, 0, 0, place.width, place.height)
        + content
        + b";"
    )


def is_cleared_opaque(place: Frame) -> bool:
    """Whether libvips paints the background where the frame was, once it is cleared."""
    return place.disposal == _CLEARED and place.transparent is None


def wiped(
    places: Sequence[Frame], width: int, height: int, holes: Callable[[Frame], Mask]
) -> Iterator[Mask]:
    """For each frame, of shape (height, width): 255 where an opaque one was cleared and nothing
    painted since.

    ``holes`` gives 255 for a frame's transparent pixels, 0 for others.
    """
    gone = np.zeros((height, width), np.uint8)
    for place in places:
        before = gone.copy() if place.disposal == _RESTORED else None
        part = gone[place.top : place.top + place.height, place.left : place.left + place.width]
        part &= (
            0
            if place.transparent is None or not part.any()
            else holes(place)[: part.shape[0], : part.shape[1]]
        )
        yield gone
        if before is not None:
            gone = before
        elif place.disposal == _CLEARED:
            gone[place.top : place.top + place.height, place.left : place.left + place.width] = (
                255 if is_cleared_opaque(place) else 0
            )


def covers_all(places: Sequence[Frame], width: int, height: int) -> bool:
    """Whether every pixel is painted in every frame."""
    first = places[0]
    whole = first.left == first.top == 0 and first.width >= width and first.height >= height
    cleared = first.disposal == _RESTORED or any(
        place.disposal == _CLEARED for place in places[:-1]
    )
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
