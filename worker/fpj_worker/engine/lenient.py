"""Decoding a JPEG that its decoder may complain of: what is damaged,
the picture or only what stands beside it?
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

import numpy as np
import numpy.typing as npt

from fpj_core.errors import ErrorType, ImageError
from fpj_core.sources.base import OpenedImage, image_error_from_os
from fpj_worker.engine import jpeg, scans
from fpj_worker.engine.jpeg import JpegHeader
from fpj_worker.engine.reading import reader
from fpj_worker.engine.scans import Content, Picture

Decoded = npt.NDArray[np.uint8]
Attempt = Callable[[tuple[Picture, Content] | None, bool], Decoded]
"""Decodes a picture in some content, the whole file if that is None.

The flag makes any complaint an `ImageError`.
"""

_EXTRANEOUS = "extraneous bytes before marker"
_CUT_OFF_WORDS = ("premature end of jpeg", "premature end of input")
_ENDS_WITHIN = "premature end of data segment"
_PART, _ALIKE = 20, 2
"""Of the rows so many a part, and levels of difference there, count as missing."""


def decode(data: bytes, header: JpegHeader, attempt: Attempt) -> tuple[Decoded, str | None]:
    """(pixels, warning or None) of a file in memory.

    One that lacks pixels at its end is refused (CorruptImage); one that lacks only its end marker,
    or that libjpeg complains of and yet decodes, gives a warning.
    """
    return _decode(
        lambda: nullcontext(data), header, attempt, cut_off=jpeg.is_cut_off(data, header)
    )


def decode_file(
    opened: OpenedImage, header: JpegHeader, attempt: Attempt
) -> tuple[Decoded, str | None]:
    """`decode` for a file that is too large for memory.

    It is mapped once something is wrong with it, no sooner.
    """
    with reader(opened) as read:
        cut_off = jpeg.is_file_cut_off(read, os.stat(opened.path or b"").st_size, header)
    return _decode(lambda: _mapped(opened), header, attempt, cut_off=cut_off)


def _decode(
    whole: Callable[[], AbstractContextManager[Content]],
    header: JpegHeader,
    attempt: Attempt,
    *,
    cut_off: bool,
) -> tuple[Decoded, str | None]:
    warning = "the file is cut off: the JPEG end marker is missing"
    if not cut_off:
        try:
            return attempt(None, True), None
        except ImageError as complaint:
            if complaint.error_type is not ErrorType.CORRUPT_IMAGE:
                raise
            warning = complaint.message
    with whole() as data:
        trailer = scans.samsung_trailer(data)
        picture = scans.bare(data, header, trailer)
        bare = None
        for each in scans.unpadded(data, picture) if picture and cut_off else [picture]:
            if bare is None:
                bare = _decode_bare(data, each, attempt, has_trailer=trailer is not None)
    if bare is not None:
        return bare, warning
    if cut_off:
        raise ImageError(ErrorType.CORRUPT_IMAGE, warning)
    if any(words in warning.lower() for words in _CUT_OFF_WORDS):
        raise ImageError(ErrorType.CORRUPT_IMAGE, f"the file is cut off: {warning}")
    pixels = attempt(None, False)
    if _ENDS_WITHIN in warning.lower() and (picture is None or _ends_flat(pixels)):
        raise ImageError(ErrorType.CORRUPT_IMAGE, f"the file is cut off: {warning}")
    return pixels, warning


@contextmanager
def _mapped(opened: OpenedImage) -> Iterator[Content]:
    try:
        with open(opened.path or b"", "rb", buffering=0) as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise image_error_from_os(error, "the file") from error
    try:
        yield mapped
    finally:
        with suppress(BufferError):  # libvips lets go of it when its image is collected
            mapped.close()


def _ends_flat(pixels: Decoded) -> bool:
    """Whether the lower end is of one colour, as libjpeg fills in what is missing.

    Damage leaves a few blocks of it.
    """
    lower = pixels[-max(len(pixels) // _PART, 1) :].reshape(
        -1, pixels.shape[2] if pixels.ndim == 3 else 1
    )
    return bool((lower.max(axis=0) - lower.min(axis=0)).max() <= _ALIKE)


def _decode_bare(
    data: Content, picture: Picture | None, attempt: Attempt, *, has_trailer: bool
) -> Decoded | None:
    """The picture alone, if all of it is there; None if not.

    Other data may precede Samsung's trailer.
    """
    if picture is None:
        return None
    try:
        return attempt((picture, data), True)
    except ImageError as complaint:
        if complaint.error_type is not ErrorType.CORRUPT_IMAGE:
            raise
        if _EXTRANEOUS not in complaint.message or not has_trailer:
            return None
    try:
        return attempt((picture, data), False)
    except ImageError:
        return None
