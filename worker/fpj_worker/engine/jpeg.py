"""Reading a JPEG's structure (ITU-T T.81) without decoding it: microseconds, from the first few kilobytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from fpj_core.errors import ErrorType, ImageError

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_LOSSLESS_OR_ARITHMETIC = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = b"\xff\xd9"
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """``scan`` is the offset of the first scan; ``plain`` says that libjpeg's common 8-bit road can decode it."""

    width: int
    height: int
    components: int
    progressive: bool
    plain: bool
    orientation: int
    icc: bytes | None
    scan: int


def read_header(data: bytes) -> JpegHeader:
    """Walk the segments up to the first scan. Raises `ImageError` (CorruptImage) where they do not hold together."""
    frame: tuple[int, int, int, int, int] | None = None
    orientation = 1
    profile: dict[int, bytes] = {}
    position = 2
    while True:
        marker, position, content = _segment(data, position)
        if marker == _START_OF_SCAN:
            break
        if marker in _FRAMES and len(content) >= 6:
            precision, height, width, components = struct.unpack_from(">BHHB", content)
            frame = (marker, precision, height, width, components)
        elif marker == 0xE1 and content[:6] == b"Exif\0\0":
            orientation = _exif_orientation(content[6:])
        elif marker == 0xE2 and content[:12] == b"ICC_PROFILE\0" and len(content) > 14:
            profile[content[12]] = content[14:]
    if frame is None or 0 in frame[2:5]:
        raise ImageError(ErrorType.CORRUPT_IMAGE, "the JPEG header states no size")
    marker, precision, height, width, components = frame
    return JpegHeader(
        width=width,
        height=height,
        components=components,
        progressive=marker in _PROGRESSIVE,
        plain=precision == 8 and components in (1, 3) and marker not in _LOSSLESS_OR_ARITHMETIC,
        orientation=orientation,
        icc=b"".join(profile[number] for number in sorted(profile)) or None,
        scan=position,
    )


def is_cut_off(data: bytes, header: JpegHeader) -> bool:
    """Whether the end marker is missing. Entropy-coded data cannot hold its bytes, so looking for them is exact."""
    return data.rfind(_END_OF_IMAGE, header.scan) < 0


def _segment(data: bytes, position: int) -> tuple[int, int, bytes]:
    """(marker, offset of what follows, content) of the segment at ``position``; fill bytes are passed over."""
    try:
        if data[position] != 0xFF:
            raise ImageError(ErrorType.CORRUPT_IMAGE, f"not a JPEG segment at byte {position}")
        while data[position] == 0xFF:
            position += 1
        marker = data[position]
        if marker in _STANDALONE:
            return marker, position + 1, b""
        (length,) = struct.unpack_from(">H", data, position + 1)
    except (IndexError, struct.error):
        raise ImageError(ErrorType.CORRUPT_IMAGE, "the file ends within the JPEG header") from None
    end = position + 1 + max(length, 2)
    return marker, end, bytes(data[position + 3 : end])


def _exif_orientation(tiff: bytes) -> int:
    """The orientation in the first directory of an Exif block (1 to 8); 1 if there is none or it makes no sense."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(tiff[:2]))
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "L", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, directory)
        for entry in range(min(entries, 512)):
            tag, _, _, value = struct.unpack_from(order + "HHLH", tiff, directory + 2 + 12 * entry)
            if tag == _ORIENTATION_TAG:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
