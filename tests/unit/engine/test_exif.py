"""What Exif and XMP say beside the orientation: when a photograph was taken,
and in which colours.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin
from unit.engine.pictures import encoded, pixels, scene, tier
from unit.engine.tiffs import directory

from fpj_core.model import Format, ImageLimits
from fpj_core.sources.base import OpenedImage
from fpj_worker.engine import ProcessedImage, exif, process_image, taken

UNCALIBRATED, SRGB, ADOBE = 0xFFFF, 1, 2
ORIGINAL, OFFSET, FRACTION = 0x9003, 0x9011, 0x9291


def block(
    *, order: str = "<", space: int | None = None, index: bytes | None = None, **texts: bytes
) -> bytes:
    """An Exif block: the first directory leads to Exif's own,
    that to the one of interoperability.
    """
    names = {"original": ORIGINAL, "offset": OFFSET, "fraction": FRACTION}
    inner: dict[int, tuple[int, ...] | bytes] = {
        names[name]: text + b"\0" for name, text in texts.items()
    }
    if space is not None:
        inner[0xA001] = (space,)
    start = 8 + len(directory({0x8769: (0,)}, 8))
    if index is not None:
        inner[0xA005] = (0,)
        inner[0xA005] = (start + len(directory(inner, start)),)
    head = struct.pack(order + "2sHL", b"II" if order == "<" else b"MM", 42, 8)
    both = directory({0x8769: (start,)}, 8, order) + directory(inner, start, order)
    return head + both + (directory({1: index + b"\0"}, 0, order) if index else b"")


def made(data: bytes, name: str = "test", image_format: Format = Format.PNG) -> ProcessedImage:
    return process_image(OpenedImage(name, data=data), (tier(format=image_format),), ImageLimits())


FULL = block(original=b"2024:05:01 12:30:00", offset=b"+02:00", fraction=b"25")
XMP = (
    b'<x:xmpmeta><rdf:Description exif:DateTimeOriginal="2019-12-31T23:59:58.5-05:00"/></x:xmpmeta>'
)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
def test_the_time_of_capture_is_a_fact(image_format: str) -> None:
    stated = encoded(scene(), image_format, exif=b"Exif\0\0" + FULL)
    assert made(stated).facts.captured_at == "2024-05-01T12:30:00.25+02:00"
    assert made(encoded(scene(), image_format)).facts.captured_at is None
    packet: dict[str, Any] = {"xmp": XMP}
    if image_format == "PNG":
        packet = {"pnginfo": PngImagePlugin.PngInfo()}
        packet["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    assert (
        made(encoded(scene(), image_format, **packet)).facts.captured_at
        == "2019-12-31T23:59:58.5-05:00"
    )
    both = encoded(scene(), image_format, exif=b"Exif\0\0" + FULL, **packet)
    assert made(both).facts.captured_at == "2024-05-01T12:30:00.25+02:00"


@pytest.mark.parametrize("big", [False, True])
def test_the_time_of_capture_of_a_tiff(big: bool, tmp_path: Path) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x8769] = {ORIGINAL: "2001:02:03 04:05:06"}
    data = encoded(scene(), "TIFF", tiffinfo=tags, big_tiff=big)
    path = tmp_path / "x.tif"
    path.write_bytes(data)
    for opened in (OpenedImage("x", data=data), OpenedImage("x", path=bytes(path))):
        found = process_image(opened, (tier(),), ImageLimits()).facts
        assert found.captured_at == "2001-02-03T04:05:06"


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders(order: str) -> None:
    found = exif.parse(
        block(order=order, original=b"2024:05:01 12:30:00", space=UNCALIBRATED, index=b"R03")
    )
    assert found == exif.Exif(None, "2024-05-01T12:30:00", adobe_rgb=True)


@pytest.mark.parametrize(
    ("original", "offset", "fraction", "expected"),
    [
        ("2024:05:01 12:30:00", "", "", "2024-05-01T12:30:00"),
        ("2024-05-01T12:30:00", "Z", "", "2024-05-01T12:30:00Z"),
        ("2024:05:01 12:30:00", "   :  ", "  ", "2024-05-01T12:30:00"),
        ("2024:05:01 12:30:00", "+99:00", "1x", "2024-05-01T12:30:00"),
        ("2024:05:01 12:30:00", "-03:30", "123456789012", "2024-05-01T12:30:00.123456789-03:30"),
        ("0000:00:00 00:00:00", "+01:00", "", None),
        ("2024:13:01 12:30:00", "", "", None),
        ("    :  :     :  :  ", "", "", None),
        ("yesterday", "", "", None),
        ("", "", "", None),
    ],
)
def test_times_as_cameras_write_them(
    original: str, offset: str, fraction: str, expected: str | None
) -> None:
    assert taken.from_exif(original, offset, fraction) == expected


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (b"<photoshop:DateCreated>2020-01-02T03:04</photoshop:DateCreated>", "2020-01-02T03:04:00"),
        (
            b"<exif:DateTimeOriginal>2020-01-02T03:04:05Z</exif:DateTimeOriginal>",
            "2020-01-02T03:04:05Z",
        ),
        (b"photoshop:DateCreated='2020-01-02'", None),
        (b"exif:DateTimeOriginal='2020-01-02T03:04:05+25:00'", "2020-01-02T03:04:05"),
        (b"xmp:CreateDate='2020-01-02T03:04:05'", None),
        (b"exif:DateTimeOriginal='2020-02-31T03:04:05'", None),
    ],
)
def test_times_in_xmp(packet: bytes, expected: str | None) -> None:
    assert taken.from_xmp(packet) == expected


@pytest.mark.parametrize("end", range(0, len(FULL), 7))
def test_a_damaged_block_costs_nothing(end: int) -> None:
    exif.parse(FULL[:end])
    looping = bytearray(FULL)
    struct.pack_into("<L", looping, 18, end)
    assert made(encoded(scene(), "JPEG", exif=b"Exif\0\0" + bytes(looping))).facts.width == 320


PATCH = (200, 100, 50)
CONVERTED = (227, 100, 42)
"""The patch in Adobe RGB (1998), as sRGB: by the published primaries and gamma of 563/256."""


def colour(data: bytes, name: str = "test") -> tuple[int, ...]:
    return tuple(int(level) for level in pixels(made(data, name).outputs[0].data)[40, 40])


def patch(image_format: str = "JPEG", **options: object) -> bytes:
    return encoded(
        Image.new("RGB", (80, 80), PATCH), image_format, quality=100, subsampling=0, **options
    )


def near(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return bool(np.abs(np.subtract(found, expected)).max() <= 3)


@pytest.mark.parametrize(
    ("fields", "name", "adobe"),
    [
        ({"space": UNCALIBRATED, "index": b"R03"}, "a.jpg", True),
        ({"index": b"R03"}, "a.jpg", True),
        ({"space": ADOBE}, "a.jpg", True),
        ({"space": UNCALIBRATED}, "2024/_DSC0001.JPG", True),
        ({"space": UNCALIBRATED}, "_album/DSC0001.JPG", False),
        ({"space": UNCALIBRATED, "index": b"R98"}, "_DSC0001.JPG", False),
        ({"space": SRGB, "index": b"R98"}, "_DSC0001.JPG", False),
        ({"space": SRGB, "index": b"R03"}, "a.jpg", False),
        ({}, "_DSC0001.JPG", False),
    ],
)
def test_adobe_rgb_of_cameras(fields: dict[str, Any], name: str, adobe: bool) -> None:
    stated = block(**fields)
    assert near(colour(patch(exif=b"Exif\0\0" + stated), name), CONVERTED if adobe else PATCH)


def test_a_profile_counts_more_than_what_exif_says() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stated = b"Exif\0\0" + block(space=UNCALIBRATED, index=b"R03")
    assert near(colour(patch(exif=stated, icc_profile=profile)), PATCH)


def test_adobe_rgb_on_the_road_through_libvips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fpj_worker.engine.weight._TURBO_PIXELS", 0)
    stated = b"Exif\0\0" + block(space=UNCALIBRATED, index=b"R03")
    assert near(colour(patch(exif=stated)), CONVERTED)
    assert near(colour(patch()), PATCH)


def test_adobe_rgb_of_a_grey_picture_changes_nothing() -> None:
    stated = b"Exif\0\0" + block(space=UNCALIBRATED, index=b"R03")
    target = io.BytesIO()
    Image.new("L", (80, 80), 100).save(target, "JPEG", quality=100, exif=stated)
    assert near(colour(target.getvalue()), (100, 100, 100))
