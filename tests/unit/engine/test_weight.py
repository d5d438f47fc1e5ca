"""What an image may hold in memory, before any of it is decoded."""

from __future__ import annotations

import io
import tracemalloc
from typing import Any

import numpy as np
import pytest
from PIL import Image
from unit.engine.pictures import RED, encoded, run, tier

from fpj_core.model import Fit, Format, ImageLimits, TierSpec
from fpj_core.sources.base import OpenedImage
from fpj_worker.engine.geometry import place
from fpj_worker.engine.header import Header, read_header
from fpj_worker.engine.pixels import flatten
from fpj_worker.engine.weight import weigh


def weight(*tiers: TierSpec, make: set[str] | None = None, **header: Any) -> int:
    plain: dict[str, Any] = {
        "format": "png",
        "width": 10_000,
        "height": 10_000,
        "pages": 1,
        "orientation": 1,
    }
    given = Header(**plain | {"memory": 0} | header)
    placements = [(each, place(*given.upright, each)) for each in tiers]
    return weigh(
        given,
        placements,
        ImageLimits(),
        make if make is not None else {each.name for each in tiers},
    )


def big(image_format: Format, side: int = 10_000, **changes: Any) -> TierSpec:
    return tier(
        name=f"{image_format}{side}", format=image_format, width=side, height=side, **changes
    )


@pytest.mark.parametrize(
    ("image_format", "mebibytes"),
    [(Format.JPEG, 572), (Format.PNG, 1_239), (Format.WEBP, 1_525), (Format.AVIF, 2_670)],
)
def test_pixels_and_their_encoder_are_weighed(image_format: Format, mebibytes: int) -> None:
    assert weight(big(image_format)) >> 20 == mebibytes


@pytest.mark.parametrize(
    ("image_format", "mebibytes"),
    [(Format.JPEG, 858), (Format.PNG, 1_716), (Format.WEBP, 4_005), (Format.AVIF, 4_673)],
)
def test_alpha_weighs_more(image_format: Format, mebibytes: int) -> None:
    assert weight(big(image_format), alpha=True) >> 20 == mebibytes


@pytest.mark.parametrize(
    ("image_format", "mode", "alpha"),
    [
        (name, mode, mode == "RGBA")
        for name in ("PNG", "WEBP", "TIFF", "AVIF", "HEIF")
        for mode in ("RGB", "RGBA")
    ],
)
def test_the_header_says_whether_there_is_alpha(image_format: str, mode: str, alpha: bool) -> None:
    data = encoded(Image.new(mode, (64, 48)), image_format)
    assert read_header(OpenedImage("x", data=data), ImageLimits()).alpha is alpha
    (output,) = run(data, tier(format=Format.PNG)).outputs
    assert (Image.open(io.BytesIO(output.data)).mode == "RGBA") is alpha


def test_laying_on_a_background_takes_no_more_than_the_pixels() -> None:
    """Numbers of 16 bits for a whole picture took five times as much."""
    pixels = np.random.default_rng(1).integers(0, 256, (1_000, 1_000, 4), dtype=np.uint8)
    tracemalloc.start()
    flat = flatten(pixels, "#123456")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 6_000_000
    alpha = pixels[..., 3:].astype(int)
    assert (
        flat
        == (pixels[..., :3] * alpha + np.array([0x12, 0x34, 0x56]) * (255 - alpha) + 127) // 255
    ).all()


def test_the_heaviest_output_counts() -> None:
    """A JPEG of 4 million pixels takes less than an AVIF of one."""
    assert weight(big(Format.JPEG, 2_000), big(Format.AVIF, 1_200)) == 1_200**2 * 28


def test_only_what_is_made_is_encoded_but_the_largest_is_decoded() -> None:
    tiers = (big(Format.WEBP), big(Format.JPEG, 300))
    assert weight(*tiers, make={tiers[1].name}) == 10_000**2 * 3


def test_a_decode_that_takes_more_counts() -> None:
    assert weight(big(Format.JPEG, 1_000), memory=10**9) == 10**9


def test_what_is_cut_away_is_not_encoded() -> None:
    cut = tier(name="wide", format=Format.WEBP, width=2_000, height=500, fit=Fit.COVER)
    assert weight(cut) == 2_000 * 2_000 * 3 + 2_000 * 500 * 13


def test_usual_outputs_wait_for_nobody() -> None:
    usual = [
        tier(name=each, format=each, width=1920, height=1080)
        for each in (Format.JPEG, Format.WEBP, Format.AVIF)
    ]
    assert weight(*usual, width=6_000, height=4_000) < 64 * 2**20


def test_a_large_output_is_admitted_first() -> None:
    asked: list[int] = []
    data = encoded(Image.new("RGB", (3_000, 3_000), RED), "PNG")
    run(data, big(Format.WEBP, 3_000), admit=asked.append)
    run(data, big(Format.WEBP, 300), admit=asked.append)
    assert asked == [3_000**2 * 16]
