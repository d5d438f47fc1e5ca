"""Animations, kept for WebP tiers that ask for it.

The frames are read one after another, and only the scaled ones are held: a GIF may have thousands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyvips

from fpj_core.model import Format, TierSpec
from fpj_core.sources.base import OpenedImage
from fpj_worker.engine import encode, libvips
from fpj_worker.engine.geometry import Placement
from fpj_worker.engine.header import Header, stored
from fpj_worker.engine.pixels import Pixels, crop_centre, orient

_TIMING = ("delay", "loop")


def animate(opened: OpenedImage, header: Header, placement: Placement, tier: TierSpec) -> bytes:
    """Scale every frame, and cut out its middle; timing and looping stay. Raises `ImageError`."""
    source = libvips.load_frames(opened, header.format)
    try:
        frames = _scaled(source, header, placement)
    except pyvips.Error as error:
        raise libvips.typed(error) from error
    joined = libvips.from_array(frames)
    joined.set_type(pyvips.GValue.gint_type, "page-height", placement.crop_height)
    for name in _TIMING:
        if kind := source.get_typeof(name):
            joined.set_type(kind, name, source.get(name))
    return encode.save(joined, Format.WEBP, tier.quality)


def _scaled(source: Any, header: Header, placement: Placement) -> Pixels:
    """All frames, one below the other."""
    height = placement.crop_height
    first = _frame(source, 0, header, placement)
    frames = np.empty((header.pages * height, *first.shape[1:]), np.uint8)
    frames[:height] = first
    for number in range(1, header.pages):
        frames[number * height : (number + 1) * height] = _frame(source, number, header, placement)
    return frames


def _frame(source: Any, number: int, header: Header, placement: Placement) -> Pixels:
    page = source.get("page-height") if source.get_typeof("page-height") else source.height
    whole = libvips.on_canvas(source.crop(0, number * page, source.width, page), header.canvas)
    width, height = stored(header, placement)
    frame = libvips.to_array(libvips.to_srgb(libvips.scale(whole, width, height)))
    return crop_centre(orient(frame, header.orientation), placement.crop_width, placement.crop_height)
