"""Decoding with Pillow: BMP (not in libvips' wheel), AVIF (twice as fast as libvips' decoder),
HEIC (pillow-heif).

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
from fpj_worker.engine import exif, hdr, heif, libvips, primaries, taken
from fpj_worker.engine.pixels import Pixels, resize
from fpj_worker.engine.reading import reader


class PillowImage:
    """An opened image whose header has been read. Raises `ImageError` (CorruptImage).

    ``width`` and ``height`` are those to be shown, before orientation; ``coded`` are those that are
    decoded.
    """

    def __init__(self, opened: OpenedImage, image_format: str) -> None:
        try:
            self._image = _module().open(
                io.BytesIO(opened.data)
                if opened.data is not None
                else os.fsdecode(opened.path or b""),
                formats=[{"heic": "HEIF"}.get(image_format, image_format.upper())],
            )
        except Exception as error:
            if image_format != "bmp" and _is_sequence(opened):
                message = f"{image_format} sequences without a still image cannot be read"
                raise ImageError(ErrorType.UNSUPPORTED_FORMAT, message) from error
            raise _typed(error) from error
        self.coded: tuple[int, int] = self._image.size
        properties = _properties(opened) if image_format != "bmp" else {}
        self._aperture = heif.aperture(properties, *self.coded) if image_format == "avif" else None
        self._coding = heif.coding(properties)
        self._profile = heif.profile(properties)
        self._narrow = heif.is_narrow_grey(properties)
        self.width: int
        self.height: int
        self.width, self.height = self._aperture[2:] if self._aperture else self.coded
        # Pillow puts the file's own rotation (irot, imir) into Exif. Its getexif() would fall back
        # to XMP, often stale.
        stated = exif.parse(exif.without_prefix(self._image.info.get("exif") or b""))
        self.orientation = (stated.orientation or 1) if image_format == "avif" else 1
        self.captured_at = stated.captured_at or taken.from_xmp(self._image.info.get("xmp") or b"")
        self.alpha = bool(self._image.has_transparency_data)
        self._opened = opened
        self.is_hdr = self._coding is not None and self._coding.is_hdr
        if self.is_hdr and self.orientation >= 5:  # its decoder turns it
            self.width, self.height = self.height, self.width
        if self.is_hdr:
            self.orientation = 1

    def _nominal(self, *, grey: bool) -> bytes | None:
        """A profile of what the boxes say, where that is other than sRGB."""
        if self._coding is None:
            return None
        if grey:
            return primaries.grey_profile(self._coding.transfer)
        return primaries.profile(self._coding.primaries, self._coding.transfer)

    def scaled(self, width: int, height: int) -> Pixels:
        """The first frame, scaled down to ``width`` x ``height`` as stored, in sRGB or grey."""
        if self._coding is None or not self.is_hdr:
            return resize(self.decode(), width, height)
        try:
            self._image.close()
            deep, bits = _deep(self._opened, self._image.format)
            deep = libvips.resize(deep, width, height)
            if self._narrow:
                deep = libvips.to_array(libvips.widened(libvips.from_array(deep)))
        except Exception as error:
            raise _typed(error) from error
        return hdr.to_srgb(deep, (2**bits - 1) << (16 - bits), self._coding)

    def decode(self) -> npt.NDArray[np.uint8]:
        """The first frame in full, in sRGB or grey, as stored, cut to its clean aperture."""
        try:
            image = self._image
            image.load()
            if self._aperture:
                left, top, width, height = self._aperture
                image = image.crop((left, top, left + width, top + height))
            pixels = np.asarray(image.convert(_target_mode(image)))
            profile = (
                image.info.get("icc_profile")
                or self._profile
                or self._nominal(grey=pixels.ndim == 2)
            )
            if self._image.format == "BMP" and pixels.ndim == 3 and not pixels[..., 3:].any():
                # Alpha that was never filled in; browsers show such a BMP, too.
                pixels = pixels[..., :3]
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


def _properties(opened: OpenedImage) -> heif.Properties:
    with reader(opened) as read:
        return heif.primary(read)


def _is_sequence(opened: OpenedImage) -> bool:
    with reader(opened) as read:
        return heif.is_sequence_alone(read)


def _deep(opened: OpenedImage, image_format: str) -> tuple[npt.NDArray[np.uint16], int]:
    """(pixels of 16 bits a sample, turned upright and cut, how many of those bits are used).

    pillow-heif has no decoder for AVIF, and libvips none for HEIC.
    """
    if image_format == "AVIF":
        return libvips.decode_deep(opened)
    import pillow_heif  # noqa: PLC0415 - see above

    with (
        io.BytesIO(opened.data)
        if opened.data is not None
        else open(opened.path or b"", "rb") as file
    ):
        image = pillow_heif.open_heif(file, convert_hdr_to_8bit=False)
        pixels = np.asarray(image)
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint16) * np.uint16(256), 8
    return pixels, int(image.info.get("bit_depth", 10))


def _target_mode(image: Any) -> str:
    if image.has_transparency_data:
        return "RGBA"
    return "L" if image.mode in ("1", "L", "I;16") else "RGB"


def _typed(error: Exception) -> ImageError:
    if isinstance(error, ImageError):
        return error
    if isinstance(error, MemoryError):
        return ImageError(ErrorType.OUT_OF_MEMORY, "the memory limit of one image was reached")
    words = str(error).replace("\n", " ")[:300] or type(error).__name__
    if words.startswith("cannot identify image file"):  # and which, by its path
        words = "its header is invalid"
    unsupported = words.lower().startswith("unsupported")
    return ImageError(
        ErrorType.UNSUPPORTED_FORMAT if unsupported else ErrorType.CORRUPT_IMAGE, words
    )
