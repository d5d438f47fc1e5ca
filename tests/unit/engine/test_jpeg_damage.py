"""JPEGs that libjpeg complains of although every pixel is there,
and those of which some are not.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pyvips
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.engine.pictures import (
    BLUE,
    FULL,
    GREEN,
    RED,
    YELLOW,
    corners,
    encoded,
    near,
    pixels,
    run,
    scene,
)

from fpj_core.errors import ErrorType, ImageError
from fpj_core.model import ImageLimits
from fpj_core.sources.base import OpenedImage
from fpj_worker.engine import ProcessedImage, process_image
from fpj_worker.engine import jpeg as jpeg_module
from fpj_worker.engine.scans import Picture

QUARTERS = [RED, GREEN, BLUE, YELLOW]
P3 = bytes(pyvips.Image.profile_load("p3"))
TRAILER = b"\0\0\1\x08\x0b\0\0\0Panorama_Shot_InfopanoSEFHj\0\0\0\1\0\0\0\0\0\1\x08\x30\0\0\0SEFT"
NOISE = bytes(range(1, 255)) * 4
KINDS: dict[str, dict[str, Any]] = {
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
    return (
        data[:2]
        + (bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content) * times
        + data[2:]
    )


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


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_marker_of_an_embedded_preview_does_not_end_the_picture(kind: str) -> None:
    preview = encoded(scene().resize((64, 48)), "JPEG")
    whole = with_segment(0xE1, b"Exif\0\0" + preview, data=jpeg(kind))
    header = jpeg_module.read_header(whole)
    assert not jpeg_module.is_cut_off(whole, header)
    assert jpeg_module.is_cut_off(whole[:-900], header)
    with pytest.raises(ImageError, match="cut off"):
        run(whole[:-900])


def test_a_profile_that_is_there_twice_is_used() -> None:
    twice = pixels(run(with_segment(0xE2, b"ICC_PROFILE\0\1\1" + P3, 2)).outputs[0].data)
    once = pixels(run(with_segment(0xE2, b"ICC_PROFILE\0\1\1" + P3)).outputs[0].data)
    assert near(corners(twice), corners(once), 2)
    assert not near(corners(once), QUARTERS, 5)


# Code paths ---------------------------------------------------------------------------------------

Make = Callable[[bytes], ProcessedImage]


@pytest.fixture(params=["turbo", "libvips", "too large for memory"])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    """Each way on which a JPEG is decoded; of CMYK there is the second alone."""
    if request.param != "turbo":
        monkeypatch.setattr("fpj_worker.engine.weight._TURBO_PIXELS", 0)
    if request.param != "too large for memory":
        return run
    monkeypatch.setattr("fpj_worker.engine.header._IN_MEMORY", 1)

    def by_path(data: bytes) -> ProcessedImage:
        path = tmp_path / "x.jpg"
        path.write_bytes(data)
        return process_image(OpenedImage("x", path=bytes(path)), (FULL,), ImageLimits())

    return by_path


CMYK = encoded(scene().convert("CMYK"), "JPEG", quality=92)
ALL_KINDS = {"CMYK": CMYK} | {kind: jpeg(kind) for kind in KINDS}


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("behind", [b"", TRAILER, bytes(700)])
def test_on_every_road_a_missing_end_is_a_warning(make: Make, kind: str, behind: bytes) -> None:
    whole, lacking = make(ALL_KINDS[kind]), make(ALL_KINDS[kind][:-2] + behind)
    assert whole.facts.warning is None
    assert lacking.facts.warning
    assert near(corners(pixels(lacking.outputs[0].data)), corners(pixels(whole.outputs[0].data)), 2)


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("missing", [12, 900])
@pytest.mark.parametrize("behind", [b"", TRAILER, bytes(700)])
def test_on_every_road_missing_pixels_are_refused(
    make: Make, kind: str, missing: int, behind: bytes
) -> None:
    with pytest.raises(ImageError) as error:
        make(ALL_KINDS[kind][:-missing] + behind)
    assert error.value.error_type is ErrorType.CORRUPT_IMAGE


@pytest.mark.parametrize("kind", ["CMYK", "baseline", "progressive"])
def test_pixels_that_are_missing_before_an_end_marker_are_refused_too(
    make: Make, kind: str
) -> None:
    """As a download leaves it that was cut off and ended by a program."""
    data = ALL_KINDS[kind]
    stop = data.rindex(b"\xff\xda") - 40 if kind == "progressive" else len(data) - len(data) // 3
    with pytest.raises(ImageError, match="cut off") as error:
        make(data[:stop] + b"\xff\xd9")
    assert error.value.error_type is ErrorType.CORRUPT_IMAGE


def test_a_flipped_bit_in_a_progressive_jpeg_costs_no_picture(make: Make) -> None:
    """libjpeg says that a scan ends too soon, as of one that was cut off, but all are there."""
    data = jpeg("progressive")
    middle = data.index(b"\xff\xda") + 200
    flipped = (
        data[:at] + bytes((data[at] ^ 16,)) + data[at + 1 :] for at in range(middle, middle + 200)
    )
    shorter = next(each for each in flipped if "premature end of data segment" in complaint(each))
    assert "premature end of data segment" in (make(shorter).facts.warning or "")


def complaint(data: bytes) -> str:
    try:
        simplejpeg.decode_jpeg(data, strict=True)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", ["CMYK", "baseline"])
def test_on_every_road_what_is_wrong_beside_the_picture_is_a_warning(make: Make, kind: str) -> None:
    data = ALL_KINDS[kind]
    whole = corners(pixels(make(data).outputs[0].data))
    for segment in (b"ICC_PROFILE\0\1\1", b"ICC_PROFILE\0\3\2" + b"x" * 20):
        result = make(with_segment(0xE2, segment, data=data))
        assert near(corners(pixels(result.outputs[0].data)), whole, 2)
    noisy = make(data[:-2] + bytes(40) + data[-2:])
    assert near(corners(pixels(noisy.outputs[0].data)), whole, 2)


@settings(deadline=None)
@given(
    st.integers(0, 30), st.integers(1, 9), st.sampled_from([b"", b"\xff\xd9"]), st.integers(0, 30)
)
def test_the_end_marker_is_found_block_by_block(
    before: int, block: int, marker: bytes, behind: int
) -> None:
    data = bytes(before) + marker + bytes(behind)
    header = replace(jpeg_module.read_header(jpeg()), scan=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jpeg_module, "_BLOCK", block)
        found = jpeg_module.is_file_cut_off(
            lambda start, count: data[start : start + count], len(data), header
        )
    assert found is jpeg_module.is_cut_off(data, header)


@settings(deadline=None, max_examples=30)
@given(
    st.binary(max_size=9),
    st.binary(max_size=9),
    st.integers(0, 12),
    st.integers(1, 9),
    st.integers(0, 30),
)
def test_a_picture_is_read_piece_by_piece(
    head: bytes, coded: bytes, start: int, count: int, position: int
) -> None:
    picture = Picture(head, min(start, len(coded)), len(coded))
    whole = picture.joined(coded)
    assert len(picture) == len(whole)
    assert whole[position : position + count].startswith(
        found := picture.read(coded, position, count)
    )
    assert found or position >= len(whole), "nothing at its end alone"
