"""Reading a JPEG's structure (ITU-T T.81) without decoding it: microseconds,
from the first few kilobytes.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from fpj_core.errors import ErrorType, ImageError
from fpj_worker.engine import exif
from fpj_worker.engine.exif import Exif
from fpj_worker.engine.reading import Read

FRAMES = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_LOSSLESS_OR_ARITHMETIC = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
# And lossless arithmetic coding.
_HIERARCHICAL = frozenset({0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF})
_JPEG_LS = 0xF7
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_START_OR_END_OF_IMAGE = frozenset({0xD8, 0xD9})
_COMMON_SAMPLING = frozenset({0x11, 0x12, 0x21, 0x22, 0x41})
"""Luma's sampling factors (4:4:4, 4:4:0, 4:2:2, 4:2:0, 4:1:1) where chroma's are 1 x 1."""
_MARKER = re.compile(rb"\xff+([\x01-\xfe])")
_MOST_SEGMENTS = 4_096
"""A profile takes 255 at most, extended XMP some hundreds."""
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_START_OF_SCAN = 0xDA
_BLOCK = 2**20
_END_OF_IMAGE = b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """``scan`` is the offset of the first scan; ``plain`` says that libjpeg's common 8-bit code
    path can decode it.
    """

    width: int
    height: int
    components: int
    progressive: bool
    plain: bool
    exif: Exif
    """Of several blocks, the first that states a thing counts."""
    icc: bytes | None
    xmp: bytes
    scan: int
    first_scan: bytes
    """The content of its header (T.81, B.2.3)."""


class _Frame:
    """A frame header (T.81, B.2.2): its marker and content."""

    def __init__(self, marker: int, content: bytes) -> None:
        self.marker = marker
        self.precision, self.height, self.width, self.components = struct.unpack_from(
            ">BHHB", content
        )
        self._sampling = tuple(content[7 : 6 + 3 * self.components : 3])

    @property
    def plain(self) -> bool:
        """Whether TurboJPEG decodes it."""
        if self.marker in _LOSSLESS_OR_ARITHMETIC:
            return False
        return self.components == 1 or (
            self.components == 3
            and self._sampling[0] in _COMMON_SAMPLING
            and self._sampling[1:] == (0x11, 0x11)
        )

    def refuse_unsupported(self) -> None:
        """Raise UnsupportedFormat for what no decoder here can read."""
        if self.marker == _JPEG_LS:
            raise ImageError(ErrorType.UNSUPPORTED_FORMAT, "JPEG-LS images cannot be read")
        if self.marker in _HIERARCHICAL:
            message = (
                f"JPEG images of process SOF{self.marker - 0xC0} (hierarchical and the like) cannot"
                " be read"
            )
            raise ImageError(ErrorType.UNSUPPORTED_FORMAT, message)
        if self.precision != 8:
            raise ImageError(
                ErrorType.UNSUPPORTED_FORMAT, f"JPEG images of {self.precision} bits cannot be read"
            )
        if self.components not in (1, 3, 4):
            message = f"JPEG images of {self.components} components cannot be read"
            raise ImageError(ErrorType.UNSUPPORTED_FORMAT, message)


def read_header(data: bytes) -> JpegHeader:
    """Walk the segments up to the first scan.

    Raises `ImageError`: CorruptImage where they do not hold together, UnsupportedFormat for what no
    decoder here reads.
    """
    frame: _Frame | None = None
    stated, xmp = exif.NOTHING, b""
    profile: dict[int, bytes] = {}
    position, clean = 2, True
    for _ in range(_MOST_SEGMENTS):
        clean = clean and _MARKER.match(data, position) is not None
        marker, position, content = segment(data, position)
        if marker == _START_OF_SCAN:
            break
        if marker in FRAMES and len(content) >= 6:
            frame = _Frame(marker, content)
        elif marker == 0xE1 and content[:5] == b"Exif\0":
            stated = stated.or_else(exif.parse(exif.without_prefix(content)))
        elif marker == 0xE1 and content.startswith(_XMP):
            xmp = xmp or content
        elif marker == 0xE2 and content[:12] == b"ICC_PROFILE\0" and len(content) > 14:
            profile[content[12]] = content[14:]
    else:
        raise ImageError(
            ErrorType.CORRUPT_IMAGE, f"more than {_MOST_SEGMENTS:,} segments before the picture"
        )
    if frame is None or 0 in (frame.width, frame.height, frame.components):
        raise ImageError(ErrorType.CORRUPT_IMAGE, "the JPEG header states no size")
    frame.refuse_unsupported()
    return JpegHeader(
        width=frame.width,
        height=frame.height,
        components=frame.components,
        progressive=frame.marker in _PROGRESSIVE,
        plain=clean and frame.plain,
        exif=stated,
        xmp=xmp,
        icc=b"".join(profile[number] for number in sorted(profile)) or None,
        scan=position,
        first_scan=content,
    )


def is_cut_off(data: bytes, header: JpegHeader) -> bool:
    """Whether the end marker is missing.

    Entropy-coded data cannot hold its bytes, so looking for them is exact.
    """
    return data.rfind(_END_OF_IMAGE, header.scan) < 0


def is_file_cut_off(read: Read, size: int, header: JpegHeader) -> bool:
    """`is_cut_off` for a file of ``size`` bytes, from its end: there the marker usually is."""
    stop = size
    while stop > header.scan:
        start = max(stop - _BLOCK, header.scan)
        if _END_OF_IMAGE in read(start, stop - start + 1):  # it may lie across two blocks
            return False
        stop = start
    return True


def segment(data: bytes | memoryview, position: int) -> tuple[int, int, bytes]:
    """(marker, offset of what follows, content) of the next segment.

    Anything else is skipped, as by libjpeg.
    """
    found = _MARKER.search(data, position)
    if found is None:
        raise _ends_early()
    position = found.end()
    marker = data[position - 1]
    if marker in _STANDALONE:
        return marker, position, b""
    if marker in _START_OR_END_OF_IMAGE:
        raise ImageError(
            ErrorType.CORRUPT_IMAGE,
            "the JPEG holds no picture: it ends, or starts again, in its header",
        )
    try:
        (length,) = struct.unpack_from(">H", data, position)
    except struct.error:
        raise _ends_early() from None
    end = position + max(length, 2)
    return marker, end, bytes(data[position + 2 : end])


def _ends_early() -> ImageError:
    return ImageError(ErrorType.CORRUPT_IMAGE, "the file ends within the JPEG header")
