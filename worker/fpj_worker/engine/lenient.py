"""Decoding a JPEG that its decoder may complain of: what is damaged, the picture or only what stands beside it?"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
import numpy.typing as npt

from fpj_core.errors import ErrorType, ImageError
from fpj_core.sources.base import OpenedImage, image_error_from_os
from fpj_worker.engine import jpeg, scans
from fpj_worker.engine.jpeg import JpegHeader
from fpj_worker.engine.scans import Content, Picture

Decoded = npt.NDArray[np.uint8]
Attempt = Callable[[Picture | None, bool], Decoded]
"""Decodes a picture, the whole file if that is None. The flag says that any complaint is an `ImageError`."""

_EXTRANEOUS = "extraneous bytes before marker"
_CUT_OFF_WORDS = ("premature end of jpeg", "premature end of input")
_ENDS_WITHIN = "premature end of data segment"
_PART, _ALIKE = 20, 2
"""Of the rows so many a part, and levels of difference there, count as missing."""


def decode(data: Content, header: JpegHeader, attempt: Attempt) -> tuple[Decoded, str | None]:
    """(pixels, warning or None).

    A file that lacks pixels at its end is refused (CorruptImage); one that lacks only its end marker, or that libjpeg
    complains of and yet decodes, gives a warning.
    """
    warning = "the file is cut off: the JPEG end marker is missing"
    cut_off = jpeg.is_cut_off(data, header)
    if not cut_off:
        try:
            return attempt(None, True), None
        except ImageError as complaint:
            if complaint.error_type is not ErrorType.CORRUPT_IMAGE:
                raise
            warning = complaint.message
    trailer = scans.samsung_trailer(data)
    picture = scans.bare(data, header, trailer)
    bare = _decode_bare(picture, attempt, hides_noise=trailer is not None) if picture else None
    if bare is not None:
        return bare, warning
    if cut_off:
        raise ImageError(ErrorType.CORRUPT_IMAGE, warning)
    if any(words in warning.lower() for words in _CUT_OFF_WORDS):
        raise ImageError(ErrorType.CORRUPT_IMAGE, f"the file is cut off: {warning}")
    pixels = attempt(None, False)
    if _ENDS_WITHIN in warning.lower() and (header.progressive or _ends_flat(pixels)):
        raise ImageError(ErrorType.CORRUPT_IMAGE, f"the file is cut off: {warning}")
    return pixels, warning


@contextmanager
def content(opened: OpenedImage, header_data: bytes | None) -> Iterator[Content]:
    """The whole file, in memory or mapped. Raises `ImageError`."""
    held = opened.data if opened.data is not None else header_data
    if held is not None:
        yield held
        return
    try:
        with open(opened.path or b"", "rb", buffering=0) as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise image_error_from_os(OSError(str(error)), "the file") from error
    try:
        yield mapped
    finally:
        with suppress(BufferError):  # libvips lets go of it when its image is collected
            mapped.close()


def _ends_flat(pixels: Decoded) -> bool:
    """Whether the lower end is of one colour, as libjpeg fills in what is missing. Damage leaves a few blocks of it."""
    lower = pixels[-max(len(pixels) // _PART, 1) :].reshape(-1, pixels.shape[2] if pixels.ndim == 3 else 1)
    return bool((lower.max(axis=0) - lower.min(axis=0)).max() <= _ALIKE)


def _decode_bare(picture: Picture, attempt: Attempt, *, hides_noise: bool) -> Decoded | None:
    """The picture alone, if all of it is there; None if not. Before Samsung's trailer may stand what is no picture."""
    try:
        return attempt(picture, True)
    except ImageError as complaint:
        if complaint.error_type is not ErrorType.CORRUPT_IMAGE:
            raise
        if _EXTRANEOUS not in complaint.message or not hides_noise:
            return None
    try:
        return attempt(picture, False)
    except ImageError:
        return None
