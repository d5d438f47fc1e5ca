"""What a gallery shows before the image is there: a ThumbHash and the dominant colour."""

from __future__ import annotations

import cv2
import numpy as np

from fpj_worker.engine import thumbhash
from fpj_worker.engine.pixels import Pixels, bands, shrink

_SIDE = 32
"""ThumbHash (https://evanw.github.io/thumbhash/) takes up to 100 x 100 pixels but keeps 7 cycles a
side at most, so 32 give the same hash in an eighth of the time.
"""


def describe(pixels: Pixels) -> tuple[bytes, str]:
    """(ThumbHash, ``#rrggbb`` of the commonest colour) of upright pixels."""
    scale = min(1.0, _SIDE / max(pixels.shape[:2]))
    small = shrink(
        pixels, max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    )
    rgba = (
        small
        if bands(small) == 4
        else np.asarray(cv2.cvtColor(small, _to_rgba(small)), dtype=np.uint8)
    )
    return thumbhash.encode(rgba), _dominant(rgba)


def _to_rgba(pixels: Pixels) -> int:
    return cv2.COLOR_GRAY2RGBA if bands(pixels) == 1 else cv2.COLOR_RGB2RGBA


def _dominant(rgba: Pixels) -> str:
    """The mean of the fullest of 4,096 bins (4 bits a band) over the pixels that can be seen."""
    visible = rgba[rgba[..., 3] >= 128][:, :3]
    if not len(visible):
        return "#ffffff"
    high = (visible >> 4).astype(np.uint16)
    bins = (high[:, 0] << 8) | (high[:, 1] << 4) | high[:, 2]
    fullest = visible[bins == np.bincount(bins).argmax()]
    return f"#{fullest.mean(axis=0).round().astype(np.uint8).tobytes().hex()}"
