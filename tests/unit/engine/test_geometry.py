"""Sizes, for every size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fpj_core.model import Fit, Format, TierSpec
from fpj_worker.engine.geometry import Placement, place

SIDE = st.integers(1, 60_000)
BOX = st.integers(16, 4096)


def tier(width: int, height: int, fit: Fit) -> TierSpec:
    return TierSpec("t", width, height, 80, Format.JPEG, fit)


@given(SIDE, SIDE, BOX, BOX)
def test_inside(width: int, height: int, box_width: int, box_height: int) -> None:
    p = place(width, height, tier(box_width, box_height, Fit.INSIDE))
    assert 1 <= p.width <= min(width, box_width)
    assert 1 <= p.height <= min(height, box_height)
    assert not p.cropped
    if width > box_width or height > box_height:
        assert p.width == box_width or p.height == box_height
    else:
        assert (p.width, p.height) == (width, height)
    scale = min(1, box_width / width, box_height / height)
    assert abs(p.width - width * scale) <= 1
    assert abs(p.height - height * scale) <= 1


@given(SIDE, SIDE, BOX, BOX, st.sampled_from([Fit.COVER, Fit.SMART]))
def test_cover_and_smart(
    width: int, height: int, box_width: int, box_height: int, fit: Fit
) -> None:
    p = place(width, height, tier(box_width, box_height, fit))
    assert p.width <= width
    assert p.height <= height
    assert p.crop_width == min(box_width, p.width)
    assert p.crop_height == min(box_height, p.height)
    if width >= box_width and height >= box_height:
        assert (p.crop_width, p.crop_height) == (box_width, box_height)


def test_examples() -> None:
    assert place(4000, 3000, tier(1920, 1080, Fit.INSIDE)) == Placement(1440, 1080, 1440, 1080)
    assert place(6000, 4000, tier(300, 300, Fit.COVER)) == Placement(450, 300, 300, 300)
    assert place(100, 50, tier(300, 300, Fit.COVER)) == Placement(100, 50, 100, 50)
    assert place(60_000, 1, tier(300, 300, Fit.INSIDE)) == Placement(300, 1, 300, 1)


@given(SIDE, SIDE, st.sampled_from(list(Fit)), st.integers(16_000, 17_000))
def test_webp_has_14_bits_a_side(width: int, height: int, fit: Fit, box: int) -> None:
    p = place(width, height, TierSpec("t", box, box, 80, Format.WEBP, fit))
    assert max(p.crop_width, p.crop_height) <= 16_383
    other = place(width, height, tier(box, box, fit))
    if max(other.crop_width, other.crop_height) <= 16_383:
        assert p == other
