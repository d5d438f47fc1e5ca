"""Pictures made for the tests: a scene whose corners and colours can be told apart."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pillow_heif
from PIL import Image

from fpj_core.model import Fit, Format, ImageLimits, TierSpec
from fpj_core.sources.base import OpenedImage
from fpj_worker.engine import ProcessedImage, process_image

pillow_heif.register_heif_opener()

RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 180, 40), (30, 50, 210), (230, 210, 40)
FULL = TierSpec("full", 1920, 1080, 85, Format.JPEG)
THUMBNAIL = TierSpec("thumbnail", 60, 60, 80, Format.JPEG)


def scene(width: int = 320, height: int = 240) -> Image.Image:
    """Red, green, blue and yellow quarters (clockwise from top left), with some texture."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = RED
    pixels[: height // 2, width // 2 :] = GREEN
    pixels[height // 2 :, width // 2 :] = BLUE
    pixels[height // 2 :, : width // 2] = YELLOW
    noise = np.random.default_rng(7).integers(-6, 7, pixels.shape)
    return Image.fromarray(np.clip(pixels.astype(int) + noise, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, image_format: str, **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, image_format, **options)
    return target.getvalue()


def frames_of(data: bytes) -> int:
    """Of what is a file's content."""
    with Image.open(io.BytesIO(data)) as image:
        return int(getattr(image, "n_frames", 1))


def run(
    data: bytes, *tiers: TierSpec, limits: ImageLimits | None = None, **options: Any
) -> ProcessedImage:
    return process_image(
        OpenedImage("test", data=data), tiers or (FULL,), limits or ImageLimits(), **options
    )


def pixels(data: bytes, mode: str = "RGB") -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)).convert(mode))


def corners(array: npt.NDArray[np.uint8]) -> list[tuple[int, ...]]:
    """Mean colours of the quarters, clockwise from top left."""
    h, w = array.shape[0] // 2, array.shape[1] // 2
    quarters = (
        array[: h - 4, : w - 4],
        array[: h - 4, w + 4 :],
        array[h + 4 :, w + 4 :],
        array[h + 4 :, : w - 4],
    )
    return [
        tuple(q.reshape(-1, q.shape[-1]).mean(axis=0).round().astype(int).tolist())
        for q in quarters
    ]


def near(
    colours: Sequence[tuple[int, ...]], expected: Sequence[tuple[int, ...]], tolerance: int = 12
) -> bool:
    return all(
        abs(a - b) <= tolerance
        for c, e in zip(colours, expected, strict=True)
        for a, b in zip(c, e, strict=True)
    )


def tier(**changes: Any) -> TierSpec:
    from dataclasses import replace

    return replace(FULL, **{"fit": Fit.INSIDE} | changes)
