"""Pictures that are put together of others, as telephones write them:
colours and turns of the whole and its parts.
"""

from __future__ import annotations

import struct

import pytest
import pyvips
from unit.engine.heifs import grid, nclx
from unit.engine.pictures import BLUE, GREEN, RED, YELLOW, corners, near, pixels, run, tier
from unit.engine.test_hdr import BT709, BT2020, P3, PQ

from fpj_core.model import Format

TILES = (RED, GREEN, YELLOW, BLUE)
CLOCKWISE = [RED, GREEN, BLUE, YELLOW]
REDDISH, IN_P3 = (200, 40, 40), (218, 0, 26)
PROFILE = b"prof" + bytes(pyvips.Image.profile_load("p3"))
BOTH = pytest.mark.parametrize("image_format", ["AVIF", "HEIF"])


def shown(data: bytes) -> list[tuple[int, ...]]:
    return corners(pixels(run(data, tier(format=Format.PNG)).outputs[0].data))


@BOTH
def test_a_grid_is_turned_and_cut_as_a_whole(image_format: str) -> None:
    assert near(shown(grid(image_format, TILES)), CLOCKWISE)
    assert near(
        shown(grid(image_format, TILES, further=[(b"irot", b"\3")])), [YELLOW, RED, GREEN, BLUE]
    )
    clap = struct.pack(">LLLLlLlL", 128, 1, 64, 1, 0, 1, -32, 1)
    assert near(
        shown(grid(image_format, TILES, further=[(b"clap", clap)])), [RED, GREEN, GREEN, RED]
    )


@BOTH
@pytest.mark.parametrize(
    "stated", [nclx(P3, 13), PROFILE, b"rICC" + PROFILE[4:]], ids=["nclx", "prof", "rICC"]
)
@pytest.mark.parametrize("place", ["grid", "tiles", "both"])
def test_colours_count_of_the_grid_or_else_of_its_tiles(
    image_format: str, stated: bytes, place: str
) -> None:
    of_grid = stated if place != "tiles" else None
    of_tiles = stated if place == "tiles" else nclx(BT709, 13) if place == "both" else None
    assert near(
        shown(grid(image_format, (REDDISH,) * 4, of_grid=of_grid, of_tiles=of_tiles)),
        [IN_P3] * 4,
        6,
    )


@BOTH
def test_hdr_of_tiles_is_tone_mapped(image_format: str) -> None:
    found = shown(grid(image_format, ((148, 148, 148),) * 4, of_tiles=nclx(BT2020, PQ)))
    assert near(found, [(229, 229, 229)] * 4, 5)
