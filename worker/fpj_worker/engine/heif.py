"""What the boxes of an AVIF or HEIC file say of its primary image (ISO/IEC 14496-12, 23008-12),
without decoding it.

The clean aperture (``clap``; 14496-12, 12.1.4) Pillow's decoder leaves to its caller; for HEIC,
libheif applies it. How colours are coded (``colr``) no decoder here passes on in full.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from fpj_worker.engine import codedcolours, matrixprofile
from fpj_worker.engine.hdr import Coding
from fpj_worker.engine.reading import Read

_MOST_META = 4 * 2**20
_MOST_BOXES = 4_096
_UNSPECIFIED = 2
"""Of transfer characteristics (ITU-T H.273, table 3)."""
_FULL_BOX = 4
"""Bytes of version and flags."""

_MONOCHROME, _FULL_RANGE = 0x10, 0x80
"""Flags in ``av1C`` (AV1-ISOBMFF, 2.3.3) and ``nclx`` (14496-12, 12.1.5)."""

_PROFILES = (b"prof", b"rICC")
_COLOURS = frozenset((b"nclx", *_PROFILES))
_CODED = b"coded"
"""Not a box: colours as the coded picture itself states them, in two bytes."""
_MOST_CODED = 256
"""Bytes in which a coded picture's sequence header is looked for."""

Aperture = tuple[int, int, int, int]
"""Left, top, width and height of what belongs to the picture, in pixels as stored."""


Properties = Mapping[bytes, bytes]
"""Content by kind of box; a ``colr`` is called by its own kind (``nclx``, ``prof``)."""


def primary(read: Read) -> Properties:
    """The properties of the primary image; none where they are invalid."""
    try:
        return _primary(read, _meta(read))
    except (struct.error, IndexError):
        return {}


def aperture(properties: Properties, width: int, height: int) -> Aperture | None:
    """What is to be shown of an image of ``width`` x ``height``.

    None for all, or where the property is invalid.
    """
    clap = properties.get(b"clap", b"")
    numbers = struct.unpack_from(">LLLLlLlL", clap) if len(clap) >= 32 else (0, 0)
    if 0 in numbers[1::2]:
        return None
    across, down, right, lower = (numbers[at] / numbers[at + 1] for at in (0, 2, 4, 6))
    left, top = round(right + (width - across) / 2), round(lower + (height - down) / 2)
    shown = round(across), round(down)
    if min(left, top) < 0 or min(shown) < 1 or left + shown[0] > width or top + shown[1] > height:
        return None
    return left, top, *shown


def coding(properties: Properties) -> Coding | None:
    """How samples stand for light, with the brightest of it (``clli``); None where nothing is said.

    By ``nclx``, or by the same numbers in an ICC profile, whose tables are not meant for light
    beyond white; without either, by the coded picture.
    """
    nclx, levels = properties.get(b"nclx", b""), properties.get(b"clli", b"")
    stated = struct.unpack_from(">HH", nclx) if len(nclx) >= 4 else None
    if stated is None or stated[1] == _UNSPECIFIED:
        coded = tuple(properties.get(_CODED, b"")) or stated
        stated = matrixprofile.numbers_of(profile(properties) or b"") or coded
    if stated is None:
        return None
    brightest = struct.unpack_from(">H", levels)[0] if len(levels) >= 2 else 0
    return (
        Coding(stated[1], stated[0], float(brightest))
        if brightest
        else Coding(stated[1], stated[0])
    )


def is_narrow_grey(properties: Properties) -> bool:
    """Whether an AVIF has no colours, and ``nclx`` says that its samples are of narrow range (see
    `Coding`).

    libheif does not spread these, as it does with colours.
    """
    coded, nclx = properties.get(b"av1C", b""), properties.get(b"nclx", b"")
    return (
        len(coded) >= 3
        and bool(coded[2] & _MONOCHROME)
        and len(nclx) >= 7
        and not nclx[6] & _FULL_RANGE
    )


def _primary(read: Read, meta: bytes) -> Properties:
    boxes = dict(_boxes(meta, _FULL_BOX))
    named = boxes.get(b"pitm")
    if named is None:
        return {}
    item = _unsigned(named, _FULL_BOX, 2 if named[0] == 0 else 4)
    found: dict[bytes, bytes] = {}
    for kind, content in _properties(boxes.get(b"iprp", b""), item):
        if kind == b"colr":
            found.setdefault(content[:4], content[4:])
        else:
            found.setdefault(kind, content)
    part = _first_part(boxes.get(b"iref", b""), item)
    if not found.keys() & _COLOURS:  # a grid may leave them to its pictures
        found |= _colours(boxes.get(b"iprp", b""), part)
    if profile(found) is None and (numbers := _coded(read, boxes, part)):
        found[_CODED] = bytes(numbers)
    return found


def profile(properties: Properties) -> bytes | None:
    """The ICC profile, of a grid also its first picture's."""
    return next((properties[kind] for kind in _PROFILES if kind in properties), None)


def _colours(iprp: bytes, item: int) -> dict[bytes, bytes]:
    """The ``colr`` boxes of an item, by their own kinds."""
    stated = [content for kind, content in _properties(iprp, item) if kind == b"colr"]
    return {content[:4]: content[4:] for content in reversed(stated)}


def _coded(read: Read, boxes: Mapping[bytes, bytes], part: int) -> codedcolours.Numbers | None:
    """What a coded picture itself states."""
    for kind, content in _properties(boxes.get(b"iprp", b""), part):
        if kind == b"hvcC":
            return codedcolours.of_hevc(content)
        if kind == b"av1C":
            place = _place(boxes.get(b"iloc", b""), part)
            stated = codedcolours.of_av1(content[4:])
            return stated or (
                codedcolours.of_av1(read(place, _MOST_CODED)) if place is not None else None
            )
    return None


def _first_part(iref: bytes, item: int) -> int:
    """The first item that a derived one (``dimg``) is made of.

    The item itself if it is made of none.
    """
    width = 4 if iref[:1] == b"\1" else 2
    for kind, content in _boxes(iref, _FULL_BOX):
        if kind == b"dimg" and _unsigned(content, 0, width) == item:
            return _unsigned(content, width + 2, width)
    return item


def _place(iloc: bytes, item: int) -> int | None:
    """Where in the file an item's data begins (14496-12, 8.11.3); None if it lies elsewhere."""
    version = iloc[0]
    sizes = iloc[4] >> 4, iloc[4] & 15, iloc[5] >> 4, (iloc[5] & 15) * (version > 0)
    width = 4 if version == 2 else 2
    position = 6 + width
    for _ in range(min(_unsigned(iloc, 6, width), len(iloc))):
        found = _unsigned(iloc, position, width)
        position += width
        method = 0
        if version:
            method = _unsigned(iloc, position, 2) & 15
            position += 2
        position += 2
        base = _unsigned(iloc, position, sizes[2])
        position += sizes[2]
        extents = _unsigned(iloc, position, 2)
        position += 2
        if found == item:
            return (
                base + _unsigned(iloc, position + sizes[3], sizes[0])
                if extents and not method
                else None
            )
        position += extents * (sizes[3] + sizes[0] + sizes[1])
    return None


def is_sequence_alone(read: Read) -> bool:
    """Whether a file has tracks (``moov``), and no still image beside them."""
    kinds = {kind for kind, _, _ in _outermost(read)}
    return b"moov" in kinds and b"meta" not in kinds


def _meta(read: Read) -> bytes:
    """The content of the file's ``meta`` box; nothing if there is none."""
    for kind, position, size in _outermost(read):
        if kind == b"meta":
            return read(position, min(size, _MOST_META))
    return b""


def _outermost(read: Read) -> Iterator[tuple[bytes, int, int]]:
    """(kind, offset of the content, its size) of the file's boxes."""
    position = 0
    for _ in range(_MOST_BOXES):
        head = read(position, 16)
        if len(head) < 8:
            return
        size, kind = struct.unpack_from(">L4s", head)
        start = 8
        if size == 1 and len(head) == 16:
            (size,), start = struct.unpack_from(">Q", head, 8), 16
        yield kind, position + start, size - start if size else _MOST_META
        if size < start:
            return  # it reaches to the end of the file, or is invalid
        position += size


def _boxes(content: bytes, position: int = 0) -> Iterator[tuple[bytes, bytes]]:
    while position + 8 <= len(content):
        size, kind = struct.unpack_from(">L4s", content, position)
        start = 8
        if size == 1:
            (size,), start = struct.unpack_from(">Q", content, position + 8), 16
        end = position + size if size else len(content)
        if end < position + start:
            return
        yield kind, content[position + start : end]
        position = end


def _properties(iprp: bytes, item: int) -> Iterator[tuple[bytes, bytes]]:
    """The properties of an item, in the order in which they are to be applied."""
    known: list[tuple[bytes, bytes]] = []
    for kind, content in _boxes(iprp):
        if kind == b"ipco":
            known = [*_boxes(content)]
        elif kind == b"ipma":
            yield from (
                known[number - 1]
                for number in _associated(content, item)
                if 0 < number <= len(known)
            )


def _associated(ipma: bytes, item: int) -> list[int]:
    """The numbers, from 1, of an item's properties."""
    wide = bool(ipma[3] & 1)
    width = 2 if ipma[0] == 0 else 4
    step, mask = (2, 0x7FFF) if wide else (1, 0x7F)
    position = _FULL_BOX + 4
    for _ in range(min(_unsigned(ipma, _FULL_BOX, 4), len(ipma))):
        found, count = _unsigned(ipma, position, width), ipma[position + width]
        position += width + 1
        if found == item:
            return [_unsigned(ipma, position + step * at, step) & mask for at in range(count)]
        position += step * count
    return []


def _unsigned(content: bytes, position: int, size: int) -> int:
    if position + size > len(content):
        raise struct.error("the box is too short")
    return int.from_bytes(content[position : position + size], "big")
