"""What making an image's tiers may hold in memory, by its header and the tiers alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fpj_core.errors import ErrorType, ImageError
from fpj_core.model import Format, ImageLimits, TierSpec
from fpj_worker.engine import turbo
from fpj_worker.engine.encode import output_format
from fpj_worker.engine.geometry import Placement, by_size
from fpj_worker.engine.header import Header, stored

_OPAQUE, _WITH_ALPHA = 3, 4
"""Bytes of a decoded pixel."""
_ENCODER = {Format.JPEG: 3, Format.PNG: 10, Format.WEBP: 13, Format.AVIF: 25}
_ENCODER_OF_ALPHA = {Format.JPEG: 5, Format.PNG: 14, Format.WEBP: 38, Format.AVIF: 45}
"""Bytes per pixel that encoding takes, and checking what was encoded, beside the pixels themselves.

The largest resident size of a process that makes noise, the worst content, one thread, above its
size before, less the
pixels: 8,000 x 8,000 JPEG 1.6, PNG 9.4, WebP 11.5; 3,500 x 3,500 PNG 9.8, WebP 14.7, AVIF 25. With
alpha, 5,000 x
5,000: JPEG 4.7 (the pixels laid on the background), PNG 12.8, WebP 37; 3,500 x 3,500 PNG 13.2, WebP
37.5, AVIF 44. What is smooth takes 55 to 90 % of it.
"""
_TURBO_PIXELS = 40_000_000
"""Scaled pixels that processing with libjpeg-turbo may hold at once: 120 MB."""


def weigh(
    header: Header,
    placements: Sequence[tuple[TierSpec, Placement]],
    limits: ImageLimits,
    make: Collection[str],
) -> int:
    """Bytes held at the worst moment: of the decode, or of the output that takes most.

    ``make`` names the tiers made.

    Raises `ImageError` (TooManyPixels) for an animation.
    """
    return max(
        header.memory,
        _scaled_memory(header, max((placement for _, placement in placements), key=by_size)),
        *(
            _output_memory(header, tier, placement, limits)
            for tier, placement in placements
            if tier.name in make
        ),
    )


def fits_turbo(header: Header, width: int, height: int) -> bool:
    """Whether libjpeg-turbo is used for a target of ``width`` x ``height`` as stored."""
    return (
        header.jpeg is not None
        and header.jpeg.plain
        and header.data is not None
        and turbo.scaled_pixels(header.jpeg, width, height) <= _TURBO_PIXELS
    )


def moves(header: Header, tier: TierSpec) -> bool:
    """Whether a tier keeps the animation."""
    return (
        tier.animated
        and header.pages > 1
        and output_format(tier, header.format, alpha=False) is Format.WEBP
    )


def _scaled_memory(header: Header, largest: Placement) -> int:
    """The largest tier's pixels, made or not, beside those that libjpeg-turbo scales them from."""
    width, height = stored(header, largest)
    pixels = width * height
    if header.jpeg is not None and fits_turbo(header, width, height):
        pixels += turbo.scaled_pixels(header.jpeg, width, height)
    return pixels * _pixel(header)


def _output_memory(
    header: Header, tier: TierSpec, placement: Placement, limits: ImageLimits
) -> int:
    if moves(header, tier):
        return _animation_memory(header, placement, limits)
    encoder = _ENCODER_OF_ALPHA if header.alpha else _ENCODER
    encoding = encoder[output_format(tier, header.format, alpha=header.alpha)]
    return (
        placement.width * placement.height * _pixel(header)
        + placement.crop_width * placement.crop_height * encoding
    )


def _pixel(header: Header) -> int:
    return _WITH_ALPHA if header.alpha else _OPAQUE


def _animation_memory(header: Header, placement: Placement, limits: ImageLimits) -> int:
    """Bytes that keeping the animation takes: all its frames at the tier's size,
    as much again for the encoder.
    """
    total = header.width * header.height * header.pages
    if total > limits.max_pixels:
        size = (
            f"an animation of {header.pages:,} x {header.width}x{header.height} = {total:,} pixels"
        )
        raise ImageError(
            ErrorType.TOO_MANY_PIXELS, f"{size}; limits.maxPixels allows {limits.max_pixels:,}"
        )
    return placement.crop_width * placement.crop_height * header.pages * 4 * 2
