"""What an Exif block (a TIFF of its own, CIPA DC-008) says of its picture: how to show it,
its colours, its time.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from fpj_worker.engine import taken
from fpj_worker.engine.reading import Read

_PREFIX = b"Exif\0"
_ORIENTATION, _EXIF_DIRECTORY = 0x0112, 0x8769
_ORIGINAL, _OFFSET, _FRACTION = 0x9003, 0x9011, 0x9291
_COLOUR_SPACE, _INTEROPERABILITY = 0xA001, 0xA005
_INDEX = 0x0001
_INTEGERS = {1: "B", 3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 13: "L", 16: "Q", 18: "Q"}
"""Field types: an orientation is a SHORT, but some write it as another integer."""
_TEXT = 2
_MOST_ENTRIES = 512
_MOST_TEXT = 64
_UNCALIBRATED, _ADOBE_RGB = 0xFFFF, 2
"""The second is in no standard, and in many files."""


@dataclass(frozen=True, slots=True)
class Exif:
    """``orientation`` is 1 to 8, ``captured_at`` as in `ImageFacts`.

    None where nothing is said that makes sense.
    """

    orientation: int | None = None
    captured_at: str | None = None
    adobe_rgb: bool = False
    uncalibrated: bool = False
    """The colours are not sRGB's, and the block does not say whose they are."""

    def is_adobe_rgb(self, name: str) -> bool:
        """Whether a picture without a profile is in Adobe RGB (DCF 2.0, 3.2.4:
        a name that begins with ``_``).
        """
        return self.adobe_rgb or (self.uncalibrated and name.rpartition("/")[2].startswith("_"))

    def or_else(self, other: Exif) -> Exif:
        """This one's statements, and the other's of what this one is silent on."""
        return Exif(
            self.orientation or other.orientation,
            self.captured_at or other.captured_at,
            self.adobe_rgb or other.adobe_rgb,
            self.uncalibrated or other.uncalibrated,
        )


NOTHING = Exif()


def parse(block: bytes) -> Exif:
    """What a block says; its damaged parts say nothing."""
    if block[:2] not in (b"II", b"MM"):
        return NOTHING
    return read_directory(lambda offset, count: block[offset : offset + count])


def read_directory(read: Read) -> Exif:
    """What the first directory of a TIFF says, and those that it leads to. A BigTIFF's, too."""
    head = read(0, 16).ljust(16, b"\0")
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", head, 2)[0] == 43
    (start,) = struct.unpack_from(order + ("Q" if big else "L"), head, 8 if big else 4)
    walk = _Walk(read, order, big=big)
    first = walk.directory(start, (_ORIENTATION, _EXIF_DIRECTORY))
    orientation = first.get(_ORIENTATION)
    wanted = (_ORIGINAL, _OFFSET, _FRACTION, _COLOUR_SPACE, _INTEROPERABILITY)
    inner = walk.inner(first.get(_EXIF_DIRECTORY), wanted)
    index = walk.inner(inner.get(_INTEROPERABILITY), (_INDEX,)).get(_INDEX)
    space = inner.get(_COLOUR_SPACE)
    return Exif(
        orientation=orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else None,
        captured_at=taken.from_exif(
            *(_text(inner.get(tag)) for tag in (_ORIGINAL, _OFFSET, _FRACTION))
        ),
        adobe_rgb=space == _ADOBE_RGB
        or (space in (None, _UNCALIBRATED) and _text(index).startswith("R03")),
        uncalibrated=space == _UNCALIBRATED and index is None,
    )


def without_prefix(block: bytes) -> bytes:
    """The block itself, of which formats keep more or less in front."""
    return block[6:] if block[:5] == _PREFIX else block


_Found = dict[int, int | str]


@dataclass(frozen=True, slots=True)
class _Walk:
    """Directories at given offsets."""

    read: Read
    order: str
    big: bool

    def inner(self, offset: int | str | None, wanted: Collection[int]) -> _Found:
        return self.directory(offset, wanted) if isinstance(offset, int) else {}

    def directory(self, offset: int, wanted: Collection[int]) -> _Found:
        """Tags to their values, the first of each; what is damaged is left out."""
        found: _Found = {}
        for tag, kind, count, field in self._entries(offset):
            if tag in wanted and tag not in found:
                value = self._value(kind, count, field)
                if value is not None:
                    found[tag] = value
        return found

    def _entries(self, offset: int) -> Iterator[tuple[int, int, int, bytes]]:
        form = "Q" if self.big else "H"
        head = struct.calcsize("=" + form)
        start = self.read(offset, head)
        if len(start) < head:
            return
        (count,) = struct.unpack(self.order + form, start)
        entry = struct.Struct(self.order + ("HHQ8s" if self.big else "HHL4s"))
        content = self.read(offset + head, min(count, _MOST_ENTRIES) * entry.size)
        yield from entry.iter_unpack(content[: len(content) // entry.size * entry.size])

    def _value(self, kind: int, count: int, field: bytes) -> int | str | None:
        if kind == _TEXT:
            count = min(count, _MOST_TEXT)
            if count > len(field):
                (offset,) = struct.unpack(self.order + ("Q" if self.big else "L"), field)
                field = self.read(offset, count)
            return field[:count].split(b"\0")[0].decode("ascii", "replace").strip()
        if (
            kind not in _INTEGERS
            or count < 1
            or struct.calcsize("=" + _INTEGERS[kind]) > len(field)
        ):
            return None
        return int(struct.unpack_from(self.order + _INTEGERS[kind], field)[0])


def _text(value: int | str | None) -> str:
    return value if isinstance(value, str) else ""
