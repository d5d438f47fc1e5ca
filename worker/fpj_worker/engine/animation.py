"""Animations, kept for WebP tiers that ask for it.

The frames are read one after another, and only the scaled ones are held: a GIF may have thousands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import numpy as np
import pyvips

from fpj_core.model import Format, TierSpec
from fpj_core.sources.base import OpenedImage
from fpj_worker.engine import encode, gif, libvips, webpframes
from fpj_worker.engine.geometry import Placement
from fpj_worker.engine.header import Header, stored
from fpj_worker.engine.pixels import Pixels, crop_centre, orient
from fpj_worker.engine.reading import reader

_TIMING = ("delay", "loop")
_RGBA = 4
_SHORTEST_DELAY, _USUAL_DELAY = 10, 100
"""Milliseconds: browsers, and libvips with them,
show a frame of at most the first for as long as the second.
"""
_FLAGS, _HAS_ALPHA = 20, 0x10


def animate(opened: OpenedImage, header: Header, placement: Placement, tier: TierSpec) -> bytes:
    """Scale every frame, and cut out its middle; timing and looping stay. Raises `ImageError`."""
    source = libvips.load_frames(opened, header.format, header.patch)
    try:
        frames = _scaled(source, header, placement, _painter(opened, header))
    except pyvips.Error as error:
        raise libvips.typed(error) from error
    joined = libvips.from_array(frames)
    joined.set_type(pyvips.GValue.gint_type, "page-height", placement.crop_height)
    for name in _TIMING:
        if kind := source.get_typeof(name):
            joined.set_type(kind, name, source.get(name))
    encoded = _with_all_frames(
        encode.save(joined, Format.WEBP, tier.quality), joined, frames, header.pages
    )
    return _stating_alpha(encoded) if frames.shape[-1] == _RGBA else encoded


def _with_all_frames(encoded: bytes, joined: Any, frames: Pixels, count: int) -> bytes:
    """Also those that look like the one before."""
    height = len(frames) // count
    stated = joined.get("delay") if joined.get_typeof("delay") else []
    if len(stated) != count:
        return encoded
    delays = [_USUAL_DELAY if each <= _SHORTEST_DELAY else each for each in stated]
    return webpframes.separated(
        encoded,
        (frames.shape[1], height),
        delays,
        joined.get("loop") if joined.get_typeof("loop") else 1,
        lambda number: encode.lossless_webp(frames[number * height : number * height + 1, :1]),
        alpha=frames.shape[-1] == _RGBA,
    )


def _stating_alpha(webp: bytes) -> bytes:
    """With the flag of alpha (RFC 9649, 2.7): libwebp forgets it where opaque frames cover a part
    only.
    """
    if webp[12:16] != b"VP8X":
        return webp
    return webp[:_FLAGS] + bytes([webp[_FLAGS] | _HAS_ALPHA]) + webp[_FLAGS + 1 :]


def _painter(opened: OpenedImage, header: Header) -> Callable[[Any], Any]:
    """Called with one frame after the other, puts each on its canvas:
    transparent where nothing was painted.
    """
    masks, cleared = _masks(opened, header), _cleared(opened, header)

    def painted(frame: Any) -> Any:
        whole, gone = libvips.on_canvas(frame, header.canvas, next(masks)), next(cleared)
        return whole if gone is None or not gone.any() else libvips.without(whole, gone)

    return painted


def _cleared(opened: OpenedImage, header: Header) -> Iterator[gif.Mask | None]:
    """For each frame of a GIF with transparency, where what was painted is gone; None for nothing.

    Browsers show what was cleared as transparent, and libvips only where a frame that has
    transparent pixels was.
    """
    if header.format != "gif" or header.first_frame is not None:
        return repeat(None)
    with reader(opened) as read:
        places = list(gif.frames(read, header.pages))
    if len(places) < header.pages or not any(map(gif.is_cleared_opaque, places)):
        return repeat(None)

    def holes(place: gif.Frame) -> gif.Mask:
        with reader(opened) as read:
            return libvips.holes(gif.alone(read, place))

    return gif.wiped(places, header.width, header.height, holes)


def _masks(opened: OpenedImage, header: Header) -> Iterator[gif.Mask | None]:
    """For each frame, where something was painted.

    None for all, or where the frames say so themselves.
    """
    if header.first_frame is None:
        return repeat(None)
    with reader(opened) as read:
        places = list(gif.frames(read, header.pages))
    if len(places) < header.pages or gif.covers_all(places, header.width, header.height):
        return repeat(None)
    return gif.covered(places, header.width, header.height)


def _scaled(
    source: Any, header: Header, placement: Placement, painter: Callable[[Any], Any]
) -> Pixels:
    """All frames, one below the other."""
    height = placement.crop_height
    first = _frame(source, 0, header, placement, painter)
    frames = np.empty((header.pages * height, *first.shape[1:]), np.uint8)
    frames[:height] = first
    for number in range(1, header.pages):
        frames[number * height : (number + 1) * height] = _frame(
            source, number, header, placement, painter
        )
    return frames


def _frame(
    source: Any, number: int, header: Header, placement: Placement, painter: Callable[[Any], Any]
) -> Pixels:
    page = source.get("page-height") if source.get_typeof("page-height") else source.height
    whole = painter(source.crop(0, number * page, source.width, page))
    width, height = stored(header, placement)
    frame = libvips.shown_as(libvips.scale(whole, width, height), header.coding)
    return crop_centre(
        orient(frame, header.orientation), placement.crop_width, placement.crop_height
    )
