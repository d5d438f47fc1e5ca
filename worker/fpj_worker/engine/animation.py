"""Animations, kept for WebP tiers that ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyvips

from fpj_core.errors import ErrorType, ImageError
from fpj_core.model import Format, TierSpec
from fpj_core.sources.base import OpenedImage
from fpj_worker.engine import encode, libvips
from fpj_worker.engine.geometry import Placement, place


@dataclass(frozen=True, slots=True)
class Animation:
    """Encoded frames, all ``width`` x ``height``."""

    data: bytes
    width: int
    height: int


def animate(opened: OpenedImage, image_format: str, tier: TierSpec) -> Animation:
    """Scale every frame into the tier's box; timing and looping stay. Raises `ImageError`."""
    frames = libvips.load_frames(opened, image_format)
    placement = place(frames[0].width, frames[0].height, tier)
    try:
        placed = [_placed(frame, placement) for frame in frames]
        joined = placed[0].pagejoin(placed[1:]).copy()
        data = _save(joined, placement, tier)
    except pyvips.Error as error:
        raise ImageError(ErrorType.CORRUPT_IMAGE, str(error).strip()[:300]) from error
    return Animation(data, placement.crop_width, placement.crop_height)


def _placed(frame: Any, placement: Placement) -> Any:
    scaled = libvips.to_srgb(libvips.scale(frame, placement.width, placement.height))
    left, top = (scaled.width - placement.crop_width) // 2, (scaled.height - placement.crop_height) // 2
    return scaled.crop(left, top, placement.crop_width, placement.crop_height)


def _save(joined: Any, placement: Placement, tier: TierSpec) -> bytes:
    joined.set_type(pyvips.GValue.gint_type, "page-height", placement.crop_height)
    return encode.save(joined, Format.WEBP, tier.quality)
