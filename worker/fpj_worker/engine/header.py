"""What an image is, before any of it is decoded; here it is refused if it is too much."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from fpj_core.errors import ErrorType, ImageError
from fpj_core.model import ImageLimits
from fpj_core.sources.base import OpenedImage, image_error_from_os
from fpj_core.sources.sniff import HEAD, sniff
from fpj_worker.engine import (
    exif,
    gif,
    jpeg,
    libvips,
    matrixprofile,
    png,
    primaries,
    taken,
    tiff,
    tiffbare,
)
from fpj_worker.engine.exif import Exif
from fpj_worker.engine.geometry import Placement
from fpj_worker.engine.gif import Frame, Mask
from fpj_worker.engine.hdr import Coding
from fpj_worker.engine.jpeg import JpegHeader
from fpj_worker.engine.pillow import PillowImage
from fpj_worker.engine.reading import reader
from fpj_worker.engine.tiff import TiffHeader
from fpj_worker.engine.tiffbare import Patch

READABLE = ("jpeg", "png", "gif", "webp", "tiff", "bmp", "avif", "heic")

_PILLOW = frozenset({"bmp", "avif", "heic"})
_WHOLE_IN_MEMORY = frozenset({"bmp", "avif", "heic", "gif", "webp"})
_IN_MEMORY = 64 * 2**20
"""JPEG files up to this size are read whole; what is larger is streamed by libvips."""
_COLOURS = 3
"""Components of a JPEG whose colours a profile of RGB can be for."""
_RIFF = 8
"""Bytes of a RIFF header, which its size leaves out."""
_JPEG_HEAD = 256 * 2**10


@dataclass(frozen=True, slots=True)
class Header:
    """``width`` and ``height`` are as stored, before orientation.

    ``memory`` is what decoding in full must hold.
    """

    format: str
    width: int
    height: int
    pages: int
    orientation: int
    memory: int
    jpeg: JpegHeader | None = None
    data: bytes | None = None
    """A JPEG's whole content, where it was read."""
    pillow: PillowImage | None = None
    shown: int | None = None
    """Bands to keep of those decoded; None for all."""

    canvas: tuple[int, int] | None = None
    """(width, height) that a GIF states for all its frames, where its decoder takes another."""

    first_frame: Frame | None = None
    """Of a GIF without transparency: what lies beside it was not painted."""

    patch: Patch | None = None
    """Without it the file cannot be read."""

    profile: bytes | None = None
    """An ICC profile of its colours, which counts more than one that it holds itself."""

    coding: Coding | None = None
    """Of HDR that Pillow does not decode."""

    narrow: bool = False
    """See `Coding`; of what Pillow does not decode."""

    captured_at: str | None = None
    """As in `ImageFacts`."""

    alpha: bool = False
    """Whether pixels are decoded with alpha."""

    @property
    def mask(self) -> Mask | None:
        """Of the first frame, 255 where it was painted.

        None if it is everywhere, or says so itself.
        """
        place = self.first_frame
        if place is None or gif.covers_all([place], self.width, self.height):
            return None
        return next(gif.covered([place], self.width, self.height))

    @property
    def upright(self) -> tuple[int, int]:
        """(width, height) after orientation."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def stored(header: Header, placement: Placement) -> tuple[int, int]:
    """(width, height) of a placement, before orientation."""
    upright = placement.width, placement.height
    return upright[::-1] if header.orientation >= 5 else upright


def read_header(opened: OpenedImage, limits: ImageLimits) -> Header:
    """Find out what the image is.

    Raises `ImageError`: UnsupportedFormat, CorruptImage, TooManyPixels, TooLarge.
    """
    head = _read(opened, HEAD)
    if not head:
        raise ImageError(ErrorType.CORRUPT_IMAGE, "the file is empty")
    image_format = sniff(head)
    if image_format is None:
        raise ImageError(
            ErrorType.UNSUPPORTED_FORMAT, "not an image: its first bytes are of no image format"
        )
    if image_format not in READABLE:
        raise ImageError(ErrorType.UNSUPPORTED_FORMAT, f"{image_format} images cannot be read")
    if image_format == "jpeg":
        header = _jpeg_header(opened)
    elif image_format in _PILLOW:
        header = _pillow_header(opened, image_format)
    else:
        header = _vips_header(opened, image_format)
    _refuse_too_many_pixels(header, limits)
    return header


def _jpeg_header(opened: OpenedImage) -> Header:
    size = len(opened.data) if opened.data is not None else _size(opened)
    whole = size <= _IN_MEMORY
    found, data = _jpeg_structure(opened, size if whole else _JPEG_HEAD, min(size, _IN_MEMORY))
    pixels = found.width * found.height
    return Header(
        format="jpeg",
        width=found.width,
        height=found.height,
        pages=1,
        orientation=found.exif.orientation or 1,
        captured_at=found.exif.captured_at or taken.from_xmp(found.xmp),
        profile=found.icc
        or (_dcf_profile(found.exif, opened) if found.components == _COLOURS else None),
        coding=_coding_of(found.icc) if found.components == _COLOURS else None,
        # A progressive file keeps all coefficients, 2 bytes each, until its last scan.
        memory=pixels * found.components * 2 if found.progressive else 0,
        jpeg=found,
        data=data if whole else None,
    )


def _jpeg_structure(opened: OpenedImage, count: int, most: int) -> tuple[JpegHeader, bytes]:
    """(structure, the first bytes), from ``count`` bytes at first:
    profiles and previews may fill megabytes.
    """
    while True:
        data = opened.data if opened.data is not None else _read(opened, count)
        try:
            return jpeg.read_header(data), data
        except ImageError:
            if count >= most:
                raise
        count = min(count * 8, most)


def _vips_header(opened: OpenedImage, image_format: str) -> Header:
    described = _tiff_header(opened) if image_format == "tiff" else None
    found, patch = _libvips_header(opened, image_format)
    stated = _tiff_exif(opened) if image_format == "tiff" else found.exif
    coding = None
    if image_format == "png":
        stated, coding = _png_statements(opened, stated)
    dcf = _dcf_profile(stated, opened) if image_format == "tiff" and not found.profile else None
    whole = image_format in _WHOLE_IN_MEMORY or found.interlaced
    canvas, first_frame = _gif_frame(opened, found) if image_format == "gif" else (None, None)
    patch = gif.believed(*canvas) if canvas else patch
    width, height = canvas or (found.width, found.height)
    return Header(
        format=image_format,
        width=width,
        height=height,
        canvas=canvas,
        first_frame=first_frame,
        alpha=found.alpha
        or (first_frame is not None and not gif.covers_all([first_frame], width, height)),
        patch=patch,
        pages=found.pages if image_format in ("gif", "webp") else 1,
        orientation=stated.orientation or 1,
        captured_at=stated.captured_at or taken.from_xmp(found.xmp),
        profile=_numbered_profile(coding, found) or dcf,
        coding=coding
        if coding and coding.is_hdr
        else None
        if coding
        else _coding_of(found.profile),
        narrow=coding is not None and coding.narrow,
        memory=width * height * max(found.pixel_bytes, 4)
        if whole
        else described.tile_row
        if described
        else 0,
        shown=described.shown if described else None,
    )


def _libvips_header(
    opened: OpenedImage, image_format: str
) -> tuple[libvips.VipsHeader, Patch | None]:
    try:
        return libvips.read_header(opened, image_format), None
    except ImageError:
        patch = (
            _webp_of_its_size(opened) if image_format == "webp" else bare_tiff(opened, image_format)
        )
        if patch is None:
            raise
    return libvips.read_header(opened, image_format, patch), patch


def bare_tiff(opened: OpenedImage, image_format: str) -> Patch | None:
    """For a TIFF that libvips refuses: its directory without what is not needed.

    Raises `ImageError`.
    """
    if image_format != "tiff":
        return None
    with reader(opened) as read:
        return tiffbare.bare(read)


def _webp_of_its_size(opened: OpenedImage) -> Patch | None:
    """For a WebP that libwebp refuses: with the file's own size, if it states another.

    Its chunks must be whole.
    """
    size = (len(opened.data) if opened.data is not None else _size(opened)) - _RIFF
    stated = _read(opened, _RIFF)[4:]
    found = struct.pack("<L", size & ~1)
    return Patch(4, found) if size < 2**32 and found != stated else None


def _tiff_exif(opened: OpenedImage) -> Exif:
    with reader(opened) as read:
        return exif.read_directory(read)


def _png_statements(opened: OpenedImage, stated: Exif) -> tuple[Exif, Coding | None]:
    """Exif that stands behind the pixels counts, too."""
    size = len(opened.data) if opened.data is not None else _size(opened)
    with reader(opened) as read:
        if stated == exif.NOTHING:
            stated = exif.parse(exif.without_prefix(png.late_exif(read, size)))
        return stated, png.coding(read)


def _numbered_profile(coding: Coding | None, found: libvips.VipsHeader) -> bytes | None:
    """A profile of what ``cICP`` says, which counts more than the PNG's own (PNG, 4.3)."""
    if coding is None or coding.is_hdr or not primaries.is_known(coding.primaries):
        return None
    if found.grey:
        return primaries.grey_profile(coding.transfer) or (
            primaries.srgb_grey() if found.profile else None
        )
    return primaries.profile(coding.primaries, coding.transfer) or (
        primaries.srgb() if found.profile else None
    )


def _coding_of(profile: bytes | None) -> Coding | None:
    """HDR by the numbers in a profile: its tables are not meant for light beyond white."""
    numbers = matrixprofile.numbers_of(profile) if profile else None
    coding = (
        Coding(numbers[1], numbers[0])
        if numbers and profile and profile[16:20] == b"RGB "
        else None
    )
    return coding if coding and coding.is_hdr else None


def _dcf_profile(stated: Exif, opened: OpenedImage) -> bytes | None:
    """Cameras embed no profile; that they took a picture in Adobe RGB they say in Exif,
    and by its name.
    """
    return primaries.adobe_rgb() if stated.is_adobe_rgb(opened.name) else None


def _gif_frame(
    opened: OpenedImage, found: libvips.VipsHeader
) -> tuple[tuple[int, int] | None, Frame | None]:
    """(the canvas, where libvips takes another; the first frame of a GIF without transparency)."""
    with reader(opened) as read:
        across, down = gif.screen(read)
        first = None if found.alpha else next(gif.frames(read, 1), None)
    stated = max(found.width, across), max(found.height, down)
    return stated if stated != (found.width, found.height) else None, first


def _tiff_header(opened: OpenedImage) -> TiffHeader:
    with reader(opened) as read:
        return tiff.read_header(read)


def _pillow_header(opened: OpenedImage, image_format: str) -> Header:
    image = PillowImage(opened, image_format)
    return Header(
        format=image_format,
        width=image.width,
        height=image.height,
        pages=1,
        orientation=image.orientation,
        captured_at=image.captured_at,
        alpha=image.alpha,
        # The decoder's frame and its conversion to RGB; at 16 bits 15.5 (HEIC) and 26 (AVIF) were
        # measured.
        memory=image.coded[0] * image.coded[1] * (26 if image.is_hdr else 8),
        pillow=image,
    )


def _refuse_too_many_pixels(header: Header, limits: ImageLimits) -> None:
    width, height = header.pillow.coded if header.pillow else (header.width, header.height)
    if width * height > limits.max_pixels:
        size = f"{width}x{height} = {width * height:,} pixels"
        raise ImageError(
            ErrorType.TOO_MANY_PIXELS, f"{size}; limits.maxPixels allows {limits.max_pixels:,}"
        )


def _read(opened: OpenedImage, count: int) -> bytes:
    if opened.data is not None:
        return opened.data[:count]
    try:
        with open(opened.path or b"", "rb", buffering=0) as stream:
            return _read_fully(stream.fileno(), count)
    except OSError as error:
        raise image_error_from_os(error, "the file") from error


def _read_fully(descriptor: int, count: int) -> bytes:
    content = os.read(descriptor, count)
    while len(content) < count and (more := os.read(descriptor, count - len(content))):
        content += more
    return content


def _size(opened: OpenedImage) -> int:
    try:
        return os.stat(opened.path or b"").st_size
    except OSError as error:
        raise image_error_from_os(error, "the file") from error
