"""From one opened image to all its derivatives: header, one decode, tiers from large to small,
encode, validate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import pyvips

from fpj_core.errors import ErrorType, ImageError
from fpj_core.model import Fit, Format, ImageFacts, ImageLimits, TierSpec
from fpj_core.process.heap import give_back
from fpj_core.sources.base import OpenedImage
from fpj_worker.engine import ending, hdr, lenient, libvips, matrixprofile, turbo
from fpj_worker.engine.animation import animate
from fpj_worker.engine.encode import EXTENSIONS, encode, output_format
from fpj_worker.engine.geometry import Placement, by_size, place
from fpj_worker.engine.header import Header, bare_tiff, read_header, stored
from fpj_worker.engine.pixels import Pixels, bands, crop_centre, flatten, orient, resize
from fpj_worker.engine.placeholder import describe
from fpj_worker.engine.scans import Content, Picture
from fpj_worker.engine.tiffbare import Patch
from fpj_worker.engine.validate import validate
from fpj_worker.engine.weight import fits_turbo, moves, weigh

_HEAVY = 64 * 2**20
"""Bytes from which an image asks to be admitted."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One derivative, ready to be written."""

    tier: str
    data: bytes
    width: int
    height: int
    extension: str
    cpu_seconds: float = field(default=0.0, compare=False)
    """That it takes to make this one alone: what is shared with others counts for each."""


@dataclass(frozen=True, slots=True)
class ProcessedImage:
    """What one image gave."""

    facts: ImageFacts
    outputs: tuple[Encoded, ...]


def process_image(
    opened: OpenedImage,
    tiers: Sequence[TierSpec],
    limits: ImageLimits,
    *,
    make: Collection[str] | None = None,
    admit: Callable[[int], None] = lambda _weight: None,
) -> ProcessedImage:
    """Make the tiers of one image that ``make`` names, all by default. Raises `ImageError` only.

    Every tier is derived from the next larger one, also where that is not made: a derivative's
    bytes do not depend on what else was lacking. ``admit`` is called before one that may hold more
    than 64 MiB, with that many bytes.
    """
    try:
        header = read_header(opened, limits)
        names = frozenset(tier.name for tier in tiers if make is None or tier.name in make)
        placements = [(tier, place(*header.upright, tier)) for tier in tiers]
        weight = weigh(header, placements, limits, names)
        if weight > _HEAVY:
            admit(weight)
            # What earlier images left serves usual ones well, and would add to a heavy one.
            give_back()
        return _process(opened, header, placements, names)
    except MemoryError as error:
        raise ImageError(
            ErrorType.OUT_OF_MEMORY, "the memory limit of one image was reached"
        ) from error
    except cv2.error as error:
        no_memory = error.code == cv2.Error.StsNoMem
        raise ImageError(
            ErrorType.OUT_OF_MEMORY if no_memory else ErrorType.INTERNAL, str(error)[:300]
        ) from error
    except pyvips.Error as error:
        raise libvips.typed(error) from error


def _process(
    opened: OpenedImage,
    header: Header,
    placements: Sequence[tuple[TierSpec, Placement]],
    make: Collection[str],
) -> ProcessedImage:
    ordered = sorted(placements, key=lambda each: by_size(each[1]), reverse=True)
    outputs = {}
    shared, since = 0.0, time.process_time()
    pixels, warning = _decode(opened, header, ordered[0][1])
    for tier, placement in ordered:
        pixels = resize(pixels, placement.width, placement.height)
        shared += (scaled := time.process_time()) - since
        since = scaled
        if tier.name in make:
            made = _derive(opened, header, pixels, placement, tier)
            since = time.process_time()
            outputs[tier.name] = replace(made, cpu_seconds=shared + since - scaled)
    thumbhash, dominant = describe(pixels)
    facts = ImageFacts(
        *header.upright, header.format, thumbhash, dominant, warning, header.captured_at
    )
    return ProcessedImage(
        facts, tuple(outputs[tier.name] for tier, _ in placements if tier.name in outputs)
    )


def _decode(opened: OpenedImage, header: Header, largest: Placement) -> tuple[Pixels, str | None]:
    """Upright sRGB pixels at the size of the largest tier, and a warning."""
    width, height = stored(header, largest)
    warning = None
    if header.pillow is not None:
        pixels = header.pillow.scaled(width, height)
    elif fits_turbo(header, width, height) and header.jpeg and header.data:
        pixels, warning = turbo.decode(header.data, header.jpeg, width, height)
        pixels = resize(pixels, width, height)
        if header.coding:
            pixels = hdr.to_srgb(
                pixels.astype(np.uint16) * np.uint16(256), 255 * 256, header.coding
            )
        elif header.profile and not libvips.is_srgb(header.profile):
            converted = (
                matrixprofile.to_srgb(pixels, header.profile) if bands(pixels) == 3 else None
            )
            pixels = (
                libvips.convert_profile(pixels, header.profile) if converted is None else converted
            )
    else:
        pixels, warning = _decode_by_libvips(opened, header, width, height)
    return orient(pixels, header.orientation), warning


def _decode_by_libvips(
    opened: OpenedImage, header: Header, width: int, height: int
) -> tuple[Pixels, str | None]:
    def decode(patch: Patch | None, **options: Any) -> Pixels:
        return libvips.decode(
            opened,
            header.format,
            width,
            height,
            shrink=_shrink_on_load(header, width, height),
            shown=header.shown,
            canvas=header.canvas,
            mask=header.mask,
            patch=patch,
            profile=header.profile,
            coding=header.coding,
            narrow=header.narrow,
            **options,
        )

    if header.jpeg is not None:
        data = opened.data if opened.data is not None else header.data

        def attempt(picture: tuple[Picture, Content] | None, strict: bool) -> Pixels:
            return decode(None, picture=picture, strict=strict)

        if data is not None:
            return lenient.decode(data, header.jpeg, attempt)
        return lenient.decode_file(opened, header.jpeg, attempt)
    try:
        return decode(header.patch), ending.warning(opened, header.format)
    except ImageError as complaint:
        patch = None if header.patch else bare_tiff(opened, header.format)
        if patch is None or complaint.error_type is not ErrorType.CORRUPT_IMAGE:
            raise
        try:
            return decode(patch), complaint.message
        except ImageError:
            raise complaint from None


def _shrink_on_load(header: Header, width: int, height: int) -> int:
    """The deepest of libvips' factors for JPEG that still leaves the target."""
    return next(
        (
            factor
            for factor in (8, 4, 2)
            if header.width >= width * factor and header.height >= height * factor
        ),
        1,
    )


def _derive(
    opened: OpenedImage, header: Header, pixels: Pixels, placement: Placement, tier: TierSpec
) -> Encoded:
    image_format = output_format(tier, header.format, alpha=bands(pixels) == 4)
    kept = moves(header, tier)
    if placement.cropped:
        crop = libvips.crop_smart if tier.fit is Fit.SMART and not kept else crop_centre
        pixels = crop(pixels, placement.crop_width, placement.crop_height)
    if image_format is Format.JPEG:
        pixels = flatten(pixels, tier.background)
    data = animate(opened, header, placement, tier) if kept else encode(pixels, image_format, tier)
    validate(data, image_format, pixels)
    return Encoded(tier.name, data, pixels.shape[1], pixels.shape[0], EXTENSIONS[image_format])
