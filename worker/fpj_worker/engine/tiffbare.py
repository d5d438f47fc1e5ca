"""A TIFF's first directory without the tags that no decoder needs: one of them may be damaged,
and libtiff gives up.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from fpj_worker.engine import tiff
from fpj_worker.engine.reading import Read

_NEEDED = frozenset(
    (256, 257, 258, 259, 262, 273, 277, 278, 279)  # size, depth, compression, colours, strips
    # Orders, fax options, predictor, palette, tiles.
    + (266, 274, 284, 292, 293, 317, 320, 322, 323, 324, 325)
    # Inks, bands, JPEG tables, YCbCr, ICC profile.
    + (332, 334, 339, 347, 529, 530, 531, 532, 34675)
)
_ALLOWED: dict[int, Callable[[int], bool]] = {
    266: lambda value: value in (1, 2),
    274: lambda value: 1 <= value <= 8,
    284: lambda value: value in (1, 2),
    317: lambda value: value in (1, 2, 3),
    338: lambda value: value in (0, 1, 2, 999),
}
"""Tags that do without a value better than with a wrong one."""
_SHORT = 3


@dataclass(frozen=True, slots=True)
class Patch:
    """Bytes to be read at an offset instead of those of the file."""

    offset: int
    content: bytes

    def applied(self, position: int, read: bytes) -> bytes:
        """What was read at ``position``, changed where the patch covers it."""
        start, end = (
            max(self.offset, position),
            min(self.offset + len(self.content), position + len(read)),
        )
        if start >= end:
            return read
        new = self.content[start - self.offset : end - self.offset]
        return read[: start - position] + new + read[end - position :]


def bare(read: Read) -> Patch | None:
    """The directory reduced to what is needed; None if nothing can be left out.

    Raises `ImageError` (CorruptImage).
    """
    order, big, offset = tiff.start(read(0, 16))
    form, size, following = ("Q", 20, bytes(8)) if big else ("H", 12, bytes(4))
    head = struct.calcsize("=" + form)
    (count,) = struct.unpack(order + form, read(offset, head).ljust(head, b"\0"))
    content = read(offset + head, min(count, tiff.MOST_ENTRIES) * size)
    entries = [content[start : start + size] for start in range(0, len(content) - size + 1, size)]
    kept = [entry for entry in entries if _is_needed(entry, order, size)]
    if len(kept) == len(entries):
        return None
    return Patch(offset, struct.pack(order + form, len(kept)) + b"".join(kept) + following)


def _is_needed(entry: bytes, order: str, size: int) -> bool:
    tag, kind = struct.unpack_from(order + "HH", entry)
    if tag not in _ALLOWED:
        return tag in _NEEDED
    (value,) = struct.unpack_from(order + "H", entry, 12 if size == 20 else 8)
    return kind == _SHORT and _ALLOWED[tag](value)
