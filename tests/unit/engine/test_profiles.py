"""Profiles count by what they do: not by their names, and at every depth."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import pyvips
from PIL import Image
from unit.engine import icc
from unit.engine.pictures import encoded, pixels, run, scene, tier

from fpj_core.model import Format
from fpj_worker.engine import libvips

LEVELS = (10, 90, 170, 250)


def deep(image_format: str, bands: int, profile: bytes | None) -> bytes:
    """Columns of four greys at 16 bits, alpha in the last band of 2 or 4."""
    columns = np.repeat(np.array(LEVELS, np.uint16) * 257, 20)
    array = np.repeat(columns[None, :, None], 40, axis=0).repeat(bands, axis=2)
    if bands in (2, 4):
        array[..., -1] = 65_535
    space = "grey16" if bands < 3 else "rgb16"
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(array).data, 80, 40, bands, "ushort")
    image = image.copy(interpretation=space)
    if profile:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return bytes(
        image.pngsave_buffer(bitdepth=16) if image_format == "PNG" else image.tiffsave_buffer()
    )


def seen(data: bytes) -> list[int]:
    (output,) = run(data, tier(format=Format.PNG)).outputs
    array: npt.NDArray[np.uint8] = pixels(output.data)
    return [int(array[20, 10 + 20 * column, 1]) for column in range(4)]


def lightened(level: int) -> int:
    light = level / 255
    return round(
        255 * (light * 12.92 if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055)
    )


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_profiles_are_used_at_16_bits(bands: int, image_format: str) -> None:
    profile = icc.LINEAR_GREY if bands < 3 else icc.LINEAR_SRGB
    assert np.abs(np.subtract(seen(deep(image_format, bands, None)), LEVELS)).max() <= 1
    assert (
        np.abs(
            np.subtract(seen(deep(image_format, bands, profile)), [*map(lightened, LEVELS)])
        ).max()
        <= 2
    )


def test_a_profile_named_srgb_is_used() -> None:
    """Of gamma 1.8, which is close to sRGB in linear light and visibly another."""
    named = icc.rgb(b"sRGB IEC61966-2.1", 1.8)
    assert not libvips.is_srgb(named)
    plain, converted = (
        run(encoded(scene(), "JPEG", icc_profile=each)).outputs[0] for each in (None, named)
    )
    assert pixels(converted.data).mean() > pixels(plain.data).mean() + 3


def test_tables_named_srgb_are_used() -> None:
    """The channels change places: red becomes green."""
    array = pixels(run(encoded(scene(), "JPEG", icc_profile=icc.swapped(b"sRGB"))).outputs[0].data)
    assert array[20, 20].argmax() == 1


def test_srgb_itself_costs_nothing() -> None:
    assert libvips.is_srgb(bytes(pyvips.Image.profile_load("srgb")))
    assert libvips.is_srgb(icc.rgb(b"anything", None))
    assert not libvips.is_srgb(bytes(pyvips.Image.profile_load("p3")))
    assert libvips.is_srgb(b"RGB " * 100), "what cannot be used changes nothing"
    assert not libvips.is_srgb(icc.LINEAR_GREY)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_an_unusable_profile_costs_no_picture(mode: str) -> None:
    broken = bytes(pyvips.Image.profile_load("cmyk"))
    data = encoded(scene().convert(mode), "PNG", icc_profile=broken)
    assert abs(int(pixels(run(data).outputs[0].data)[20, 20, 0]) - 220) < 12


@pytest.mark.parametrize("image_format", ["WEBP", "JPEG", "TIFF"])
@pytest.mark.parametrize("colour", [(90, 90, 90), (90, 60, 90)])
def test_a_profile_of_grey_is_used_where_all_is_grey(
    image_format: str, colour: tuple[int, int, int]
) -> None:
    """What has no format for grey is written as colours, and the scanner's profile with it."""
    image = Image.new("RGB", (64, 64), colour)
    more: dict[str, Any] = {"lossless": True} if image_format == "WEBP" else {}
    data = encoded(image, image_format, icc_profile=icc.LINEAR_GREY, **more)
    shown = lightened(90) if len({*colour}) == 1 else 90
    assert (
        abs(int(pixels(run(data, tier(format=Format.PNG)).outputs[0].data)[20, 20, 0]) - shown) <= 2
    )
