"""Is what was encoded a picture? Checked before anything is written."""

from __future__ import annotations

import numpy as np
import pyvips
import simplejpeg

from fpj_core.errors import ErrorType, ImageError
from fpj_core.model import Format
from fpj_core.sources.base import OpenedImage
from fpj_worker.engine import jpeg, libvips
from fpj_worker.engine.pillow import PillowImage
from fpj_worker.engine.pixels import Pixels, bands, spread

_VISIBLE = 24
"""A spread of samples that no encoder flattens to nothing."""
_NEAR = 12
"""Levels by which flattening may miss the mean; a JPEG of low quality misses it by more."""
_TABLES, _SCAN = 0xDB, 0xDA
_TABLE = 65
"""Bytes of a quantisation table of 8 bits, with its number (ITU-T T.81, B.2.4.1)."""
_REACH = (1 + 1.772) / 2 / 8
"""Of the step of a mean: that is of 8 samples, and half of it lost in brightness and in colour
shows in blue most.
"""


def validate(data: bytes, image_format: Format, pixels: Pixels) -> None:
    """Check that ``data`` decodes to the dimensions of ``pixels`` and is not blank where they are
    not.

    A JPEG is decoded at an eighth of its size: every bit of its entropy-coded data is still read.
    Raises `ImageError` (Internal).
    """
    height, width = pixels.shape[:2]
    try:
        seen_width, seen_height, decoded = (
            _decode_jpeg(data) if image_format is Format.JPEG else _decode(data, image_format)
        )
    except (ValueError, pyvips.Error, ImageError) as error:
        raise ImageError(
            ErrorType.INTERNAL, f"the encoded image does not decode: {error}"
        ) from error
    if (seen_width, seen_height) != (width, height):
        message = f"the encoded image is {seen_width}x{seen_height}, not {width}x{height}"
        raise ImageError(ErrorType.INTERNAL, message)
    suspect = spread(decoded) == 0 and spread(pixels) >= _VISIBLE and min(decoded.shape[:2]) >= 4
    if suspect and _is_blank(data if image_format is Format.JPEG else decoded, pixels):
        raise ImageError(ErrorType.INTERNAL, "the encoded image is blank and the source is not")


def _is_blank(encoded: bytes | Pixels, pixels: Pixels) -> bool:
    """Whether all is of one colour, and of another than the source on average.

    A JPEG is looked at in full: fine patterns and colours of one brightness do not show in an
    eighth of its grey. An encoder may flatten them, as it may a faint speck; what is left then is
    their mean.
    """
    near: float = _NEAR
    if isinstance(encoded, bytes):
        near = max(near, _coarsest_step(encoded) * _REACH)
        encoded = np.asarray(
            simplejpeg.decode_jpeg(encoded, "GRAY" if bands(pixels) == 1 else "RGB"), dtype=np.uint8
        )
    samples = encoded.reshape(-1, encoded.shape[2] if encoded.ndim == 3 else 1)
    if (samples.max(axis=0) != samples.min(axis=0)).any():
        return False
    source = pixels.reshape(-1, bands(pixels)).mean(axis=0)
    count = min(len(source), samples.shape[1])
    return bool(np.abs(samples[0, :count] - source[:count]).max() > near)


def _coarsest_step(data: bytes) -> int:
    """In which one of our JPEGs states the means of its blocks."""
    marker, position, steps = 0, 2, [0]
    while marker != _SCAN:
        marker, position, content = jpeg.segment(data, position)
        if marker == _TABLES:
            steps += content[1::_TABLE]
    return max(steps)


def _decode_jpeg(data: bytes) -> tuple[int, int, Pixels]:
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    pixels = simplejpeg.decode_jpeg(
        data, "GRAY", min_width=1, min_height=1, min_factor=8, fastdct=True, fastupsample=True
    )
    return width, height, pixels[..., 0]


def _decode(data: bytes, image_format: Format) -> tuple[int, int, Pixels]:
    if image_format is Format.AVIF:
        pixels = PillowImage(OpenedImage(name="output", data=data), "avif").decode()
    else:
        image = pyvips.Image.new_from_buffer(data, "", access="sequential", fail_on="error")
        pixels = libvips.to_array(image)
    return pixels.shape[1], pixels.shape[0], pixels
