"""Every format and mode comes out as the same picture."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms
from unit.engine import icc
from unit.engine.pictures import (
    BLUE,
    FULL,
    GREEN,
    RED,
    THUMBNAIL,
    YELLOW,
    corners,
    encoded,
    frames_of,
    near,
    pixels,
    run,
    scene,
    tier,
)

from fpj_core.errors import ErrorType, ImageError
from fpj_core.model import Fit, Format, ImageLimits
from fpj_core.sources.base import OpenedImage
from fpj_worker.engine import libvips, process_image
from fpj_worker.engine.pixels import Pixels

QUARTERS = [RED, GREEN, BLUE, YELLOW]


def sixteen_bit_png() -> bytes:
    image = pyvips.Image.new_from_array(np.asarray(scene())).colourspace("rgb16")
    return bytes(image.pngsave_buffer(bitdepth=16))


SOURCES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: encoded(scene(), "JPEG", quality=92),
    "jpeg 4:4:4": lambda: encoded(scene(), "JPEG", quality=92, subsampling=0),
    "progressive jpeg": lambda: encoded(scene(), "JPEG", quality=92, progressive=True),
    "cmyk jpeg": lambda: encoded(scene().convert("CMYK"), "JPEG", quality=95),
    "png": lambda: encoded(scene(), "PNG"),
    "palette png": lambda: encoded(scene().quantize(64), "PNG"),
    "16-bit png": sixteen_bit_png,
    "interlaced png": lambda: pyvips.Image.new_from_array(np.asarray(scene())).pngsave_buffer(
        interlace=True
    ),
    "gif": lambda: encoded(scene(), "GIF"),
    "webp": lambda: encoded(scene(), "WEBP", quality=90),
    "lossless webp": lambda: encoded(scene(), "WEBP", lossless=True),
    "tiff": lambda: encoded(scene(), "TIFF"),
    "lzw tiff": lambda: encoded(scene(), "TIFF", compression="tiff_lzw"),
    "bmp": lambda: encoded(scene(), "BMP"),
    "avif": lambda: encoded(scene(), "AVIF", quality=80, speed=9),
    "heic": lambda: encoded(scene(), "HEIF", quality=80),
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_format_gives_the_same_picture(name: str) -> None:
    result = run(SOURCES[name](), FULL, THUMBNAIL)
    full, thumbnail = result.outputs
    assert (full.width, full.height, full.extension) == (320, 240, "jpg")
    assert (thumbnail.width, thumbnail.height) == (60, 45)
    # A press cannot print such blue and green: libvips' profile knows.
    tolerance = 85 if "cmyk" in name else 12
    assert near(corners(pixels(full.data)), QUARTERS, tolerance), corners(pixels(full.data))
    assert pixels(thumbnail.data).shape == (45, 60, 3)
    assert (result.facts.width, result.facts.height) == (320, 240)
    assert result.facts.format == name.rpartition(" ")[2].replace("4:4:4", "jpeg")
    assert result.facts.warning is None
    assert result.facts.thumbhash
    assert result.facts.dominant_color
    assert result.facts.dominant_color.startswith("#")


@pytest.mark.parametrize("image_format", [Format.JPEG, Format.WEBP, Format.AVIF, Format.PNG])
def test_every_output_format(image_format: Format) -> None:
    (output,) = run(SOURCES["jpeg"](), tier(format=image_format, width=100, height=100)).outputs
    with Image.open(io.BytesIO(output.data)) as image:
        assert image.format == image_format.value.upper()
        assert image.size == (100, 75) == (output.width, output.height)
        assert near(corners(np.asarray(image.convert("RGB"))), QUARTERS, 16)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("jpeg", "JPEG"),
        ("png", "PNG"),
        ("webp", "WEBP"),
        ("avif", "AVIF"),
        ("gif", "JPEG"),
        ("tiff", "JPEG"),
        ("bmp", "JPEG"),
    ],
)
def test_original_keeps_what_can_be_written(source: str, expected: str) -> None:
    (output,) = run(SOURCES[source](), tier(format=Format.ORIGINAL)).outputs
    assert Image.open(io.BytesIO(output.data)).format == expected


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "TIFF", "PNG", "WEBP"])
def test_all_orientations_come_out_upright(orientation: int, image_format: str) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = scene().transpose(undo[orientation]) if orientation > 1 else scene()
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = run(encoded(stored, image_format, exif=exif), tier(width=160, height=160))
    assert (result.outputs[0].width, result.outputs[0].height) == (160, 120)
    assert (result.facts.width, result.facts.height) == (320, 240)
    assert near(corners(pixels(result.outputs[0].data)), QUARTERS, 16)


def test_greyscale_stays_grey() -> None:
    for data in (
        encoded(scene().convert("L"), "JPEG"),
        encoded(scene().convert("L"), "PNG"),
        encoded(scene().convert("1"), "PNG"),
    ):
        (output,) = run(data).outputs
        assert Image.open(io.BytesIO(output.data)).mode == "L"


def test_alpha_is_laid_on_the_background_for_jpeg_and_kept_elsewhere() -> None:
    image = scene().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    data = encoded(image, "PNG")
    (red,) = run(data, tier(background="#ff0000", width=100)).outputs
    assert near(corners(pixels(red.data)), [(254, 0, 0)] * 4, 3)
    (png,) = run(data, tier(format=Format.PNG, width=100)).outputs
    assert pixels(png.data, "RGBA")[..., 3].max() == 0
    (original,) = run(encoded(image, "GIF"), tier(format=Format.ORIGINAL, width=100)).outputs
    assert original.extension == "png"


@pytest.mark.parametrize("image_format", list(Format))
def test_a_logo_in_the_colour_of_the_background_is_no_failure(image_format: Format) -> None:
    """Blank is what it must be: white on white, and nothing at all."""
    logo = np.full((100, 100, 4), 255, np.uint8)
    logo[..., 3] = 0
    logo[30:60, 30:60, 3] = 255
    invisible = scene().convert("RGBA")
    invisible.putalpha(0)
    for image in (Image.fromarray(logo), invisible):
        assert run(encoded(image, "PNG"), tier(format=image_format)).outputs


def test_invisible_colours_do_not_bleed() -> None:
    array = np.zeros((200, 200, 4), np.uint8)
    array[:, :100] = (0, 255, 0, 0)  # invisible green
    array[:, 100:] = (255, 0, 0, 255)
    (png,) = run(
        encoded(Image.fromarray(array), "PNG"), tier(format=Format.PNG, width=25, height=25)
    ).outputs
    out = pixels(png.data, "RGBA")
    visible = out[out[..., 3] > 40]
    assert visible[:, 1].max() < 30, "green shows at the edge"


def test_display_p3_is_converted() -> None:
    profile = pyvips.Image.profile_load("p3")
    p3 = Image.fromarray(np.full((64, 64, 3), (200, 60, 60), np.uint8))
    (output,) = run(
        encoded(p3, "JPEG", quality=95, icc_profile=bytes(profile)), tier(width=32)
    ).outputs
    srgb = ImageCms.createProfile("sRGB")
    expected = ImageCms.profileToProfile(p3, io.BytesIO(bytes(profile)), srgb)
    assert expected
    assert near(
        [tuple(pixels(output.data)[16, 16].tolist())],
        [tuple(np.asarray(expected)[16, 16].tolist())],
        4,
    )
    assert pixels(output.data)[16, 16][0] > 205, "the red of P3 is stronger than that of sRGB"
    for image_format in ("PNG", "TIFF", "WEBP"):
        (other,) = run(
            encoded(p3, image_format, icc_profile=bytes(profile)), tier(width=32)
        ).outputs
        assert near(
            [tuple(pixels(other.data)[16, 16].tolist())],
            [tuple(pixels(output.data)[16, 16].tolist())],
            6,
        )


def test_a_broken_profile_does_not_cost_the_image() -> None:
    assert run(encoded(scene(), "JPEG", icc_profile=b"not a profile" * 20)).outputs


def test_no_metadata_survives() -> None:
    exif = Image.Exif()
    exif[0x010F] = "SecretCameraMaker"
    exif.get_ifd(0x8825)[1] = "N"
    data = encoded(scene(), "JPEG", exif=exif, comment=b"SecretComment")
    assert b"SecretCameraMaker" in data
    for image_format in (Format.JPEG, Format.WEBP, Format.AVIF, Format.PNG):
        (output,) = run(data, tier(format=image_format, width=100)).outputs
        assert b"Secret" not in output.data
        assert not Image.open(io.BytesIO(output.data)).getexif()


def animated(image_format: str) -> bytes:
    frames = [Image.new("RGB", (200, 100), colour) for colour in (RED, GREEN, BLUE)]
    return encoded(
        frames[0],
        image_format,
        save_all=True,
        append_images=frames[1:],
        duration=[100, 200, 300],
        loop=0,
    )


@pytest.mark.parametrize("source", ["GIF", "WEBP"])
def test_animations_are_kept_where_asked_and_else_show_their_first_frame(source: str) -> None:
    data = animated(source)
    kept, still = run(
        data, tier(name="a", format=Format.WEBP, animated=True, width=50), tier(name="b", width=50)
    ).outputs
    moving = Image.open(io.BytesIO(kept.data))
    assert (frames_of(kept.data), moving.size) == (3, (50, 25))
    moving.seek(2)
    moving.load()
    assert moving.info["duration"] == 300
    assert near([tuple(np.asarray(moving.convert("RGB"))[10, 10].tolist())], [BLUE], 20)
    assert near([tuple(pixels(still.data)[10, 10].tolist())], [RED], 12)
    assert (kept.width, kept.height) == (50, 25)


def test_many_frames_are_not_held_at_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the scaled ones are, and the weight asked for says so."""
    frames = [Image.new("P", (1000, 800), number) for number in range(40)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=20)
    small, full = (
        tier(name=str(width), format=Format.WEBP, animated=True, width=width)
        for width in (100, 1000)
    )
    largest: list[int] = []
    to_array = libvips.to_array

    def noted(image: pyvips.Image) -> Pixels:
        largest.append(image.height)
        return to_array(image)

    monkeypatch.setattr(libvips, "to_array", noted)
    asked: list[int] = []
    assert frames_of(run(data, small, admit=asked.append).outputs[0].data) > 1
    assert asked == []
    assert max(largest) <= 800, "not all frames at once"
    run(data, small, full, admit=asked.append)
    assert asked == [1000 * 800 * 40 * 8]


def test_frames_count_as_pixels_where_they_are_kept() -> None:
    limits = ImageLimits(max_pixels=200 * 100 * 3 - 1)
    kept = tier(name="kept", format=Format.WEBP, animated=True)
    for image_format in ("GIF", "WEBP"):
        data = animated(image_format)
        with pytest.raises(
            ImageError, match="an animation of 3 x 200x100 = 60,000 pixels"
        ) as error:
            run(data, FULL, kept, limits=limits)
        assert error.value.error_type is ErrorType.TOO_MANY_PIXELS
        assert run(data, FULL, kept, limits=limits, make=["full"]).outputs
        assert run(data, tier(format=Format.WEBP), limits=limits).outputs
        assert run(data, tier(animated=True), limits=limits).outputs


def test_a_moving_picture_can_be_cropped() -> None:
    (output,) = run(
        animated("GIF"), tier(format=Format.WEBP, animated=True, width=50, height=50, fit=Fit.COVER)
    ).outputs
    assert Image.open(io.BytesIO(output.data)).size == (50, 50) == (output.width, output.height)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "TIFF", "AVIF"])
def test_linear_profiles_are_used_in_colour_and_in_grey(image_format: str) -> None:
    """Also one that has sRGB in its name."""
    linear = [tuple(round(255 * as_srgb(value / 255)) for value in colour) for colour in QUARTERS]
    (output,) = run(encoded(scene(), image_format, icc_profile=icc.LINEAR_SRGB)).outputs
    assert near(corners(pixels(output.data)), linear, 8)
    grey = scene().convert("L")
    (output,) = run(encoded(grey, image_format, icc_profile=icc.LINEAR_GREY)).outputs
    assert Image.open(io.BytesIO(output.data)).mode == "L"
    expected = [
        tuple(round(255 * as_srgb(value / 255)) for value in colour)
        for colour in corners(np.asarray(grey.convert("RGB")))
    ]
    assert near(corners(pixels(output.data)), expected, 8)


def as_srgb(light: float) -> float:
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
@pytest.mark.parametrize(
    "profile", [b"not a profile" * 20, icc.LINEAR_GREY, icc.LINEAR_SRGB], ids=["bad", "grey", "rgb"]
)
def test_a_profile_that_does_not_fit_does_not_cost_the_image(mode: str, profile: bytes) -> None:
    assert run(
        encoded(scene().convert(mode), "PNG", icc_profile=profile), tier(format=Format.PNG)
    ).outputs


@pytest.mark.parametrize("fit", [Fit.COVER, Fit.SMART])
def test_cover_and_smart_fill_the_box(fit: Fit) -> None:
    (output,) = run(SOURCES["jpeg"](), tier(width=100, height=100, fit=fit)).outputs
    assert (output.width, output.height) == (100, 100)
    assert pixels(output.data).shape == (100, 100, 3)


def test_smart_finds_the_subject() -> None:
    array = np.full((100, 400, 3), 90, np.uint8)
    array[20:80, 320:380] = (250, 60, 40)
    data = encoded(Image.fromarray(array), "PNG")
    smart, cover = (
        run(data, tier(width=100, height=100, fit=fit)).outputs[0] for fit in (Fit.SMART, Fit.COVER)
    )
    assert (pixels(smart.data)[..., 0] > 200).sum() > 3000
    assert (pixels(cover.data)[..., 0] > 200).sum() == 0


def test_the_same_image_gives_the_same_bytes() -> None:
    tiers = [
        tier(name=f.value, format=f, width=100)
        for f in (Format.JPEG, Format.WEBP, Format.AVIF, Format.PNG)
    ]
    data = SOURCES["jpeg"]()
    assert run(data, *tiers) == run(data, *tiers)


def test_outputs_come_in_the_order_asked_for() -> None:
    small, large = tier(name="small", width=50), tier(name="large", width=200)
    assert [o.tier for o in run(SOURCES["jpeg"](), small, large).outputs] == ["small", "large"]


def test_recognised_formats_that_cannot_be_read_say_so() -> None:
    with pytest.raises(ImageError, match="jxl images cannot be read") as error:
        run(b"\xff\x0a" + bytes(100))
    assert error.value.error_type is ErrorType.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "heic"])
def test_a_name_need_not_be_utf8(name: str, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9"
    Path(os.fsdecode(path)).write_bytes(SOURCES[name]())
    assert process_image(OpenedImage("x", path=path), (THUMBNAIL,), ImageLimits()).outputs


@pytest.mark.parametrize("flip", [False, True], ids=["narrow", "flat"])
def test_no_tier_is_enlarged_from_a_smaller_one(flip: bool) -> None:
    """Of a narrow picture both are one pixel wide.

    45 bands of red and blue cannot be told apart in 50 pixels.
    """
    array = np.zeros((2700, 4, 3), np.uint8)
    array[:, :, 0] = (np.arange(2700) // 60 % 2 * 255)[:, None]
    array = array.transpose(1, 0, 2) if flip else array
    tiers = (
        tier(name="small", width=50, height=50),
        tier(name="full", format=Format.PNG, width=270, height=270),
    )
    full = run(encoded(Image.fromarray(np.ascontiguousarray(array)), "PNG"), *tiers).outputs[1]
    line = pixels(full.data)[..., 0].reshape(-1)
    assert (full.width, full.height) == ((270, 1) if flip else (1, 270))
    assert line[3::12].max() < 40
    assert line[9::12].min() > 215


@pytest.mark.parametrize(("alpha", "mode"), [(0, "RGB"), (128, "RGBA")])
def test_a_bmp_whose_alpha_is_all_zero_is_opaque(alpha: int, mode: str) -> None:
    array = np.asarray(scene(64, 48).convert("RGBA")).copy()
    array[..., 3] = alpha
    rows = array[::-1, :, [2, 1, 0, 3]].tobytes()
    masks = struct.pack("<4L", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = (
        struct.pack("<LllHHLLllLL", 124, 64, 48, 1, 32, 3, len(rows), 0, 0, 0, 0)
        + masks
        + b"BGRs"
        + bytes(64)
    )
    data = b"BM" + struct.pack("<LHHL", 138 + len(rows), 0, 0, 138) + header + rows
    image = Image.open(io.BytesIO(run(data, tier(format=Format.PNG)).outputs[0].data))
    assert image.mode == mode
    assert near(corners(np.asarray(image.convert("RGB"))), QUARTERS)


def test_the_first_page_of_a_tiff_counts_whatever_its_size() -> None:
    data = encoded(scene(64, 48), "TIFF", save_all=True, append_images=[scene()])
    assert run(data).facts.width == 64
