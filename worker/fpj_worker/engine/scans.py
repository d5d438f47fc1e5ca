"""A JPEG's scans (ITU-T T.81): whether they make up the whole picture,
and where the last of them ends.

For files that libjpeg complains of: damage outside the picture, before or after it, is no reason to
refuse one.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from fpj_core.errors import ImageError
from fpj_worker.engine import jpeg
from fpj_worker.engine.jpeg import JpegHeader

_AFTER_ENTROPY = re.compile(rb"\xff+[\x01-\xcf\xd8-\xfe]")
"""The next marker but for restarts. Coded data holds no other."""
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDD})  # Huffman, arithmetic, quantisation, restart interval
_START_OF_SCAN, _ADOBE, _JFIF = 0xDA, 0xEE, 0xE0
_CANONICAL_JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
_COEFFICIENTS = 64
_MOST_SCANS = 500
_BLOCK = 2**20
_DATA_ZEROS = 4
"""Of zeros behind a picture so many may be its own."""
_PADDING, _MOST_DIRECTORY = 64, 4_096
"""Bytes of a Samsung trailer: zeros behind it, and its directory."""

Content = bytes | mmap.mmap

_Finest = dict[tuple[int, int], int]
"""(component, coefficient) to the lowest bit of it that was sent (T.81, G.1.1.1)."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG of ``head``, the bytes from ``start`` to ``stop`` of a file, and ``TAIL``."""

    TAIL: ClassVar = b"\xff\xd9"

    head: bytes
    start: int
    stop: int

    def joined(self, data: Content) -> bytes:
        """All of it."""
        return b"".join((self.head, data[self.start : self.stop], self.TAIL))

    def read(self, data: Content, position: int, count: int) -> bytes:
        """Some bytes of it."""
        found = self.head[position : position + count]
        at = self.start + max(position - len(self.head), 0)
        found += data[at : min(at + count - len(found), self.stop)] if at < self.stop else b""
        beyond = position + len(found) - len(self.head) - (self.stop - self.start)
        return found + self.TAIL[beyond : beyond + count - len(found)] if beyond >= 0 else found

    def __len__(self) -> int:
        return len(self.head) + self.stop - self.start + len(self.TAIL)


def bare(data: Content, header: JpegHeader, before: int | None = None) -> Picture | None:
    """The picture without all that is not needed to decode it, ended after its last scan.

    None if scans are lacking.

    That scan ends at its first marker, ``before`` an offset at the latest.
    """
    try:
        with memoryview(data) as whole, whole[:before] as seen:
            end = _end(seen, header)
            head = b"\xff\xd8" + b"".join(_needed(seen, header))
        # A scan whose header states a length beyond the file ends before it begins.
        return Picture(head, header.scan, end) if end and end >= header.scan else None
    except (ImageError, IndexError):
        return None


def unpadded(data: Content, picture: Picture) -> list[Picture]:
    """The picture without the zeros at its end, and with the first of them:
    they may be of its data.

    A decoder takes zeros for data; that some are left over does not say that all of the picture is
    there.
    """
    stop = picture.stop
    while stop > picture.start and not data[max(stop - _BLOCK, picture.start) : stop].strip(b"\0"):
        stop = max(stop - _BLOCK, picture.start)
    block = data[max(stop - _BLOCK, picture.start) : stop]
    stop -= len(block) - len(block.rstrip(b"\0"))
    return [
        replace(picture, stop=end) for end in range(stop, min(stop + _DATA_ZEROS, picture.stop + 1))
    ]


def samsung_trailer(data: Content) -> int | None:
    """Where the trailer of a Samsung camera begins, which its last bytes point to.

    None if there is none.

    Its directory (SEFH) lists blocks by what they begin with; the distances beside that are not
    always right.
    """
    end = len(data[-_PADDING:].rstrip(b"\0")) + max(len(data) - _PADDING, 0)
    directory = data.rfind(b"SEFH", max(end - _MOST_DIRECTORY, 0), end)
    if directory < 0 or data[end - 4 : end] != b"SEFT":
        return None
    kinds = {data[entry : entry + 4] for entry in range(directory + 12, end - 8, 12)}
    return min(
        (found for kind in kinds if (found := data.rfind(kind, 0, directory)) >= 0),
        default=directory,
    )


def _needed(data: memoryview, header: JpegHeader) -> Iterator[bytes]:
    """The segments before the first coded data that libjpeg decodes by.

    What says JFIF says how colours are coded.
    """
    position = 2
    while position < header.scan:
        marker, end, content = jpeg.segment(data, position)
        if marker == _JFIF and content[:5] == b"JFIF\0":
            yield _CANONICAL_JFIF
        elif marker in _TABLES or marker in jpeg.FRAMES or marker in (_START_OF_SCAN, _ADOBE):
            yield bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content
        position = end


def _end(data: memoryview, header: JpegHeader) -> int | None:
    """The offset behind the scan that completes the picture."""
    finest: _Finest = {}
    position, content = header.scan, header.first_scan
    for _ in range(_MOST_SCANS):
        _note(finest, content, progressive=header.progressive)
        found = _AFTER_ENTROPY.search(data, position)
        end = found.start() if found else len(data)
        if len(finest) == header.components * _COEFFICIENTS and not any(finest.values()):
            return end
        marker, position, content = jpeg.segment(data, end)
        while marker in _TABLES:
            marker, position, content = jpeg.segment(data, position)
        if marker != _START_OF_SCAN:
            return None
    return None


def _note(finest: _Finest, scan: bytes, *, progressive: bool) -> None:
    count = scan[0]
    first, last, low = scan[1 + 2 * count], scan[2 + 2 * count], scan[3 + 2 * count] & 15
    if not progressive:
        first, last, low = 0, _COEFFICIENTS - 1, 0
    for component in scan[1 : 1 + 2 * count : 2]:
        for coefficient in range(first, min(last, _COEFFICIENTS - 1) + 1):
            finest[component, coefficient] = low
