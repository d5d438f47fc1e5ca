"""JPEGs that libjpeg complains of although every pixel is there, and those of which some are not."""

from __future__ import annotations

import struct

import pytest
import pyvips
from unit.engine.pictures import BLUE, GREEN, RED, YELLOW, corners, encoded, near, pixels, run, scene

from fpj_core.errors import ErrorType, ImageError

QUARTERS = [RED, GREEN, BLUE, YELLOW]
P3 = bytes(pyvips.Image.profile_load("p3"))
TRAILER = b"\0\0\1\x08\x0b\0\0\0Panorama_Shot_InfopanoSEFHj\0\0\0\1\0\0\0\0\0\1\x08\x30\0\0\0SEFT"
NOISE = bytes(range(1, 255)) * 4
KINDS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "grey": {},
}


def jpeg(kind: str = "baseline") -> bytes:
    image = scene().convert("L") if kind == "grey" else scene()
    return encoded(image, "JPEG", quality=92, **KINDS[kind])


def with_segment(marker: int, content: bytes, times: int = 1, data: bytes | None = None) -> bytes:
    data = data or jpeg()
    return data[:2] + (bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content) * times + data[2:]


def right(data: bytes) -> str | None:
    result = run(data)
    assert near(corners(pixels(result.outputs[0].data)), QUARTERS)
    return result.facts.warning


@pytest.mark.parametrize("kind", ["baseline", "progressive", "restarts"])
@pytest.mark.parametrize("behind", [b"", TRAILER, NOISE + TRAILER, b"\xff\xd8\xff\xd9" + TRAILER])
def test_a_jpeg_that_lacks_its_end_marker_alone_is_made(kind: str, behind: bytes) -> None:
    assert right(jpeg(kind)[:-2] + behind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("behind", [b"", TRAILER, NOISE])
@pytest.mark.parametrize("missing", [12, 900])
def test_a_jpeg_that_lacks_pixels_is_refused(kind: str, missing: int, behind: bytes) -> None:
    with pytest.raises(ImageError, match="cut off") as error:
        run(jpeg(kind)[:-missing] + behind)
    assert error.value.error_type is ErrorType.CORRUPT_IMAGE


def test_a_progressive_jpeg_that_lacks_its_last_scan_is_refused() -> None:
    data = jpeg("progressive")
    with pytest.raises(ImageError, match="cut off"):
        run(data[: data.rindex(b"\xff\xda")])


@pytest.mark.parametrize(
    "data",
    [
        jpeg().replace(b"JFIF\0\1\1", b"JFIF\0\0\0"),
        with_segment(0xE2, b"ICC_PROFILE\0\1\0" + P3),
        with_segment(0xE2, b"ICC_PROFILE\0\1\1"),
        with_segment(0xE2, b"ICC_PROFILE\0\3\2" + b"x" * 20),
        with_segment(0xEE, b"Adobe\0\x64"),
    ],
    ids=["JFIF 0.00", "ICC 1 of 0", "ICC empty", "ICC 3 of 2", "Adobe short"],
)
def test_what_is_wrong_beside_the_picture_costs_no_picture(data: bytes) -> None:
    run(data)
    if P3 not in data:
        right(data)


def test_a_profile_that_is_there_twice_is_used() -> None:
    twice = pixels(run(with_segment(0xE2, b"ICC_PROFILE\0\1\1" + P3, 2)).outputs[0].data)
    once = pixels(run(with_segment(0xE2, b"ICC_PROFILE\0\1\1" + P3)).outputs[0].data)
    assert near(corners(twice), corners(once), 2)
    assert not near(corners(once), QUARTERS, 5)
