"""The road through Pillow: BMP (not in libvips' wheel), AVIF (twice as fast as libvips' decoder), HEIC (pillow-heif).

Pillow is imported when first needed: a child that never meets such a file saves its memory.
"""

from __future__ import annotations

import io
import os
import warnings
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fpj_core.errors import ErrorType, ImageError
from fpj_core.sources.base import OpenedImage
from fpj_worker.engine import exif, heif, libvips
from fpj_worker.engine.reading import reader


class PillowImage:
    """An opened image whose header has been read. Raises `ImageError` (CorruptImage).

    ``width`` and ``height`` are those to be shown, before orientation; ``coded`` are those that are decoded.
    """

    def __init__(self, opened: OpenedImage, image_format: str) -> None:
        try:
            self._image = _module().open(
                io.BytesIO(opened.data) if opened.data is not None else os.fsdecode(opened.path or b""),
                formats=[{"heic": "HEIF"}.get(image_format, image_format.upper())],
            )
        except Exception as error:
            raise _typed(error) from error
        self.coded: tuple[int, int] = self._image.size
        self._aperture = _aperture(opened, *self.coded) if image_format == "avif" else None
        self.width: int
        self.height: int
        self.width, self.height = self._aperture[2:] if self._aperture else self.coded
        self.orientation = _orientation(self._image) if image_format == "avif" else 1

    def decode(self) -> npt.NDArray[np.uint8]:
        """The first frame in full, in sRGB or grey, as stored, cut to its clean aperture."""
        try:
            image = self._image
            image.load()
            if self._aperture:
                left, top, width, height = self._aperture
                image = image.crop((left, top, left + width, top + height))
            profile = image.info.get("icc_profile")
            pixels = np.asarray(image.convert(_target_mode(image)))
            if self._image.format == "BMP" and pixels.ndim == 3 and not pixels[..., 3:].any():
                pixels = pixels[..., :3]  # alpha that was never filled in; browsers show such a BMP, too
        except Exception as error:
            raise _typed(error) from error
        if profile and not libvips.is_srgb(profile):
            return libvips.convert_profile(pixels, profile)
        return pixels


@cache
def _module() -> Any:
    import pillow_heif  # noqa: PLC0415 - see above
    from PIL import Image  # noqa: PLC0415

    pillow_heif.register_heif_opener()
    Image.MAX_IMAGE_PIXELS = None  # limits.maxPixels is checked on the header
    warnings.filterwarnings("ignore", module="PIL")
    return Image


def _orientation(image: Any) -> int:
    """Pillow puts the file's own rotation (irot, imir) into Exif. Its getexif() would fall back to XMP, often stale."""
    block = image.info.get("exif", b"")
    return exif.orientation(exif.without_prefix(block)) or 1


def _aperture(opened: OpenedImage, width: int, height: int) -> heif.Aperture | None:
    with reader(opened) as read:
        return heif.aperture(read, width, height)


def _target_mode(image: Any) -> str:
    if image.has_transparency_data:
        return "RGBA"
    return "L" if image.mode in ("1", "L", "I;16") else "RGB"


def _typed(error: Exception) -> ImageError:
    if isinstance(error, MemoryError):
        return ImageError(ErrorType.OUT_OF_MEMORY, "the memory limit of one image was reached")
    words = str(error).replace("\n", " ")[:300] or type(error).__name__
    unsupported = words.lower().startswith("unsupported")
    return ImageError(ErrorType.UNSUPPORTED_FORMAT if unsupported else ErrorType.CORRUPT_IMAGE, words)
