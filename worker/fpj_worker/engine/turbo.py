"""Processing with libjpeg-turbo: plain JPEGs, which most photographs are.

It decodes straight to the smallest of eight scales (N/8) that still covers the target, which costs
half of what libvips needs for the same (docs/benchmarks.md).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import simplejpeg

from fpj_core.errors import ErrorType, ImageError
from fpj_worker.engine import lenient
from fpj_worker.engine.jpeg import JpegHeader
from fpj_worker.engine.scans import Content, Picture


def decode(
    data: bytes, header: JpegHeader, width: int, height: int
) -> tuple[npt.NDArray[np.uint8], str | None]:
    """(pixels at least ``width`` x ``height`` as stored, warning or None).

    Raises as `lenient.decode` does.
    """

    def attempt(part: tuple[Picture, Content] | None, strict: bool) -> npt.NDArray[np.uint8]:
        content = data if part is None else part[0].joined(part[1])
        try:
            return _decode(content, header, width, height, strict=strict)
        except ValueError as error:
            raise ImageError(ErrorType.CORRUPT_IMAGE, str(error)) from error

    return lenient.decode(data, header, attempt)


def scaled_pixels(header: JpegHeader, width: int, height: int) -> int:
    """Pixels that `decode` will hold for the target, by the scale it will choose."""
    eighths = next(
        n
        for n in range(1, 9)
        if n == 8 or (header.width * n >= width * 8 and header.height * n >= height * 8)
    )
    return (header.width * eighths // 8 + 1) * (header.height * eighths // 8 + 1)


def _decode(
    data: bytes, header: JpegHeader, width: int, height: int, *, strict: bool
) -> npt.NDArray[np.uint8]:
    colours = "GRAY" if header.components == 1 else "RGB"
    pixels = simplejpeg.decode_jpeg(
        data, colours, min_width=width, min_height=height, min_factor=1, strict=strict
    )
    return np.asarray(pixels[..., 0] if colours == "GRAY" else pixels, dtype=np.uint8)
