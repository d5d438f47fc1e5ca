"""Samples of narrow range (16 to 235 of 255, as in video),
and grey whose light is named by number.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from unit.engine.pictures import encoded, run, tier
from unit.engine.test_hdr import BT709, BT2020, GREY, HLG, PQ, WHITE, card, columns, near, seen
from unit.engine.test_odd_files import chunk, first

from fpj_core.model import Format
from fpj_worker.engine.libvips import from_array

SRGB, LINEAR = 13, 8
NARROW, FULL = 0, 1


def narrowed(levels: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """Of all 65,536 levels, on 16 * 256 to 235 * 256 (ITU-R BT.2100, table 9)."""
    return np.rint(4_096 + levels / 65_535 * 56_064).astype(np.uint16)


def png(levels: npt.NDArray[np.uint16], bits: int, *numbers: int) -> bytes:
    array = levels if bits == 16 else np.rint(levels / 256).clip(0, 255).astype(np.uint8)
    return first(
        chunk(b"cICP", bytes(numbers)), bytes(from_array(array).pngsave_buffer(bitdepth=bits))
    )


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("bands", [1, 3])
def test_a_png_of_narrow_range_is_as_bright_as_one_of_full(bits: int, bands: int) -> None:
    levels = columns([[level] * bands for level in (0.0, 0.4, 1.0)])[
        ..., : bands if bands > 1 else None
    ].squeeze()
    black, grey, white = seen(png(narrowed(levels), bits, BT709, SRGB, 0, NARROW), 3)
    assert near(black, (0, 0, 0), 1)
    assert near(grey, (102, 102, 102), 1)
    assert near(white, (255, 255, 255), 1)


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("bits", [8, 16])
def test_hdr_of_narrow_range_in_a_png(transfer: int, bits: int) -> None:
    levels = narrowed(columns([[level] * 3 for level in (GREY, WHITE[transfer])]))
    grey, white = seen(png(levels, bits, BT2020, transfer, 0, NARROW), 2)
    assert near(grey, (100, 100, 100), 4)
    assert near(white, (229, 229, 229), 4)


def test_alpha_has_full_range_always() -> None:
    levels = columns([[0.4, 0.4, 0.4, 0.5]])
    levels[..., :3] = narrowed(levels[..., :3])
    assert near(
        seen(png(levels, 16, BT709, SRGB, 0, NARROW), 1, "RGBA")[0], (102, 102, 102, 127), 1
    )


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("range_", ["limited", "full"])
def test_hdr_in_an_avif_without_colours(transfer: int, range_: str) -> None:
    """A grey card and reference white, in 4:0:0."""
    levels = card(GREY, WHITE[transfer]).convert("L")
    data = encoded(levels, "AVIF", quality=100, speed=9, subsampling="4:0:0", range=range_)
    at = data.index(b"colrnclx") + 8
    grey, white = seen(data[:at] + struct.pack(">HH", BT2020, transfer) + data[at + 4 :], 2)
    assert near(grey, (100, 100, 100), 4)
    assert near(white, (229, 229, 229), 4)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("primaries", [BT709, BT2020])
def test_linear_light_in_a_grey_png(bits: int, primaries: int) -> None:
    levels = columns([[0.4], [1.0]])[..., 0]
    grey, white = seen(png(levels, bits, primaries, LINEAR, 0, FULL), 2)
    assert near(grey, (170, 170, 170), 1)
    assert near(white, (255, 255, 255), 1)


@pytest.mark.parametrize("image_format", ["AVIF", "HEIF"])
def test_linear_light_in_grey(image_format: str) -> None:
    more = {"subsampling": "4:0:0", "speed": 9} if image_format == "AVIF" else {}
    data = encoded(Image.new("L", (64, 64), 102), image_format, quality=100, **more)
    at = data.index(b"colrnclx") + 8
    data = data[:at] + struct.pack(">HH", BT709, LINEAR) + data[at + 4 :]
    assert near(seen(data, 1)[0], (170, 170, 170), 2)
    assert run(data, tier(format=Format.PNG)).facts.width == 64
