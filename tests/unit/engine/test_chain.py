"""An output is scaled down from the next larger one: what its bytes depend on is in its digest,
and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from PIL import Image
from unit.engine.pictures import THUMBNAIL, encoded, run, scene, tier

from fpj_core.model import Fit, Format, TierSpec, tier_digests

LARGE = tier(name="full", width=200, height=200)
THUMB = replace(THUMBNAIL, width=50, height=50)
SIBLINGS: Sequence[tuple[TierSpec, bool]] = (
    (LARGE, True),
    (replace(LARGE, fit=Fit.COVER), True),
    (replace(LARGE, width=60, height=20), True),
    (replace(LARGE, width=10, height=10, fit=Fit.COVER), True),
    (replace(LARGE, width=40, height=50), False),
    (
        replace(LARGE, width=50, height=50, format=Format.PNG, quality=3, background="#000000"),
        False,
    ),
)
"""Beside a thumbnail of 50x50, Inside: whether it may be made from them.

A Cover of 10x10 is larger for a strip.
"""
PICTURES = {
    name: encoded(picture, "JPEG", quality=92)
    for name, picture in {
        "landscape": scene(640, 480),
        "portrait": scene(480, 640),
        "strip": scene(900, 60),
        "upright strip": scene(60, 900),
    }.items()
}


def thumbnail(data: bytes, *tiers: TierSpec) -> bytes:
    (made,) = run(data, *tiers, make={THUMB.name}).outputs
    return made.data


@pytest.mark.parametrize(("sibling", "counts"), SIBLINGS)
def test_siblings_count_where_they_may_be_larger(sibling: TierSpec, counts: bool) -> None:
    together, alone = tier_digests([sibling, THUMB]), tier_digests([THUMB])
    assert (together[THUMB.name] != alone[THUMB.name]) is counts
    differs = [
        name
        for name, data in PICTURES.items()
        if thumbnail(data, sibling, THUMB) != thumbnail(data, THUMB)
    ]
    assert bool(differs) is counts, "as digests say, so it is"


def test_the_same_sizes_give_the_same_bytes() -> None:
    """Whatever else of a larger tier is changed, its name and format among it,
    and in whatever order tiers stand.
    """
    other = replace(LARGE, name="other", format=Format.WEBP, quality=10, background="#123456")
    assert tier_digests([LARGE, THUMB])[THUMB.name] == tier_digests([THUMB, other])[THUMB.name]
    for data in PICTURES.values():
        assert thumbnail(data, LARGE, THUMB) == thumbnail(data, THUMB, other)


def test_the_largest_counts_by_itself() -> None:
    assert tier_digests([LARGE, THUMB])[LARGE.name] == LARGE.digest()


def test_a_filling_tier_lies_below_one_that_is_larger_both_ways() -> None:
    filling = replace(THUMB, fit=Fit.SMART)
    for width, height, below in ((60, 50, False), (50, 90, False), (60, 60, True)):
        digests = tier_digests([replace(LARGE, width=width, height=height), filling])
        assert (digests[filling.name] != filling.digest()) is below, (width, height)
    wide = tier(name="wide", width=16_384, height=16_384)
    assert THUMB.digest([wide]) != THUMB.digest([replace(wide, format=Format.WEBP)]), (
        "16,383 pixels are the most there"
    )


def test_transparent_pictures_too() -> None:
    data = encoded(Image.new("RGBA", (640, 480), (200, 30, 30, 99)), "PNG")
    assert thumbnail(data, LARGE, THUMB) == thumbnail(data, replace(LARGE, quality=1), THUMB)
