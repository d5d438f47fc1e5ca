"""TIFF: what is shown is right, what cannot be shown rightly is refused."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import pyvips
from PIL import Image
from unit.engine.pictures import FULL, corners, encoded, near, pixels, run, scene, tier
from unit.engine.test_formats import QUARTERS
from unit.engine.tiffs import Values, directory, tiff

from fpj_core.errors import ErrorType, ImageError
from fpj_core.model import Format, ImageLimits
from fpj_core.sources.base import OpenedImage
from fpj_worker.engine import libvips, process_image
from fpj_worker.engine.pixels import Pixels

SCENE = scene()
GREY = np.asarray(SCENE.convert("L"))
COLOUR = np.asarray(SCENE)
NEW = pyvips.Image.new_from_array


def refused(data: bytes) -> str:
    with pytest.raises(ImageError) as error:
        run(data)
    assert error.value.error_type is ErrorType.UNSUPPORTED_FORMAT, error.value
    return error.value.message


def greys(array: Pixels) -> list[int]:
    return [colour for (colour,) in corners(array[..., None])]


@pytest.mark.parametrize(
    "pixels_of",
    [
        lambda: (GREY / 255).astype(np.float32),
        lambda: GREY.astype(np.float32),
        lambda: (COLOUR / 255).astype(np.float32),
        lambda: COLOUR.astype(np.float64),
        lambda: GREY.astype(np.int8),
        lambda: GREY.astype(np.int16),
        lambda: GREY.astype(np.int32),
        lambda: (GREY / 255).astype(np.complex64),
    ],
    ids=[
        "grey 0 to 1",
        "grey 0 to 255",
        "rgb 0 to 1",
        "double",
        "int8",
        "int16",
        "int32",
        "complex",
    ],
)
def test_samples_of_unknown_range_are_refused(pixels_of: Callable[[], npt.NDArray[Any]]) -> None:
    assert "floating point, signed or complex" in refused(NEW(pixels_of()).tiffsave_buffer())


def test_wide_integers_are_refused() -> None:
    assert "32 bits" in refused(NEW(GREY.astype(np.uint32) << 24).tiffsave_buffer())


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_16_bits_are_made(order: str, white_is_zero: bool) -> None:
    samples = (GREY.astype(f"{order}u2") * 257).tobytes()
    data = tiff((*SCENE.size, samples), {258: (16,), 262: (0 if white_is_zero else 1,)}, order)
    (output,) = run(data).outputs
    seen = greys(pixels(output.data, "L"))
    expected = [255 - grey if white_is_zero else grey for grey in greys(GREY)]
    assert near([tuple(seen)], [tuple(expected)], 3)


def test_16_bit_colours_are_made() -> None:
    samples = (COLOUR.astype("<u2") * 257).tobytes()
    data = tiff((*SCENE.size, samples), {258: (16,) * 3, 262: (2,), 277: (3,)})
    assert near(corners(pixels(run(data).outputs[0].data)), QUARTERS, 4)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({262: (6,)}, "YCbCr"),
        ({262: (4,)}, "transparency mask"),
        ({262: (8,)}, r"CIE L\*a\*b\*"),
        ({262: (32845,)}, "colour space 32845"),
        ({262: (5,), 332: (2,)}, "other inks than CMYK"),
        ({339: (3,) * 3}, "floating point"),
        ({258: (12,) * 3}, "12 bits"),
        ({258: (5, 6, 5)}, "5 and 6 bits"),
        ({259: (6,)}, "old-style JPEG"),
        ({259: (34712,)}, "JPEG 2000"),
        ({259: (34925,)}, "LZMA"),
        ({259: (50000,)}, "Zstandard"),
        ({259: (12345,)}, "number 12345"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_variants_are_refused_by_name(tags: Mapping[int, Values], words: str) -> None:
    with pytest.raises(ImageError, match=words) as error:
        run(tiff(SCENE, tags))
    assert error.value.error_type is ErrorType.UNSUPPORTED_FORMAT


def test_ycbcr_is_shown_where_it_is_jpeg() -> None:
    assert "YCbCr" in refused(encoded(SCENE.convert("YCbCr"), "TIFF"))
    assert near(
        corners(pixels(run(encoded(SCENE, "TIFF", compression="jpeg")).outputs[0].data)), QUARTERS
    )


@pytest.mark.parametrize("compression", ["zstd", "lzma"])
def test_compressions_without_a_decoder_are_unsupported(compression: str) -> None:
    assert "compression" in refused(encoded(SCENE, "TIFF", compression=compression))


@pytest.mark.parametrize(("extra", "bands"), [((0,), 3), ((1,), 4), ((2,), 4), (None, 4)])
def test_a_further_band_is_alpha_unless_it_is_said_to_be_none(
    extra: tuple[int] | None, bands: int
) -> None:
    samples = np.dstack([COLOUR, np.full(GREY.shape, 200, np.uint8)]).tobytes()
    tags: dict[int, Values] = {258: (8,) * 4, 262: (2,), 277: (4,)}
    if extra:
        tags[338] = extra
    (output,) = run(tiff((*SCENE.size, samples), tags), tier(format=Format.PNG)).outputs
    assert len(Image.open(io.BytesIO(output.data)).getbands()) == bands


def test_many_bands_are_shown_by_their_colours() -> None:
    samples = np.dstack([COLOUR, COLOUR, GREY]).tobytes()
    (output,) = run(tiff((*SCENE.size, samples), {258: (8,) * 7, 262: (2,), 277: (7,)})).outputs
    assert near(corners(pixels(output.data)), QUARTERS)


# Camera raw ---------------------------------------------------------------------------------------

PREVIEW = scene(64, 48)


def with_subdirectory(
    tags: Mapping[int, Values], sub: Mapping[int, Values], order: str = "<"
) -> bytes:
    """A preview whose directory names another one, as raw files have it."""
    empty = tiff(PREVIEW, dict(tags) | {330: (100_000,)}, order)
    offset = len(empty) + len(empty) % 2
    data = tiff(PREVIEW, dict(tags) | {330: (offset + 65_536,)}, order)
    return data.ljust(offset + 65_536, b"\0") + directory(sub, offset + 65_536, order)


CFA: Mapping[int, Values] = {
    256: (4000,),
    257: (3000,),
    258: (14,),
    259: (1,),
    262: (32803,),
    277: (1,),
}
NIKON: Mapping[int, Values] = {**CFA, 259: (34713,)}

RAW = {
    "dng": lambda: tiff(PREVIEW, {50706: (1, 4, 0, 0)}),
    "cr2": lambda: b"II*\0\x10\0\0\0CR\x02\0" + bytes(100),
    "iiq": lambda: b"II*\0\x10\0\0\0IIII\x01waR" + bytes(100),
    "nef": lambda: with_subdirectory({254: (1,), 271: b"NIKON CORPORATION\0"}, NIKON, ">"),
    "arw": lambda: with_subdirectory({271: b"SONY\0"}, {**CFA, 259: (32767,)}),
    "preview of a camera": lambda: with_subdirectory(
        {254: (1,), 271: b"Some Camera\0"}, {256: (1,)}
    ),
    "sensor data first": lambda: tiff((64, 48, bytes(64 * 48)), {262: (32803,), 33421: (2, 2)}),
    "linear raw": lambda: tiff(PREVIEW, {262: (34892,)}),
}


@pytest.mark.parametrize("name", RAW)
def test_camera_raw_is_refused(name: str) -> None:
    assert refused(RAW[name]()) == "camera raw images cannot be read"


def test_raw_data_behind_the_preview_is_found() -> None:
    """As in Pentax' files: the next directory, not a sub-directory."""
    data = tiff(PREVIEW, {})
    first = struct.unpack_from("<L", data, 4)[0]
    (count,) = struct.unpack_from("<H", data, first)
    behind = len(data) + len(data) % 2
    linked = bytearray(data.ljust(behind, b"\0")) + directory(CFA, behind)
    struct.pack_into("<L", linked, first + 2 + 12 * count, behind)
    assert "raw" in refused(bytes(linked))


def test_a_developed_photograph_is_no_raw_file() -> None:
    """What a developer writes keeps the camera's name,
    and may have a smaller copy in a sub-directory.
    """
    data = with_subdirectory(
        {271: b"NIKON CORPORATION\0"}, {254: (1,), 256: (32,), 257: (24,), 262: (2,)}
    )
    assert run(data).facts.width == 64


def test_directories_in_a_circle_end() -> None:
    data = bytearray(tiff(SCENE, {330: (70_000, 70_000)}))
    first = struct.unpack_from("<L", data, 4)[0]
    (count,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<L", data, first + 2 + 12 * count, first)
    assert run(bytes(data)).outputs


def test_bigtiff_and_pyramids_are_made(tmp_path: Path) -> None:
    image = NEW(COLOUR)
    for options in (
        {"bigtiff": True},
        {"tile": True, "pyramid": True, "subifd": True},
        {"tile": True},
    ):
        path = tmp_path / "image.tif"
        path.write_bytes(image.tiffsave_buffer(**options))
        made = process_image(OpenedImage("image", path=bytes(path)), (FULL,), ImageLimits())
        assert near(corners(pixels(made.outputs[0].data)), QUARTERS)


# Damage -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"II*\0\x08\0\0\0" + bytes(6),
        b"MM\0*\0\0\0\x08" + bytes(6),
        b"II*\0\x08\0\0\0\xff\xff" + bytes(6),
        b"II*\0\xff\xff\xff\xff" + bytes(40),
        b"II+\0\x08\0\0\0" + b"\xff" * 24,
        b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0" + b"\xff" * 24,
    ],
    ids=[
        "no entries",
        "no entries, big-endian",
        "too many",
        "beyond the end",
        "BigTIFF",
        "BigTIFF, many entries",
    ],
)
def test_a_damaged_directory_is_corrupt(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    path.write_bytes(data)
    for opened in (OpenedImage("image", data=data), OpenedImage("image", path=bytes(path))):
        with pytest.raises(ImageError) as error:
            process_image(opened, (FULL,), ImageLimits())
        assert error.value.error_type is ErrorType.CORRUPT_IMAGE


@pytest.mark.parametrize(
    ("words", "error_type"),
    [
        (
            (
                "tiff2vips: Failed to allocate memory for to read TIFF directory (0 elements of 12"
                " bytes each)"
            ),
            "CorruptImage",
        ),
        (
            "tiff2vips: Failed to allocate memory for strip (9000 elements of 8 bytes each)",
            "OutOfMemory",
        ),
        ("out of memory --- size == 800MB", "OutOfMemory"),
        ("VipsJpeg: Insufficient memory (case 4)", "OutOfMemory"),
        ("tiff2vips: ZSTD compression support is not configured", "UnsupportedFormat"),
        ("VipsJpeg: Premature end of JPEG file", "CorruptImage"),
    ],
)
def test_what_libvips_says_is_understood(words: str, error_type: str) -> None:
    assert libvips.typed(pyvips.Error("unable to load", words)).error_type == error_type


def test_huge_tiles_are_admitted_first() -> None:
    asked: list[int] = []
    image = NEW(np.zeros((64, 10_000), np.uint8))
    run(
        image.tiffsave_buffer(tile=True, tile_width=8192, tile_height=8192, compression="deflate"),
        admit=asked.append,
    )
    assert asked == [2 * 8192 * 8192]


BAD_TAGS: dict[str, tuple[dict[int, Values], tuple[int, int] | None]] = {
    "orientation 0": ({274: (0,)}, None),
    "orientation 9": ({274: (9,)}, None),
    "resolution unit 0": ({296: (0,)}, None),
    "threshholding 9": ({263: (9,)}, None),
    "unknown type": ({65000: (1,)}, (65000, 99)),
    "known tag of another type": ({305: (1,)}, (305, 12)),
}


@pytest.mark.parametrize("from_file", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", BAD_TAGS)
def test_a_bad_tag_beside_the_picture_costs_no_picture(
    name: str, order: str, from_file: bool, tmp_path: Path
) -> None:
    tags, kind = BAD_TAGS[name]
    data = tiff(scene(), tags, order)
    if kind:
        entry = data.index(struct.pack(f"{order}HH", kind[0], 3))
        data = data[:entry] + struct.pack(f"{order}HH", *kind) + data[entry + 4 :]
    path = tmp_path / "x.tif"
    path.write_bytes(data)
    opened = OpenedImage("x", path=bytes(path)) if from_file else OpenedImage("x", data=data)
    result = process_image(opened, (tier(format=Format.PNG),), ImageLimits())
    assert near(corners(pixels(result.outputs[0].data)), QUARTERS)
    with pytest.raises(ImageError):
        run(
            tiff(
                (*scene().size, scene().tobytes()[:1000]),
                {258: (8,) * 3, 262: (2,), 277: (3,)} | tags,
                order,
            )
        )


def test_tiles_in_separate_planes_are_unsupported() -> None:
    tags = {284: (2,), 322: (320,), 323: (240,), 324: (8, 8, 8), 325: (10, 10, 10)}
    with pytest.raises(ImageError, match="tiles in separate planes") as error:
        run(tiff(scene(), tags))
    assert error.value.error_type is ErrorType.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("white_is_zero", [False, True])
def test_grey_with_alpha_in_separate_planes_is_unsupported(white_is_zero: bool) -> None:
    size = len(GREY.tobytes())
    planes = {273: (8, 8 + size), 277: (2,), 279: (size, size), 284: (2,), 338: (2,)}
    tags = {258: (8, 8), 262: (0 if white_is_zero else 1,), **planes}
    data = tiff((*SCENE.size, GREY.tobytes() + bytes([255]) * size), tags)
    assert "grey and further bands in separate planes" in refused(data)


def test_colours_in_separate_planes_are_made() -> None:
    planes = COLOUR.transpose(2, 0, 1)
    size = len(planes[0].tobytes())
    tags = {
        258: (8,) * 3,
        262: (2,),
        273: tuple(8 + size * each for each in range(3)),
        277: (3,),
        279: (size,) * 3,
    }
    data = tiff((*SCENE.size, planes.tobytes()), tags | {284: (2,)})
    assert near(corners(pixels(run(data).outputs[0].data)), QUARTERS)
