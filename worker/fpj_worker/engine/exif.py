"""What an Exif block (a TIFF of its own, CIPA DC-008) says of how its picture is to be shown."""

from __future__ import annotations

import struct

_PREFIX = b"Exif\0"
_ORIENTATION = 0x0112
_INTEGERS = {1: "B", 3: "H", 4: "L", 6: "b", 8: "h", 9: "l"}
"""Field types: an orientation is a SHORT, but some write it as another integer."""
_MOST_ENTRIES = 512


def orientation(block: bytes) -> int | None:
    """The orientation in the first directory, 1 to 8; None if there is none or it makes no sense."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return None
    try:
        (directory,) = struct.unpack_from(order + "L", block, 4)
        (entries,) = struct.unpack_from(order + "H", block, directory)
        for entry in range(min(entries, _MOST_ENTRIES)):
            tag, kind, _, field = struct.unpack_from(order + "HHL4s", block, directory + 2 + 12 * entry)
            if tag == _ORIENTATION and kind in _INTEGERS:
                (value,) = struct.unpack_from(order + _INTEGERS[kind], field)
                return value if 1 <= value <= 8 else None
    except struct.error:
        pass
    return None


def without_prefix(block: bytes) -> bytes:
    """The block itself, of which formats keep more or less in front."""
    return block[6:] if block[:5] == _PREFIX else block
