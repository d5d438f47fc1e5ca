"""Work on pixels in memory: arrays of shape (height, width) for grey or (height, width, 3 or 4),
8 bits a sample.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from fpj_worker.engine import libvips

Pixels = npt.NDArray[np.uint8]

cv2.setNumThreads(1)

_CUBIC_UP_TO = 1.34
"""Shrinking by more needs a filter that averages.

Cubic is the fastest good one below (docs/benchmarks.md).
"""
_BOXES_FROM = 4
"""Halving by boxes leaves at least half of this for the last, careful step:
then nobody sees or measures the boxes.
"""

_STRIP = 128
"""Rows."""

_ORIENT: dict[int, Callable[[Pixels], object]] = {
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: cv2.transpose,
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.flip(cv2.transpose(pixels), -1),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def orient(pixels: Pixels, orientation: int) -> Pixels:
    """Turn upright by the Exif orientation (1 to 8)."""
    turn = _ORIENT.get(orientation)
    return pixels if turn is None else np.asarray(turn(pixels), dtype=np.uint8)


def resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """Scale down to exactly ``width`` x ``height``: by Lanczos,
    the first part of a large reduction by 2 x 2 boxes.
    """
    if bands(pixels) == 4:
        return libvips.resize(pixels, width, height)
    while pixels.shape[1] >= _BOXES_FROM * width and pixels.shape[0] >= _BOXES_FROM * height:
        even = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]
        pixels = _scaled(even, even.shape[1] // 2, even.shape[0] // 2, cv2.INTER_AREA)
    if pixels.shape[:2] == (height, width):
        return pixels
    ratio = max(pixels.shape[1] / width, pixels.shape[0] / height)
    if ratio <= _CUBIC_UP_TO:
        return _scaled(pixels, width, height, cv2.INTER_CUBIC)
    return libvips.resize(pixels, width, height)


def shrink(pixels: Pixels, width: int, height: int) -> Pixels:
    """Scale down by plain averaging, for what nobody looks at:
    a twentieth of the time of `resize`.
    """
    return (
        libvips.resize(pixels, width, height)
        if bands(pixels) == 4
        else _scaled(pixels, width, height, cv2.INTER_AREA)
    )


def crop_centre(pixels: Pixels, width: int, height: int) -> Pixels:
    """The middle ``width`` x ``height``."""
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def flatten(pixels: Pixels, background: str) -> Pixels:
    """Lay pixels with alpha on a ``#rrggbb`` colour; others stay as they are."""
    if bands(pixels) != 4:
        return pixels
    colour = np.frombuffer(bytes.fromhex(background[1:]), dtype=np.uint8).astype(np.uint16)
    flat = np.empty((*pixels.shape[:2], 3), np.uint8)
    # 16-bit numbers of a whole picture would take five times its memory.
    for top in range(0, len(pixels), _STRIP):
        strip = pixels[top : top + _STRIP]
        alpha = strip[..., 3:].astype(np.uint16)
        flat[top : top + _STRIP] = (strip[..., :3] * alpha + colour * (255 - alpha) + 127) // 255
    return flat


def bands(pixels: Pixels) -> int:
    """Samples per pixel: 1, 3 or 4."""
    return 1 if pixels.ndim == 2 else pixels.shape[2]


def spread(pixels: Pixels) -> int:
    """The largest difference between two samples of one band,
    looking at no more than some 10,000 pixels.
    """
    step = max(1, int((pixels.shape[0] * pixels.shape[1] / 10_000) ** 0.5))
    seen = pixels[::step, ::step].reshape(-1, bands(pixels)).astype(int)
    if bands(pixels) == 4:  # what is invisible may have any colour
        seen[:, :3] = seen[:, :3] * seen[:, 3:] // 255
    return int((seen.max(axis=0) - seen.min(axis=0)).max())


def _scaled(pixels: Pixels, width: int, height: int, how: int) -> Pixels:
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), dtype=np.uint8)
