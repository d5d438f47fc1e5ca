"""PQ and HLG are shown with the brightness that BT.2408 gives their signals, not as a grey veil."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pillow_heif
import pytest
import pyvips
from PIL import Image
from unit.engine import icc
from unit.engine.pictures import encoded, pixels, run, tier
from unit.engine.test_aperture import with_clap
from unit.engine.test_orientation import block

from fpj_core.model import Format, ImageLimits
from fpj_core.sources.base import OpenedImage
from fpj_worker.engine import codedcolours, hdr, process_image

PQ, HLG = 16, 18
BT709, BT2020, P3 = 1, 9, 12
WHITE, GREY = {PQ: 0.5807, HLG: 0.75}, 0.38
"""Signals of reference white (203 cd/m²) and of an 18 % grey card (26 cd/m²): BT.2408, table 1."""
RED_OF_709 = (0.6274, 0.0691, 0.0164)
"""In linear light of BT.2020 (BT.2087, table 2)."""


def columns(colours: Sequence[Sequence[float]], size: int = 64) -> npt.NDArray[np.uint16]:
    """Stripes of these signals (0 to 1), at 16 bits."""
    stripe = np.repeat(np.array(colours), size, axis=0)
    return np.ascontiguousarray(
        np.rint(np.repeat(stripe[None], size, axis=0) * 65_535).astype(np.uint16)
    )


def heic(array: npt.NDArray[np.uint16], transfer: int, primaries: int = BT2020) -> bytes:
    mode = {1: "I;16", 3: "RGB;16", 4: "RGBA;16"}[array.shape[2]]
    target = io.BytesIO()
    image = pillow_heif.from_bytes(mode, (array.shape[1], array.shape[0]), array.tobytes())
    image.save(
        target,
        quality=-1,
        chroma=444,
        matrix_coefficients=9,
        color_primaries=primaries,
        transfer_characteristics=transfer,
    )
    return target.getvalue()


def avif(
    array: npt.NDArray[np.uint16], transfer: int, primaries: int = BT2020, bits: int = 10
) -> bytes:
    bands = array.shape[2]
    image = pyvips.Image.new_from_memory(
        array.data, array.shape[1], array.shape[0], bands, "ushort"
    )
    image = image.copy(interpretation="rgb16" if bands > 1 else "grey16")
    data = bytes(
        image.heifsave_buffer(
            compression="av1", bitdepth=bits, lossless=True, effort=0, keep="none"
        )
    )
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def seen(data: bytes, count: int, mode: str = "RGB") -> list[tuple[int, ...]]:
    result = run(data, tier(format=Format.PNG))
    array = pixels(result.outputs[0].data, mode)
    width = array.shape[1] // count
    return [
        tuple(int(v) for v in array[array.shape[0] // 2, width // 2 + number * width])
        for number in range(count)
    ]


def pq(light: float) -> float:
    """The signal of light in cd/m² (BT.2100, table 4)."""
    power = (light / 10_000) ** (2610 / 16384)
    return float(((107 / 128 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32))


def near(found: tuple[float, ...], expected: tuple[float, ...], tolerance: int = 3) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("container", [heic, avif], ids=["heic", "avif"])
@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_reference_levels(container: Callable[..., bytes], transfer: int) -> None:
    levels = (0.0, GREY, WHITE[transfer], 1.0)
    black, grey, white, peak = seen(
        container(columns([[level] * 3 for level in levels]), transfer), 4
    )
    assert near(black, (0, 0, 0))
    assert near(grey, (100, 100, 100)), "26 / 203 of the light of white, by sRGB's curve"
    assert near(white, (229, 229, 229)), "bent by BT.2390: what is brighter has room above it"
    assert near(peak, (255, 255, 255))


@pytest.mark.parametrize("container", [heic, avif], ids=["heic", "avif"])
def test_colours_are_those_of_the_primaries(container: Callable[..., bytes]) -> None:
    red = [pq(26 * part) for part in RED_OF_709]
    assert near(seen(container(columns([red]), PQ), 1)[0], (100, 0, 0), 8)
    assert near(seen(container(columns([[pq(26), 0, 0]]), PQ, BT709), 1)[0], (100, 0, 0), 4)


def test_twelve_bits_grey_and_alpha() -> None:
    assert near(seen(avif(columns([[GREY] * 3]), PQ, bits=12), 1)[0], (100, 100, 100))
    assert near(seen(heic(columns([[GREY]]), HLG), 1)[0], (100, 100, 100))
    for container in (heic, avif):
        assert near(
            seen(container(columns([[GREY, GREY, GREY, 0.5]]), PQ), 1, "RGBA")[0],
            (100, 100, 100, 127),
        )


def test_the_stated_peak_counts() -> None:
    """Of 4,000 cd/m² more is kept, so white is darker.

    A picture that is never brighter than white is not changed.
    """
    lights = np.array([26, 100, 203, 1_000, 4_000], np.float32) / np.float32(203)
    usual, bright = hdr.eetf(lights, 1_000.0), hdr.eetf(lights, 4_000.0)
    assert np.allclose(usual[0], lights[0], rtol=0.01), "below the knee nothing changes"
    assert (np.diff(usual[:4]) > 0).all() and (np.diff(bright) > 0).all()
    assert bright[2] < usual[2] < 1
    assert np.allclose([usual[3], bright[4]], 1, atol=0.01)
    dim = hdr.to_srgb(columns([[pq(203)] * 3]), 65_535, hdr.Coding(PQ, BT2020, 203.0))
    assert near(tuple(dim[32, 32]), (255, 255, 255))


def halves(**options: Any) -> bytes:
    """An AVIF of 8 bits, its left half dark and its right one bright, said to be PQ."""
    image = Image.new("RGB", (64, 32), (97, 97, 97))
    image.paste((148, 148, 148), (32, 0, 64, 32))
    plain = encoded(image, "AVIF", quality=100, **options)
    at = plain.index(b"colrnclx") + 8
    return plain[:at] + struct.pack(">HH", BT2020, PQ) + plain[at + 4 :]


def test_an_avif_is_turned_all_the_same() -> None:
    result = run(halves(exif=b"Exif\0\0" + block(6)), tier(format=Format.PNG))
    assert (result.facts.width, result.facts.height) == (32, 64)
    top, bottom = (tuple(pixels(result.outputs[0].data)[row, 16]) for row in (8, 56))
    assert near(top, (100, 100, 100), 4)
    assert near(bottom, (229, 229, 229), 4)


@pytest.mark.parametrize("side", [1_000, 16])
def test_an_avif_is_cut_all_the_same(side: int) -> None:
    data = with_clap(halves(), 32, 1, 32, 1, -16, 1, 0, 1)
    result = run(data, tier(format=Format.PNG, width=side, height=side))
    assert (result.facts.width, result.facts.height) == (32, 32)
    assert near(
        tuple(pixels(result.outputs[0].data).reshape(-1, 3).mean(axis=0)), (100, 100, 100), 4
    )


@pytest.mark.parametrize("image_format", ["AVIF", "HEIF"])
@pytest.mark.parametrize(("transfer", "expected"), [(PQ, (229, 229, 229)), (13, (148, 148, 148))])
def test_the_numbers_of_a_profile_count(
    image_format: str, transfer: int, expected: tuple[int, ...]
) -> None:
    """Its tables would show light of 10,000 cd/m² as white, and all else as black."""
    profile = icc.with_tag(b"cicp", b"cicp\0\0\0\0" + bytes((BT2020, transfer, 0, 1)))
    data = encoded(
        Image.new("RGB", (64, 64), (148, 148, 148)), image_format, icc_profile=profile, quality=100
    )
    assert near(seen(data, 1)[0], expected, 4)


@pytest.mark.parametrize("container", [heic, avif], ids=["heic", "avif"])
def test_whatever_the_file_is_called(container: Callable[..., bytes], tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9"
    with open(path, "wb") as file:
        file.write(container(columns([[GREY] * 3]), PQ))
    result = process_image(OpenedImage("x", path=path), (tier(format=Format.PNG),), ImageLimits())
    assert near(tuple(pixels(result.outputs[0].data)[32, 32]), (100, 100, 100))


@pytest.mark.parametrize("container", [heic, avif], ids=["heic", "avif"])
def test_wide_primaries_without_a_profile_are_converted(container: Callable[..., bytes]) -> None:
    """Display P3 by its number: the cases' values for P3 red."""
    red = [[200 / 255, 40 / 255, 40 / 255]]
    assert near(seen(container(columns(red), 13, P3), 1)[0], (218, 0, 26), 5)
    assert near(seen(container(columns(red), 13, BT709), 1)[0], (200, 40, 40), 3)


# Colours that the coded picture alone states ------------------------------------------------------


def av1_stating(data: bytes, transfer: int, primaries: int = BT2020) -> bytes:
    """With other numbers in the sequence header of an AVIF that says (1, 13), sRGB,
    or that it says nothing.
    """
    start = data.index(b"mdat") + 4
    bits = f"{int.from_bytes(data[start : start + 24], 'big'):0192b}"
    at = max(bits.find(f"1{first:08b}{second:08b}") for first, second in ((BT709, 13), (2, 2))) + 1
    bits = bits[:at] + f"{primaries:08b}{transfer:08b}" + bits[at + 16 :]
    return data[:start] + int(bits, 2).to_bytes(24, "big") + data[start + 24 :]


def card(*levels: float) -> Image.Image:
    return Image.fromarray((columns([[level] * 3 for level in levels]) >> 8).astype(np.uint8))


def stated_in_the_stream(container: str, transfer: int) -> bytes:
    """A grey card and reference white."""
    levels = (GREY, WHITE[transfer])
    if container == "heic":
        return heic(columns([[level] * 3 for level in levels]), transfer)
    return av1_stating(encoded(card(*levels), "AVIF", quality=100, speed=9), transfer)


def without_box(data: bytes) -> bytes:
    return data.replace(b"colrnclx", b"freenclx")


def unspecified(data: bytes) -> bytes:
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", 2, 2) + data[at + 4 :]


@pytest.mark.parametrize("silenced", [without_box, unspecified])
@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("container", ["heic", "avif"])
def test_what_only_the_coded_picture_states_counts(
    container: str, transfer: int, silenced: Callable[[bytes], bytes]
) -> None:
    grey, white = seen(silenced(stated_in_the_stream(container, transfer)), 2)
    assert near(grey, (100, 100, 100), 5)
    assert near(white, (229, 229, 229), 4)


def test_a_box_and_a_profile_count_more_than_the_coded_picture() -> None:
    for more in ({}, {"icc_profile": icc.rgb(b"x", None)}):
        named = encoded(card(GREY), "AVIF", quality=100, speed=9, **more)
        assert near(seen(av1_stating(named, PQ), 1)[0], (97, 97, 97), 3)


@pytest.mark.parametrize("stop", range(0, 60, 7))
def test_a_coded_picture_that_ends_early_states_nothing(stop: int) -> None:
    whole = stated_in_the_stream("heic", PQ)
    box = whole[whole.index(b"hvcC") + 4 :][:200]
    assert codedcolours.of_hevc(box) == (BT2020, PQ)
    assert codedcolours.of_hevc(box[:stop]) is None
    coded = stated_in_the_stream("avif", PQ)
    coded = coded[coded.index(b"mdat") + 4 :]
    assert codedcolours.of_av1(coded) == (BT2020, PQ)
    assert codedcolours.of_av1(coded[: stop // 6]) is None


def test_a_moving_sequence_header_is_understood_too() -> None:
    """With timing, a decoder model, two operating points and frame numbers,
    as video encoders write it.
    """
    fields = [
        (0, 3),
        (0, 2),
        (1, 1),
        (1, 32),
        (25, 32),
        (1, 1),
        (1, 1),
        (1, 1),
        (9, 5),
        (1, 32),
        (9, 5),
        (9, 5),
    ]
    fields += [(1, 1), (1, 5)]  # initial display delay, two operating points
    for level in (5, 9):
        fields += [
            (0, 12),
            (level, 5),
            *([(1, 1)] if level > 7 else []),
            (1, 1),
            (0, 21),
            (1, 1),
            (9, 4),
        ]
    fields += [
        (5, 4),
        (5, 4),
        (63, 6),
        (63, 6),
        (1, 1),
        (0, 7),
        (0, 3),
        (0, 4),
        (1, 1),
        (0, 2),
        (0, 1),
        (1, 1),
    ]
    fields += [(0, 1), (1, 1), (6, 3), (0, 3), (1, 1), (0, 1), (1, 1), (BT2020, 8), (PQ, 8), (9, 8)]
    bits = "".join(f"{value:0{width}b}" for value, width in fields)
    content = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    assert codedcolours.of_av1(bytes((0x12, 0, 0x0A, len(content))) + content) == (BT2020, PQ)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_the_numbers_of_a_profile_count_in_every_format(image_format: str, transfer: int) -> None:
    profile = icc.with_tag(b"cicp", b"cicp\0\0\0\0" + bytes((BT2020, transfer, 0, 1)))
    both = card(GREY, WHITE[transfer])
    more: dict[str, Any] = {"quality": 98} if image_format in ("JPEG", "WEBP") else {}
    grey, white = seen(encoded(both, image_format, icc_profile=profile, **more), 2)
    assert near(grey, (100, 100, 100), 5)
    assert near(white, (229, 229, 229), 5)
    if image_format == "JPEG":
        grey, _ = seen(
            encoded(both, "JPEG", icc_profile=profile, quality=98, progressive=True, subsampling=0),
            2,
        )
        assert near(grey, (100, 100, 100), 5)
        seen(encoded(both.convert("CMYK"), "JPEG", icc_profile=profile), 2)
