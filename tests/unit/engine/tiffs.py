"""TIFF files written by hand: any tags, one strip."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from PIL import Image

Values = tuple[int, ...] | bytes

_BYTE, _ASCII, _SHORT, _LONG = 1, 2, 3, 4
_SIZES = {_BYTE: "B", _SHORT: "H", _LONG: "L"}


def tiff(
    image: Image.Image | tuple[int, int, bytes], tags: Mapping[int, Values], order: str = "<"
) -> bytes:
    """A file of one directory.

    ``tags`` adds to, or replaces, the tags of an uncompressed 8-bit image.

    ``image`` may be (width, height, strip). Numbers above 65,535 are written as LONG, bytes as
    ASCII.
    """
    if isinstance(image, Image.Image):
        width, height, strip, samples = *image.size, image.tobytes(), len(image.getbands())
    else:
        (width, height, strip), samples = image, 1
    photometric = {1: 1, 3: 2, 4: 5}.get(samples, 1)
    found: dict[int, Values] = {
        256: (width,),
        257: (height,),
        258: (8,) * samples,
        259: (1,),
        262: (photometric,),
        273: (8,),
        277: (samples,),
        278: (height,),
        279: (len(strip),),
    }
    found |= tags
    strip += b"\0" * (len(strip) % 2)
    return _header(order, 8 + len(strip)) + strip + directory(found, 8 + len(strip), order)


def directory(
    tags: Mapping[int, Values], offset: int, order: str = "<", following: int = 0
) -> bytes:
    """A directory to be put at ``offset``, with what does not fit into its entries behind it."""
    entries, behind = b"", b""
    end = offset + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        kind = _ASCII if isinstance(values, bytes) else _LONG if max(values) > 65_535 else _SHORT
        content = (
            values
            if isinstance(values, bytes)
            else struct.pack(f"{order}{len(values)}{_SIZES[kind]}", *values)
        )
        entries += struct.pack(f"{order}HHL", tag, kind, len(values))
        if len(content) <= 4:
            entries += content.ljust(4, b"\0")
        else:
            entries += struct.pack(f"{order}L", end + len(behind))
            behind += content + b"\0" * (len(content) % 2)
    return (
        struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}L", following) + behind
    )


def _header(order: str, first: int) -> bytes:
    return struct.pack(f"{order}2sHL", b"II" if order == "<" else b"MM", 42, first)
