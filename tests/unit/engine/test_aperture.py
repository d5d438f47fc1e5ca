"""The clean aperture of AVIF: what the encoder padded does not belong to the picture."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
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

from fpj_core.errors import ErrorType, ImageError
from fpj_core.model import Format, ImageLimits
from fpj_core.sources.base import OpenedImage
from fpj_worker.engine import process_image


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L4s", len(content) + 8, kind) + content


def with_clap(data: bytes, *numbers: int) -> bytes:
    """Put ``clap`` before the other properties' end, and name it for the only item.

    Offsets of the data are moved.
    """
    clap = box(b"clap", struct.pack(">LLLLlLlL", *numbers))
    container, names = data.index(b"ipco") - 4, data.index(b"ipma") - 4
    (inner,), (outer,) = (
        struct.unpack_from(">L", data, container),
        struct.unpack_from(">L", data, names),
    )
    count = sum(1 for _ in boxes(data[container + 8 : container + inner])) + 1
    known = data[container + 4 : container + inner] + clap
    named = bytearray(data[names + 4 : names + outer] + bytes((0x80 | count,)))
    named[14] += 1
    changed = data[:container] + struct.pack(">L", len(known) + 4) + known
    changed += struct.pack(">L", len(named) + 4) + named + data[names + outer :]
    more = len(clap) + 1
    for kind in (b"meta", b"iprp"):
        start = changed.index(kind) - 4
        size = struct.unpack_from(">L", changed, start)[0] + more
        changed = changed[:start] + struct.pack(">L", size) + changed[start + 4 :]
    return moved(changed, more)


def boxes(content: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(content):
        yield content[position + 4 : position + 8]
        position += struct.unpack_from(">L", content, position)[0]


def moved(data: bytes, by: int) -> bytes:
    """With the only extent of the only item so much later (version 0, offsets of 4 bytes)."""
    start = data.index(b"iloc") + 4
    place = start + 8 + 2 + 2 + 2
    (offset,) = struct.unpack_from(">L", data, place)
    return data[:place] + struct.pack(">L", offset + by) + data[place + 4 :]


AVIF = encoded(scene(), "AVIF", quality=90, speed=9)
TOP = with_clap(AVIF, 320, 1, 120, 1, 0, 1, -60, 1)
RIGHT = with_clap(AVIF, 160, 1, 240, 1, 160, 2, 0, 1)


@pytest.mark.parametrize(
    ("data", "size", "left", "right"),
    [(TOP, (320, 120), RED, GREEN), (RIGHT, (160, 240), GREEN, GREEN)],
    ids=["top", "right"],
)
def test_only_the_aperture_is_shown(
    data: bytes,
    size: tuple[int, int],
    left: tuple[int, ...],
    right: tuple[int, ...],
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.avif"
    path.write_bytes(data)
    for opened in (OpenedImage("x", data=data), OpenedImage("x", path=bytes(path))):
        result = process_image(opened, (tier(format=Format.PNG),), ImageLimits())
        assert (result.facts.width, result.facts.height) == size
        seen = corners(pixels(result.outputs[0].data))
        assert near(seen[:2], [left, right])


@pytest.mark.parametrize(
    "numbers",
    [(320, 0, 120, 1, 0, 1, 0, 1), (640, 1, 240, 1, 0, 1, 0, 1), (320, 1, 120, 1, 0, 1, 200, 1)],
)
def test_an_aperture_that_makes_no_sense_is_none(numbers: tuple[int, ...]) -> None:
    result = run(with_clap(AVIF, *numbers))
    assert (result.facts.width, result.facts.height) == (320, 240)
    assert near(corners(pixels(result.outputs[0].data)), [RED, GREEN, BLUE, YELLOW])


def test_the_limit_is_on_what_is_decoded() -> None:
    with pytest.raises(ImageError, match="320x240") as error:
        run(TOP, limits=ImageLimits(max_pixels=320 * 240 - 1))
    assert error.value.error_type is ErrorType.TOO_MANY_PIXELS
