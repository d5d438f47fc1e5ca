"""Encoding pixels.

Settings per format come from measurements of time against size (docs/benchmarks.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyvips
import simplejpeg

from fpj_core.errors import ErrorType, ImageError
from fpj_core.model import Format, TierSpec
from fpj_worker.engine import libvips
from fpj_worker.engine.pixels import Pixels, bands

EXTENSIONS = {Format.JPEG: "jpg", Format.WEBP: "webp", Format.AVIF: "avif", Format.PNG: "png"}

_KEPT_BY_ORIGINAL = {
    "jpeg": Format.JPEG,
    "png": Format.PNG,
    "webp": Format.WEBP,
    "avif": Format.AVIF,
}
_WEBP_EFFORT = 2
_AVIF_EFFORT = 0
"""The encoder's default (4) takes 35 times as long for a tenth fewer bytes."""
_PNG_COMPRESSION = 6


def output_format(tier: TierSpec, source_format: str, *, alpha: bool) -> Format:
    """The tier's format; ``original`` keeps the source's where it can be written,
    else PNG with alpha, else JPEG.
    """
    if tier.format is not Format.ORIGINAL:
        return tier.format
    return _KEPT_BY_ORIGINAL.get(source_format, Format.PNG if alpha else Format.JPEG)


def encode(pixels: Pixels, image_format: Format, tier: TierSpec) -> bytes:
    """Encode without any metadata. For JPEG the pixels must have no alpha."""
    if image_format is Format.JPEG:
        return _jpeg(pixels, tier.quality)
    return save(libvips.from_array(pixels), image_format, tier.quality)


def lossless_webp(pixels: Pixels) -> bytes:
    """Encode to the last bit."""
    return bytes(libvips.from_array(pixels).webpsave_buffer(lossless=True, exact=True, keep="none"))


def save(image: Any, image_format: Format, quality: int) -> bytes:
    """Encode a libvips image (with its frames, for WebP). Raises `ImageError` (Internal)."""
    try:
        if image_format is Format.WEBP:
            return bytes(image.webpsave_buffer(Q=quality, effort=_WEBP_EFFORT, keep="none"))
        if image_format is Format.AVIF:
            return bytes(
                image.heifsave_buffer(
                    Q=quality, effort=_AVIF_EFFORT, compression="av1", keep="none"
                )
            )
        return bytes(image.pngsave_buffer(compression=_PNG_COMPRESSION, keep="none"))
    except pyvips.Error as error:
        raise ImageError(
            ErrorType.INTERNAL, f"cannot encode {image_format}: {str(error).strip()[:300]}"
        ) from error


def _jpeg(pixels: Pixels, quality: int) -> bytes:
    """4:2:0 without optimised Huffman tables: a quarter of the time for 2 % more bytes."""
    if bands(pixels) == 1:
        grey = np.ascontiguousarray(pixels[..., None])
        return bytes(
            simplejpeg.encode_jpeg(
                grey, quality=quality, colorspace="GRAY", colorsubsampling="Gray"
            )
        )
    return bytes(
        simplejpeg.encode_jpeg(
            np.ascontiguousarray(pixels), quality=quality, colorsubsampling="420"
        )
    )
