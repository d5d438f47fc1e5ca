"""AVIF and HEIC files of several coded pictures, box by box (ISO/IEC 23008-12)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from PIL import Image
from unit.engine.pictures import encoded
from unit.engine.test_aperture import box

from fpj_worker.engine import heif
from fpj_worker.engine.reading import Read

Colour = tuple[int, int, int]
SIDE = 64
"""Pixels of a tile's sides."""
_KINDS = {"AVIF": (b"avif", b"av01", b"av1C"), "HEIF": (b"heic", b"hvc1", b"hvcC")}


def nclx(primaries: int, transfer: int) -> bytes:
    return b"nclx" + struct.pack(">HHHB", primaries, transfer, 6, 0x80)


def grid(
    image_format: str,
    colours: Sequence[Colour],
    *,
    of_grid: bytes | None = None,
    of_tiles: bytes | None = None,
    further: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    """Two rows of two tiles.

    ``of_grid`` and ``of_tiles`` are their ``colr``; ``further`` properties are the grid's.
    """
    brand, kind, configuration = _KINDS[image_format]
    tiles = [_coded(image_format, colour, configuration) for colour in colours]
    items = [(1, b"grid", struct.pack(">4BHH", 0, 0, 1, 1, 2 * SIDE, 2 * SIDE))]
    items += [(2 + number, kind, content) for number, (_, content) in enumerate(tiles)]
    properties = [box(configuration, tiles[0][0]), _size(SIDE), _size(2 * SIDE)]
    properties += [
        box(b"colr", each) if each else box(b"free", b"") for each in (of_grid, of_tiles)
    ]
    properties += [box(name, content) for name, content in further]
    of_each = {
        1: [3, *([4] if of_grid else []), *(0x80 | 6 + number for number in range(len(further)))]
    }
    of_each |= {item: [0x81, 2, *([5] if of_tiles else [])] for item in range(2, 6)}
    named = b"".join(
        struct.pack(">HB", item, len(those)) + bytes(those) for item, those in of_each.items()
    )
    infos = b"".join(
        _full(b"infe", struct.pack(">HH4sx", item, 0, name), 2) for item, name, _ in items
    )
    parts = [
        _full(b"hdlr", bytes(4) + b"pict" + bytes(13)),
        _full(b"pitm", b"\0\1"),
        _full(b"iinf", struct.pack(">H", len(items)) + infos),
        _full(b"iref", box(b"dimg", struct.pack(">6H", 1, 4, 2, 3, 4, 5))),
        box(
            b"iprp",
            box(b"ipco", b"".join(properties)) + _full(b"ipma", struct.pack(">L", 5) + named),
        ),
    ]
    head = box(b"ftyp", brand + bytes(4) + b"mif1miaf" + brand)
    content = [data for _, _, data in items]
    start = len(head) + len(_meta(parts, content, 0)) + 8
    return head + _meta(parts, content, start) + box(b"mdat", b"".join(content))


def _coded(image_format: str, colour: Colour, configuration: bytes) -> tuple[bytes, bytes]:
    options = {"subsampling": "4:4:4", "speed": 9} if image_format == "AVIF" else {"chroma": 444}
    data = encoded(Image.new("RGB", (SIDE, SIDE), colour), image_format, quality=97, **options)
    read: Read = lambda offset, count: data[offset : offset + count]  # noqa: E731
    found = heif.primary(read)[configuration]
    places = data[data.index(b"iloc") + 4 :]
    start = int.from_bytes(data[data.index(b"pitm") + 8 :][:2], "big")
    place = heif._place(places, start)
    return found, data[place:]


def _meta(parts: Sequence[bytes], content: Sequence[bytes], start: int) -> bytes:
    places = b""
    for number, each in enumerate(content, 1):
        places += struct.pack(">HHHLL", number, 0, 1, start, len(each))
        start += len(each)
    return _full(
        b"meta",
        b"".join(parts) + _full(b"iloc", b"\x44\0" + struct.pack(">H", len(content)) + places),
    )


def _size(side: int) -> bytes:
    return _full(b"ispe", struct.pack(">LL", side, side))


def _full(kind: bytes, content: bytes, version: int = 0) -> bytes:
    return box(kind, bytes((version, 0, 0, 0)) + content)
