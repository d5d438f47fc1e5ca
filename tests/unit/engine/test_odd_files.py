"""Files that programs write and libraries stumble over: what is odd about them costs no picture,
and changes none.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import pyvips
from unit.engine.pictures import (
    BLUE,
    GREEN,
    RED,
    YELLOW,
    corners,
    encoded,
    near,
    pixels,
    run,
    scene,
    tier,
)
from unit.engine.test_hdr import BT709, GREY, HLG, P3, PQ, WHITE, columns, seen
from unit.engine.test_hdr import near as close
from unit.engine.test_orientation import TURNED, block
from unit.engine.tiffs import tiff

from fpj_core.errors import ImageError
from fpj_core.model import Format, ImageLimits
from fpj_core.sources.base import OpenedImage
from fpj_worker.engine import process_image
from fpj_worker.engine.libvips import from_array

QUARTERS = [RED, GREEN, BLUE, YELLOW]
PNG = encoded(scene(), "PNG")
WEBP = encoded(scene(), "WEBP", quality=90)


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">L", len(content))
        + kind
        + content
        + struct.pack(">L", zlib.crc32(kind + content))
    )


def first(content: bytes, data: bytes = PNG) -> bytes:
    """Behind the PNG's header."""
    return data[:33] + content + data[33:]


def last(content: bytes) -> bytes:
    """Behind the PNG's pixels."""
    return PNG[:-12] + content + PNG[-12:]


def shown(data: bytes) -> list[tuple[int, ...]]:
    return corners(pixels(run(data, tier(format=Format.PNG)).outputs[0].data))


@pytest.mark.parametrize("place", [first, last])
def test_exif_counts_before_and_behind_the_pixels_of_a_png(
    place: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    data = place(chunk(b"eXIf", block(6)))
    path = tmp_path / "x.png"
    path.write_bytes(data)
    for opened in (OpenedImage("x", data=data), OpenedImage("x", path=bytes(path))):
        result = process_image(opened, (tier(format=Format.PNG),), ImageLimits())
        assert result.facts.width == 240
        assert near(corners(pixels(result.outputs[0].data)), TURNED)


@pytest.mark.parametrize("block_", [block(6)[:9], b"", b"II*\0\xff\xff\xff\xff"])
def test_damaged_exif_behind_the_pixels_says_nothing(block_: bytes) -> None:
    assert near(shown(last(chunk(b"eXIf", block_))), QUARTERS)
    assert near(shown(last(chunk(b"eXIf", block(6))[:-1] + b"\0")), QUARTERS)


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("bits", [8, 16])
def test_hdr_in_a_png_is_tone_mapped(transfer: int, bits: int) -> None:
    deep = columns([[level] * 3 for level in (GREY, WHITE[transfer])])
    image = from_array(deep).pngsave_buffer(bitdepth=16) if bits == 16 else None
    data = bytes(image or from_array((deep >> 8).astype("uint8")).pngsave_buffer())
    grey, white = seen(first(chunk(b"cICP", bytes((9, transfer, 0, 1))), data), 2)
    assert close(grey, (100, 100, 100), 4)
    assert close(white, (229, 229, 229), 4)


@pytest.mark.parametrize(("primaries", "expected"), [(P3, (218, 0, 26)), (BT709, (200, 40, 40))])
def test_primaries_of_a_png_are_converted(primaries: int, expected: tuple[int, ...]) -> None:
    data = bytes(
        from_array(
            (columns([[200 / 255, 40 / 255, 40 / 255]]) >> 8).astype("uint8")
        ).pngsave_buffer()
    )
    assert close(seen(first(chunk(b"cICP", bytes((primaries, 13, 0, 1))), data), 1)[0], expected, 5)


@pytest.mark.parametrize(
    ("numbers", "own", "expected"),
    [
        ((BT709, 13), "p3", (200, 40, 40)),
        ((P3, 13), "srgb", (218, 0, 26)),
        ((2, 2), "p3", (218, 0, 26)),
    ],
)
def test_the_numbers_of_a_png_count_more_than_its_profile(
    numbers: tuple[int, int], own: str, expected: tuple[int, ...]
) -> None:
    image = from_array((columns([[200 / 255, 40 / 255, 40 / 255]]) >> 8).astype("uint8"))
    image.set_type(
        pyvips.GValue.blob_type, "icc-profile-data", bytes(pyvips.Image.profile_load(own))
    )
    data = first(chunk(b"cICP", bytes((*numbers, 0, 1))), bytes(image.pngsave_buffer()))
    assert close(seen(data, 1)[0], expected, 5)


def test_a_tiff_with_extra_samples_that_it_has_not() -> None:
    for order in "<>":
        assert near(shown(tiff(scene(), {338: (7,)}, order)), QUARTERS)


@pytest.mark.parametrize("wrong", [1_000, 8, -9, -300])
def test_a_webp_that_states_a_wrong_size(wrong: int, tmp_path: Path) -> None:
    """Some writers count the header, or what they cut off later.

    The picture's own chunk is whole.
    """
    data = WEBP[:4] + struct.pack("<L", len(WEBP) - 8 + wrong & ~1) + WEBP[8:]
    assert near(shown(data), QUARTERS)
    path = tmp_path / "x.webp"
    path.write_bytes(data)
    result = process_image(
        OpenedImage("x", path=bytes(path)), (tier(format=Format.PNG),), ImageLimits()
    )
    assert near(corners(pixels(result.outputs[0].data)), QUARTERS)
    moving = encoded(scene(), "WEBP", save_all=True, append_images=[scene(320, 240).rotate(180)])
    odd = moving[:4] + struct.pack("<L", len(moving) + wrong & ~1) + moving[8:]
    assert run(odd, tier(format=Format.WEBP, animated=True)).outputs


@pytest.mark.parametrize("missing", [20, 500])
def test_a_webp_that_lacks_pixels_is_refused(missing: int) -> None:
    with pytest.raises(ImageError):
        run(WEBP[:-missing])
