"""When a photograph was taken, as RFC 3339 writes it.

Without an offset where the file states none.
"""

from __future__ import annotations

import re
from datetime import datetime

_EXIF = re.compile(r"(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_XMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?$"
)
_OFFSET = re.compile(r"[+-]\d\d:\d\d|Z")
_MOST_HOURS = 14
_STATED = re.compile(
    rb"""(?:exif:DateTimeOriginal|photoshop:DateCreated)(?:\s*=\s*["']|\s*>\s*)([0-9T:.Z+-]{10,40})"""
)
"""In XMP, as an attribute or an element."""
_MOST_XMP = 256 * 2**10


def from_exif(original: str, offset: str, fraction: str) -> str | None:
    """DateTimeOriginal, OffsetTimeOriginal and SubSecTimeOriginal (CIPA DC-008, 4.6.6).

    None if it is not a time.
    """
    found = _EXIF.match(original)
    return _written(found.groups(), fraction, offset) if found else None


def from_xmp(packet: bytes) -> str | None:
    """What XMP says of it (exif:DateTimeOriginal, photoshop:DateCreated).

    None if that has no time of day.
    """
    for stated in _STATED.findall(packet[:_MOST_XMP]):
        found = _XMP.match(stated.decode("ascii"))
        if found:
            *parts, second, fraction, offset = found.groups(default="")
            return _written((*parts, second or "00"), fraction, offset)
    return None


def _written(parts: tuple[str, ...], fraction: str, offset: str) -> str | None:
    try:
        time = datetime(*map(int, parts)).isoformat()  # type: ignore[arg-type]
    except ValueError:
        return None
    fraction = fraction if fraction.isascii() and fraction.isdigit() else ""
    return time + (f".{fraction[:9]}" if fraction else "") + (offset if _is_offset(offset) else "")


def _is_offset(offset: str) -> bool:
    if not _OFFSET.fullmatch(offset):
        return False
    return offset == "Z" or (int(offset[1:3]) <= _MOST_HOURS and int(offset[4:]) < 60)
