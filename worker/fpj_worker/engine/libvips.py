"""Processing with libvips: every format but plain JPEG, BMP, AVIF and HEIC,
and whatever is too large for memory.

Images are streamed: libvips reads the file strip by strip and keeps only what the scaled result
needs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any, TypeVar

# Processes are the unit of parallelism; read when libvips starts.
os.environ.setdefault("VIPS_CONCURRENCY", "1")

import numpy as np
import numpy.typing as npt
import pyvips

from fpj_core.errors import ErrorType, ImageError
from fpj_core.sources.base import OpenedImage, image_error_from_os
from fpj_worker.engine import exif, hdr, matrixprofile
from fpj_worker.engine.exif import Exif
from fpj_worker.engine.scans import Content, Picture
from fpj_worker.engine.tiffbare import Patch

pyvips.cache_set_max(0)  # no image is ever decoded twice, so a cache only holds memory
pyvips.block_untrusted_set(True)

_LOADERS = {
    "jpeg": "jpegload",
    "png": "pngload",
    "gif": "gifload",
    "webp": "webpload",
    "tiff": "tiffload",
    "avif": "heifload",
}
Sample = TypeVar("Sample", np.uint8, np.uint16)

_STREAMED = ("jpeg", "avif")
_RGB = 3
_PROFILE = "icc-profile-data"
_GREY = b"GRAY"
"""A profile's space."""
_DARKEST, _BRIGHTEST = 16, 235
"""Levels of 8 bits in narrow range (ITU-R BT.2100, table 9); deeper ones are multiples."""
_SAMPLE_BYTES = {"uchar": 1, "ushort": 2}
_OUT_OF_MEMORY = ("out of memory", "failed to allocate", "cannot allocate", "insufficient memory")
_NO_ROOM = ("no space left on device", "disk quota exceeded")
_NOTHING_ASKED_FOR = "(0 elements"
"""libtiff's words for a damaged directory: it "failed to allocate" room for nothing."""
_NOISE = "source: bad seek"
"""What libheif's way of finding a file's end leaves behind."""
_UNSUPPORTED = (
    "support is not configured",
    "unsupported jpeg process",
    "unsupported jpeg data precision",
    "unsupported color conversion",
)
_COMPARED = 256 * 2**10
"""Bytes of a profile up to which it is compared with sRGB; what is remembered must stay small."""
_UNSEEN = 2
"""Levels of 255: what the tables of good sRGB profiles differ by."""
_SAMPLES = np.concatenate(
    (
        np.stack(np.meshgrid(*[range(0, 256, 51)] * 3), axis=-1).reshape(-1, 3),
        np.arange(256)[:, None].repeat(3, axis=1),
    )
).astype(np.uint8)[None]
"""Colours all over the cube and all greys, of shape (1, 472, 3)."""


@dataclass(frozen=True, slots=True)
class VipsHeader:
    """What libvips knows of an image before decoding it."""

    width: int
    height: int
    pixel_bytes: int
    pages: int
    exif: Exif
    xmp: bytes
    interlaced: bool
    alpha: bool
    grey: bool
    profile: bytes | None
    """Its own ICC profile."""


def read_header(opened: OpenedImage, image_format: str, patch: Patch | None = None) -> VipsHeader:
    """Open without decoding. Raises `ImageError` (CorruptImage)."""
    try:
        image = _load(opened, image_format, patch)
    except pyvips.Error as error:
        raise typed(error) from error
    return VipsHeader(
        width=image.width,
        height=image.height,
        pixel_bytes=image.bands * _SAMPLE_BYTES.get(image.format, 8),
        pages=_get(image, "n-pages", 1),
        exif=_exif(image),
        xmp=bytes(image.get("xmp-data")) if image.get_typeof("xmp-data") else b"",
        interlaced=bool(_get(image, "interlaced", 0)),
        alpha=bool(image.hasalpha()),
        grey=image.bands < _RGB,
        profile=bytes(image.get(_PROFILE)) if image.get_typeof(_PROFILE) else None,
    )


def decode(
    opened: OpenedImage,
    image_format: str,
    width: int,
    height: int,
    *,
    shrink: int = 1,
    shown: int | None = None,
    canvas: tuple[int, int] | None = None,
    mask: npt.NDArray[np.uint8] | None = None,
    patch: Patch | None = None,
    profile: bytes | None = None,
    coding: hdr.Coding | None = None,
    narrow: bool = False,
    picture: tuple[Picture, Content] | None = None,
    strict: bool = False,
) -> npt.NDArray[np.uint8]:
    """The first frame, scaled down to at most ``width`` x ``height`` (as stored,
    before orientation), in sRGB or grey.

    ``shrink`` is the factor (1, 2, 4, 8) by which libjpeg may scale while decoding. Bands after the
    first ``shown`` are left out. The frame is cut to the ``canvas`` (width, height) and shown where
    its ``mask`` is 255. The file is read with the ``patch``. It is in the colours of ``profile``,
    if one is given, else of its own; ``narrow`` as in `hdr.Coding`. Of a JPEG the ``picture`` is
    read, if it is given; a ``strict`` decode refuses one that libjpeg complains of.
    """
    options = {"shrink": shrink} if image_format == "jpeg" and shrink > 1 else {}
    _complaints()
    try:
        image = _load(opened, image_format, patch, picture, strict=strict, **options)
        if shown is not None and image.bands > shown:
            image = image.extract_band(0, n=shown)
        if profile is not None:
            image = image.copy()
            image.set_type(pyvips.GValue.blob_type, _PROFILE, profile)
        image = scale(on_canvas(image, canvas, mask), width, height)
        pixels = shown_as(widened(image) if narrow else image, coding)
    except pyvips.Error as error:
        raise typed(error) from error
    # Libvips does not look again behind the last lines.
    if strict and (complaints := _complaints()):
        raise ImageError(ErrorType.CORRUPT_IMAGE, complaints[0])
    return pixels


def shown_as(image: Any, coding: hdr.Coding | None) -> npt.NDArray[np.uint8]:
    """Compute the image in 8-bit sRGB or grey; HDR by its ``coding``. Raises pyvips.Error."""
    if coding is not None:
        return hdr.to_srgb(*_deep(image), coding)
    pixels: npt.NDArray[np.uint8] = to_array(to_srgb(image))
    coloured = image.bands >= _RGB and image.get_typeof(_PROFILE)
    return _greys(pixels, bytes(image.get(_PROFILE))) if coloured else pixels


def _deep(image: Any) -> tuple[npt.NDArray[np.uint16], int]:
    """(at 16 bits a sample, grey as RGB, the brightest sample)."""
    if image.bands < _RGB:
        image = image[0].bandjoin([image[0], image[0], *([image[1]] if image.hasalpha() else [])])
    pixels = to_array(image)
    return (
        (pixels, 65_535)
        if pixels.dtype == np.uint16
        else (pixels.astype(np.uint16) * np.uint16(256), 65_280)
    )


def decode_deep(opened: OpenedImage) -> tuple[npt.NDArray[np.uint16], int]:
    """(the AVIF image at 16 bits a sample, turned upright and cut to its aperture,
    how many of those bits are used).
    """
    try:
        image = _load(opened, "avif")
        bits = _get(image, "bits-per-sample", 8)
        pixels = to_array(image)
    except pyvips.Error as error:
        raise typed(error) from error
    return (
        (pixels.astype(np.uint16) * np.uint16(256), 8)
        if pixels.dtype == np.uint8
        else (pixels, bits)
    )


def load_frames(opened: OpenedImage, image_format: str, patch: Patch | None = None) -> Any:
    """All frames of an animation, one below the other, to be read once from top to bottom.

    Raises `ImageError`.
    """
    try:
        return _load(opened, image_format, patch, n=-1)
    except pyvips.Error as error:
        raise typed(error) from error


def on_canvas(
    image: Any, canvas: tuple[int, int] | None, mask: npt.NDArray[np.uint8] | None = None
) -> Any:
    """A frame cut to the canvas, transparent where the mask of that size is 0."""
    if canvas is not None:
        image = image.crop(0, 0, min(image.width, canvas[0]), min(image.height, canvas[1]))
        if (image.width, image.height) != canvas:
            image = (image if image.hasalpha() else image.bandjoin(255)).embed(
                0, 0, *canvas, extend="black"
            )
    return image if mask is None or image.hasalpha() else image.bandjoin(from_array(mask))


def without(image: Any, gone: npt.NDArray[np.uint8]) -> Any:
    """RGBA, transparent where ``gone`` is 255."""
    return (
        image[:3]
        .bandjoin(from_array(gone).ifthenelse(0, image[3]))
        .copy(interpretation=image.interpretation)
    )


def widened(image: Any) -> Any:
    """Samples of narrow range (see `hdr.Coding`), spread over all of it. Alpha always has all."""
    alpha = image.hasalpha()
    colours = image[: image.bands - 1] if alpha else image
    step, top = (1, 255) if image.format == "uchar" else (256, 65_535)
    factor = top / ((_BRIGHTEST - _DARKEST) * step)
    wide = colours.linear(factor, 0.5 - _DARKEST * step * factor).cast(image.format)
    return (wide.bandjoin(image[image.bands - 1]) if alpha else wide).copy(
        interpretation=image.interpretation
    )


def holes(data: bytes) -> npt.NDArray[np.uint8]:
    """255 for the transparent pixels of a GIF's only frame, 0 for others. Raises pyvips.Error."""
    image = pyvips.Image.gifload_buffer(data, access="sequential", fail_on="error")
    return (
        to_array(image[3] == 0)
        if image.hasalpha()
        else np.zeros((image.height, image.width), np.uint8)
    )


def scale(image: Any, width: int, height: int) -> Any:
    """Scale down, weighting colours by alpha where there is any."""
    across, down = width / image.width, height / image.height
    if across >= 1 and down >= 1:
        return image
    if not image.hasalpha():
        # Across first by whole pixels: the lines that the vertical steps must hold become short.
        image = image.shrinkh(max(image.width // (2 * width), 1))
        return image.resize(width / image.width, vscale=down)
    return image.premultiply().resize(across, vscale=down).unpremultiply().cast(image.format)


def to_srgb(image: Any) -> Any:
    """8-bit sRGB or grey: by the embedded profile where there is one,
    by the nominal colour space otherwise.
    """
    profile = image.get(_PROFILE) if image.get_typeof(_PROFILE) else None
    if image.interpretation == "cmyk":  # without a profile libvips has a built-in one
        image = image.icc_transform("srgb", embedded=True, input_profile="cmyk", depth=8)
    elif profile is not None and not is_srgb(bytes(profile)):
        image = _icc(image)
    if image.bands < 3:
        image = image.colourspace("b-w")
        if image.hasalpha():
            image = image.colourspace("srgb")
    else:
        image = image.colourspace("srgb")
    return image if image.format == "uchar" else image.cast("uchar")


def is_srgb(profile: bytes) -> bool:
    """Whether a profile changes no visible colour: then nothing needs converting.

    Its name proves nothing.

    One that cannot be used changes nothing either.
    """
    return len(profile) <= _COMPARED and _is_srgb(profile)


@lru_cache(maxsize=16)
def _is_srgb(profile: bytes) -> bool:
    if profile[16:20] != b"RGB ":
        return False
    converted = matrixprofile.to_srgb(_SAMPLES, profile)
    if converted is None:
        converted = convert_profile(_SAMPLES, profile)
    return bool(np.abs(converted.astype(int) - _SAMPLES).max() <= _UNSEEN)


def convert_profile(pixels: npt.NDArray[np.uint8], profile: bytes) -> npt.NDArray[np.uint8]:
    """Pixels in the colours of an ICC profile, as sRGB.

    A profile that cannot be used leaves them as they are.
    """
    converted = _converted(pixels, profile)
    return converted if pixels.ndim < _RGB else _greys(converted, profile)


def _greys(pixels: npt.NDArray[np.uint8], profile: bytes) -> npt.NDArray[np.uint8]:
    """By a profile of grey, pixels that were written as colours (WebP has no others) and are all
    grey.
    """
    if profile[16:20] != _GREY or pixels.ndim < _RGB:
        return pixels
    lowest, highest = (
        reduce(how, np.moveaxis(pixels[..., :3], 2, 0)) for how in (np.minimum, np.maximum)
    )
    if (highest - lowest).max() > _UNSEEN:
        return pixels
    greys = _converted(np.ascontiguousarray(pixels[..., 1]), profile)
    return np.dstack((greys, greys, greys, *pixels.transpose(2, 0, 1)[3:]))


def _converted(pixels: npt.NDArray[np.uint8], profile: bytes) -> npt.NDArray[np.uint8]:
    image = from_array(pixels)
    image.set_type(pyvips.GValue.blob_type, _PROFILE, profile)
    try:
        return to_array(_icc(image))
    except pyvips.Error:
        return pixels


def resize(pixels: npt.NDArray[Sample], width: int, height: int) -> npt.NDArray[Sample]:
    """Scale pixels down by Lanczos; with alpha so that invisible colours do not bleed into visible
    ones.
    """
    return to_array(scale(from_array(pixels), width, height))


def crop_smart(pixels: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    """The ``width`` x ``height`` that most attracts the eye (libvips' attention strategy)."""
    return to_array(from_array(pixels).smartcrop(width, height, interesting="attention"))


def from_array(pixels: npt.NDArray[Any]) -> Any:
    """An image of 8 or 16 bits over the array's memory."""
    pixels = np.ascontiguousarray(pixels)
    bands = 1 if pixels.ndim == 2 else pixels.shape[2]
    deep = pixels.dtype == np.uint16
    image = pyvips.Image.new_from_memory(
        pixels.data, pixels.shape[1], pixels.shape[0], bands, "ushort" if deep else "uchar"
    )
    names = ("grey16", "rgb16") if deep else ("b-w", "srgb")
    return image.copy(interpretation=names[bands > 1])


def to_array(image: Any) -> npt.NDArray[Any]:
    """Compute the image, of 8 or 16 bits. Raises pyvips.Error."""
    pixels = np.frombuffer(
        image.write_to_memory(), dtype=np.uint16 if image.format == "ushort" else np.uint8
    )
    shape = (
        (image.height, image.width)
        if image.bands == 1
        else (image.height, image.width, image.bands)
    )
    return pixels.reshape(shape)


def _icc(image: Any) -> Any:
    """By the embedded profile, if that can be used; what was one band of grey stays so."""
    try:
        # 16 bits would be named grey or sRGB of 8.
        converted = image.icc_transform("srgb", embedded=True, depth=8)
    except pyvips.Error:
        return image
    return (
        converted.extract_band(1).copy(interpretation="b-w")
        if image.bands == 1 < converted.bands
        else converted
    )


def _load(
    opened: OpenedImage,
    image_format: str,
    patch: Patch | None = None,
    picture: tuple[Picture, Content] | None = None,
    *,
    strict: bool = False,
    **options: Any,
) -> Any:
    """Always through the format's own loader, which (unlike thumbnail_buffer) keeps ``fail_on``."""
    loader = _LOADERS[image_format]
    options |= {"access": "sequential", "fail_on": "warning" if strict else "error"}
    if picture is not None:
        return pyvips.Image.new_from_source(_source(_Pieces(*picture)), "", **options)
    if patch is not None and opened.data is not None:
        opened = OpenedImage(opened.name, data=patch.applied(0, opened.data))
    if opened.path is not None and (image_format in _STREAMED or patch is not None):
        # Only JPEGs too large for memory come by their path. libvips would map the whole file; a
        # source is streamed. Its loader for AVIF takes a path in UTF-8 alone.
        # Keeps the source alive.
        return pyvips.Image.new_from_source(_stream(opened.path, patch), "", **options)
    if opened.path is not None:
        return getattr(pyvips.Image, loader)(opened.path, **options)
    return getattr(pyvips.Image, f"{loader}_buffer")(opened.data, **options)


def _stream(path: bytes, patch: Patch | None) -> Any:
    """The file as a libvips source that reads it piece by piece."""
    try:
        file = _File(os.open(path, os.O_RDONLY | os.O_CLOEXEC), patch)
    except OSError as error:
        raise image_error_from_os(error, "the file") from error
    return _source(file)


def _source(file: _File | _Pieces) -> Any:
    source = pyvips.SourceCustom()
    source.on_read(file.read)
    source.on_seek(file.seek)
    return source


class _Pieces:
    """A picture as a file."""

    def __init__(self, picture: Picture, data: Content) -> None:
        self._picture = picture
        self._data = data
        self._position = 0

    def read(self, count: int) -> bytes:
        found = self._picture.read(self._data, self._position, count)
        self._position += len(found)
        return found

    def seek(self, offset: int, whence: int) -> int:
        self._position = offset + (0, self._position, len(self._picture))[whence]
        return self._position


class _File:
    """A file that is closed when libvips lets go of it, which only the garbage collector learns."""

    def __init__(self, descriptor: int, patch: Patch | None) -> None:
        self._descriptor = descriptor
        self._patch = patch

    def read(self, count: int) -> bytes:
        if self._patch is None:
            return os.read(self._descriptor, count)
        position = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        return self._patch.applied(position, os.read(self._descriptor, count))

    def seek(self, offset: int, whence: int) -> int:
        return os.lseek(self._descriptor, offset, whence)

    def __del__(self) -> None:
        os.close(self._descriptor)


def _exif(image: Any) -> Exif:
    """By the Exif block itself where there is one: libvips knows an orientation as SHORT alone."""
    if image.get_typeof("exif-data"):
        return exif.parse(exif.without_prefix(bytes(image.get("exif-data"))))
    found = _get(image, "orientation", 0)
    return Exif(orientation=found if 1 <= found <= 8 else None)


def _get(image: Any, name: str, default: int) -> int:
    return int(image.get(name)) if image.get_typeof(name) else default


def _complaints() -> list[str]:
    """What decoders complained of since this was last asked, in lines."""
    said = pyvips.ffi.string(pyvips.vips_lib.vips_error_buffer()).decode("utf-8", "replace")
    pyvips.vips_lib.vips_error_clear()
    return [line[:300] for line in said.splitlines()]


def typed(error: pyvips.Error) -> ImageError:
    """What libvips and the decoders below it complain of, by their words."""
    detail = (error.detail or str(error)).strip()
    lines = [line for line in detail.splitlines() if _NOISE not in line]
    message = lines[0][:300] if lines else "libvips cannot decode it"
    words = detail.lower()
    if any(word in words for word in _UNSUPPORTED):
        return ImageError(ErrorType.UNSUPPORTED_FORMAT, message)
    if any(word in words for word in _OUT_OF_MEMORY) and _NOTHING_ASKED_FOR not in words:
        return ImageError(ErrorType.OUT_OF_MEMORY, message)
    # Of a temporary file: none is written elsewhere by libvips.
    if any(word in words for word in _NO_ROOM):
        return ImageError(ErrorType.DISK_FULL, message, environment=True)
    return ImageError(ErrorType.CORRUPT_IMAGE, message)
