"""Whether a file has its end.

Decoders stop with the last pixel and do not miss what should follow.
"""

from __future__ import annotations

import os

from fpj_core.sources.base import OpenedImage, image_error_from_os

_TAIL = 4_096
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_GIF_END = b"\0;"
"""The end of the last block of pixels, and the trailer."""


def warning(opened: OpenedImage, image_format: str) -> str | None:
    """What a file whose pixels are all there lacks: it was cut off nevertheless.

    None if it lacks nothing.

    An end that is hidden by foreign data after it counts as lacking: only a warning comes of that.
    """
    if image_format == "png" and _PNG_END not in _tail(opened):
        return "the file is cut off: the PNG end chunk is missing"
    if image_format == "gif" and not _tail(opened).rstrip(b"\0").endswith(_GIF_END):
        return "the file is cut off: the GIF trailer is missing"
    return None


def _tail(opened: OpenedImage) -> bytes:
    if opened.data is not None:
        return opened.data[-_TAIL:]
    try:
        with open(opened.path or b"", "rb", buffering=0) as stream:
            size = stream.seek(0, os.SEEK_END)
            return os.pread(stream.fileno(), _TAIL, max(size - _TAIL, 0))
    except OSError as error:
        raise image_error_from_os(error, "the file") from error
