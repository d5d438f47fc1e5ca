"""The road through libjpeg-turbo: plain JPEGs, which most photographs are.

It decodes straight to the smallest of eight scales (N/8) that still covers the target, which costs half of what
libvips needs for the same (docs/benchmarks.md).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import simplejpeg

from fpj_core.errors import ErrorType, ImageError
from fpj_worker.engine import scans
from fpj_worker.engine.jpeg import JpegHeader, is_cut_off

_EXTRANEOUS = "extraneous bytes before marker"
_CUT_OFF_WORDS = ("premature end of jpeg", "premature end of input")


def decode(data: bytes, header: JpegHeader, width: int, height: int) -> tuple[npt.NDArray[np.uint8], str | None]:
    """(pixels at least ``width`` x ``height`` as stored, warning or None).

    A file that lacks pixels at its end is refused (CorruptImage); one that lacks only its end marker, or that libjpeg
    complains of and yet decodes, gives a warning.
    """
    warning = "the file is cut off: the JPEG end marker is missing"
    cut_off = is_cut_off(data, header)
    if not cut_off:
        try:
            return _decode(data, header, width, height, strict=True), None
        except ValueError as complaint:
            warning = str(complaint)
    pixels = _decode_bare(data, header, width, height)
    if pixels is not None:
        return pixels, warning
    if cut_off:
        raise ImageError(ErrorType.CORRUPT_IMAGE, warning)
    if any(words in warning.lower() for words in _CUT_OFF_WORDS):
        raise ImageError(ErrorType.CORRUPT_IMAGE, f"the file is cut off: {warning}")
    try:
        return _decode(data, header, width, height, strict=False), warning
    except ValueError as error:
        raise ImageError(ErrorType.CORRUPT_IMAGE, str(error)) from error


def _decode_bare(data: bytes, header: JpegHeader, width: int, height: int) -> npt.NDArray[np.uint8] | None:
    """The picture alone, if all of it is there; None if not. Before Samsung's trailer may stand what is no picture."""
    trailer = scans.samsung_trailer(data)
    picture = scans.bare(data, header, trailer)
    if picture is None:
        return None
    try:
        return _decode(picture, header, width, height, strict=True)
    except ValueError as complaint:
        if _EXTRANEOUS not in str(complaint) or trailer is None:
            return None
    try:
        return _decode(picture, header, width, height, strict=False)
    except ValueError:
        return None


def scaled_pixels(header: JpegHeader, width: int, height: int) -> int:
    """Pixels that `decode` will hold for the target, by the scale it will choose."""
    eighths = next(
        n for n in range(1, 9) if n == 8 or (header.width * n >= width * 8 and header.height * n >= height * 8)
    )
    return (header.width * eighths // 8 + 1) * (header.height * eighths // 8 + 1)


def _decode(data: bytes, header: JpegHeader, width: int, height: int, *, strict: bool) -> npt.NDArray[np.uint8]:
    colours = "GRAY" if header.components == 1 else "RGB"
    pixels = simplejpeg.decode_jpeg(data, colours, min_width=width, min_height=height, min_factor=1, strict=strict)
    return np.asarray(pixels[..., 0] if colours == "GRAY" else pixels, dtype=np.uint8)
