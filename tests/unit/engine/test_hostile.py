"""Damaged and malicious files: the right error, before much is spent."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import pyvips
from PIL import Image
from unit.engine.pictures import FULL, encoded, pixels, run, scene, tier
from unit.engine.test_formats import SOURCES

from fpj_core.errors import ErrorType, ImageError
from fpj_core.model import Format, ImageLimits
from fpj_core.sources.base import OpenedImage
from fpj_worker.engine import jpeg, process_image, validate
from fpj_worker.engine.encode import encode
from fpj_worker.engine.pixels import Pixels

TRUNCATED = [
    "jpeg",
    "progressive jpeg",
    "png",
    "gif",
    "webp",
    "tiff",
    "lzw tiff",
    "bmp",
    "avif",
    "heic",
    "cmyk jpeg",
    "interlaced png",
]


@pytest.mark.parametrize("name", TRUNCATED)
@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6, 0.9, 0.98])
def test_cut_off_files_are_caught(name: str, kept: float) -> None:
    data = SOURCES[name]()
    with pytest.raises(ImageError) as error:
        run(data[: int(len(data) * kept)])
    assert error.value.error_type is ErrorType.CORRUPT_IMAGE, error.value


@pytest.mark.parametrize("missing", range(3, 40, 3))
def test_a_jpeg_that_lacks_its_last_bytes_is_caught(missing: int) -> None:
    data = SOURCES["jpeg"]()
    with pytest.raises(ImageError, match="cut off"):
        run(data[:-missing])


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("png", 1),
        ("png", 12),
        ("gif", 1),
        ("interlaced png", 5),
        ("jpeg", 1),
        ("jpeg", 2),
        ("progressive jpeg", 2),
    ],
)
@pytest.mark.parametrize("from_file", [False, True])
def test_a_file_whose_pixels_are_all_there_is_flagged_as_cut_off(
    name: str, missing: int, from_file: bool, tmp_path: Path
) -> None:
    data = SOURCES[name]()[:-missing]
    opened = OpenedImage("cut", data=data)
    if from_file:
        (tmp_path / "cut").write_bytes(data)
        opened = OpenedImage("cut", path=bytes(tmp_path / "cut"))
    result = process_image(opened, (FULL,), ImageLimits())
    assert "cut off" in (result.facts.warning or "")


@pytest.mark.parametrize("name", ["png", "gif"])
def test_padding_after_the_end_is_fine(name: str) -> None:
    assert run(SOURCES[name]() + b"\0" * 100).facts.warning is None


def test_trailing_data_after_a_jpeg_is_fine() -> None:
    result = run(SOURCES["jpeg"]() + b"\0" * 1000 + SOURCES["jpeg"]())
    assert result.facts.warning is None


def test_a_flipped_bit_is_flagged_where_the_picture_still_decodes() -> None:
    """Of many single flips in the coded data, each either decodes (some flagged) or is a typed
    error.
    """
    data = bytearray(encoded(scene(), "JPEG", quality=90))
    scan = jpeg.read_header(bytes(data)).scan
    flagged = 0
    for position in range(scan + 200, len(data) - 10, (len(data) - scan) // 60):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        try:
            result = run(bytes(damaged))
        except ImageError as error:
            assert error.error_type is ErrorType.CORRUPT_IMAGE  # noqa: PT017 - either is right
        else:
            assert result.outputs
            flagged += result.facts.warning is not None
    assert flagged > 0


@pytest.mark.parametrize(
    ("data", "error_type"),
    [
        (b"", ErrorType.CORRUPT_IMAGE),
        (b"hello, I am text", ErrorType.UNSUPPORTED_FORMAT),
        (b"\xff\xd8\xff", ErrorType.CORRUPT_IMAGE),
        (b"\x89PNG\r\n\x1a\n", ErrorType.CORRUPT_IMAGE),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", ErrorType.UNSUPPORTED_FORMAT),
        (b"%PDF-1.7", ErrorType.UNSUPPORTED_FORMAT),
        (b"P6 1 1 255 abc", ErrorType.UNSUPPORTED_FORMAT),
        (b"GIF89a" + bytes(40), ErrorType.CORRUPT_IMAGE),
        (b"RIFF\x10\0\0\0WEBPVP8 " + bytes(40), ErrorType.CORRUPT_IMAGE),
        (b"\0\0\0\x1cftypavif" + bytes(40), ErrorType.CORRUPT_IMAGE),
    ],
)
def test_what_is_no_picture(data: bytes, error_type: ErrorType) -> None:
    with pytest.raises(ImageError) as error:
        run(data)
    assert error.value.error_type is error_type, error.value


def test_content_counts_not_the_name() -> None:
    assert run(SOURCES["png"]()).facts.format == "png"


def png_bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10_000)))
        + chunk(b"IEND", b"")
    )


def test_a_bomb_is_refused_by_its_header() -> None:
    with pytest.raises(
        ImageError, match=r"60000x60000 = 3,600,000,000 pixels; limits.maxPixels allows 268,000,000"
    ) as error:
        run(png_bomb(60_000, 60_000))
    assert error.value.error_type is ErrorType.TOO_MANY_PIXELS


def test_a_jpeg_header_that_claims_too_much_is_refused() -> None:
    data = bytearray(SOURCES["jpeg"]())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 65_000, 65_000)
    with pytest.raises(ImageError) as error:
        run(bytes(data))
    assert error.value.error_type is ErrorType.TOO_MANY_PIXELS


def test_the_limit_is_on_pixels_not_on_sides() -> None:
    assert run(SOURCES["png"](), limits=ImageLimits(max_pixels=320 * 240)).outputs
    with pytest.raises(ImageError):
        run(SOURCES["png"](), limits=ImageLimits(max_pixels=320 * 240 - 1))


def test_heavy_decodes_ask_to_be_admitted() -> None:
    asked: list[int] = []
    large = Image.fromarray(np.zeros((4000, 5000, 3), np.uint8))
    run(encoded(large, "JPEG", progressive=True), admit=asked.append)
    run(encoded(large, "JPEG"), admit=asked.append)
    run(SOURCES["progressive jpeg"](), admit=asked.append)
    assert asked == [4000 * 5000 * 3 * 2]


def test_a_refused_admission_ends_the_image() -> None:
    def refuse(_weight: int) -> None:
        raise ImageError(ErrorType.OUT_OF_MEMORY, "no")

    large = Image.fromarray(np.zeros((4000, 5000, 3), np.uint8))
    with pytest.raises(ImageError, match="no"):
        run(encoded(large, "JPEG", progressive=True), admit=refuse)


def test_a_blank_output_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    blank = encoded(Image.new("RGB", (320, 240)), "JPEG")
    monkeypatch.setattr("fpj_worker.engine.pipeline.encode", lambda *_: blank)
    with pytest.raises(ImageError, match="blank"):
        run(SOURCES["jpeg"]())


def test_a_blank_source_may_stay_blank() -> None:
    assert run(encoded(Image.new("RGB", (320, 240), "white"), "PNG")).outputs


def fine_patterns() -> dict[str, np.ndarray]:
    y, x = np.indices((480, 640))
    grey = {
        "checkerboard": (x + y) % 2 * 255,
        "stripes": x // 4 % 2 * 255,
        "ruled paper": np.where(y % 8 == 0, 120, 255),
        "halftone": np.where((x % 4 < 2) & (y % 4 < 2), 0, 255),
        "specks": np.where((x % 160 == 0) & (y % 120 == 0), 200, 255),
        "one speck": np.where((x == 0) & (y == 0), 0, 255),
    }
    colour = {
        "equal luma": np.where((x < 320)[..., None], (200, 0, 0), (0, 102, 0)),
        "equal luma, fine": np.where(((x + y) % 2)[..., None], (200, 0, 0), (0, 102, 0)),
    }
    return {name: array.astype(np.uint8) for name, array in (grey | colour).items()}


@pytest.mark.parametrize("quality", [1, 50, 95])
@pytest.mark.parametrize("name", fine_patterns())
def test_fine_patterns_are_not_blank(name: str, quality: int) -> None:
    data = encoded(Image.fromarray(fine_patterns()[name]), "PNG")
    assert run(
        data,
        *(tier(name=each, format=each, quality=quality) for each in (Format.JPEG, Format.WEBP)),
    ).outputs


@pytest.mark.parametrize("quality", [2, 5, 8])
@pytest.mark.parametrize("other", [(0, 102, 0), (60, 60, 60), (0, 16, 255)])
def test_colours_of_one_brightness_at_a_low_quality_are_not_blank(
    quality: int, other: tuple[int, int, int]
) -> None:
    """The steps in which a JPEG then states its colours are wide,
    so it misses their mean by far.
    """
    y, x = np.indices((64, 64))
    fine = np.where(((x + y) % 2)[..., None], (200, 0, 0), other).astype(np.uint8)
    validate.validate(encode(fine, Format.JPEG, tier(quality=quality)), Format.JPEG, fine)


@pytest.mark.parametrize("image_format", [Format.JPEG, Format.WEBP, Format.PNG])
@pytest.mark.parametrize("colour", ["black", "white"])
def test_a_blank_checkerboard_is_caught(colour: str, image_format: Format) -> None:
    blank = encoded(Image.new("RGB", (640, 480), colour), image_format.value)
    with pytest.raises(ImageError, match="blank"):
        validate.validate(
            blank, image_format, fine_patterns()["checkerboard"][..., None].repeat(3, axis=2)
        )


@pytest.mark.parametrize("image_format", [Format.JPEG, Format.WEBP, Format.AVIF, Format.PNG])
def test_broken_outputs_are_caught(image_format: Format) -> None:
    array: Pixels = pixels(SOURCES["png"]())
    (output,) = run(SOURCES["png"](), tier(format=image_format)).outputs
    validate.validate(output.data, image_format, array)
    with pytest.raises(ImageError, match="does not decode"):
        validate.validate(output.data[: len(output.data) // 3], image_format, array)
    for other, size in (
        (array[::2, ::2], "160x120"),
        (array[::2], "320x120"),
        (array[:, ::2], "160x240"),
    ):
        with pytest.raises(ImageError, match=f"320x240, not {size}"):
            validate.validate(output.data, image_format, other)


def changed(data: bytes, marker: bytes, offset: int, new: bytes) -> bytes:
    """A JPEG with other bytes at an offset from a marker."""
    position = data.index(marker) + offset
    return data[:position] + new + data[position + len(new) :]


@pytest.mark.parametrize(
    ("offset", "new", "words"),
    [
        (4, b"\x0c", "12 bits"),
        (1, b"\xf7", "JPEG-LS"),
        (1, b"\xc5", "SOF5"),
        (1, b"\xcb", "SOF11"),
        (9, b"\x02", "2 components"),
    ],
)
def test_kinds_of_jpeg_without_a_decoder_are_unsupported(
    offset: int, new: bytes, words: str
) -> None:
    with pytest.raises(ImageError, match=words) as error:
        run(changed(SOURCES["jpeg"](), b"\xff\xc0", offset, new))
    assert error.value.error_type is ErrorType.UNSUPPORTED_FORMAT


def test_uncommon_sampling_is_decoded() -> None:
    """4:1:0, which TurboJPEG does not know.

    The data is not made for it, but it must not be called corrupt.
    """
    data = changed(encoded(scene(), "JPEG", subsampling=0), b"\xff\xc0", 11, b"\x42")
    assert not jpeg.read_header(data).plain
    assert run(data).facts.width == 320


@pytest.mark.parametrize("garbage", [b"\0\0\0", b"\xff" * 50, b"\xff\0\x12"])
def test_bytes_between_segments_are_passed_over(garbage: bytes) -> None:
    data = SOURCES["jpeg"]()
    start = data.index(b"\xff\xdb")
    assert run(data[:start] + garbage + data[start:]).facts.width == 320


@pytest.mark.parametrize("marker", [b"\xff\xd8", b"\xff\xd9"])
def test_a_jpeg_that_ends_or_begins_anew_in_its_header_is_corrupt(marker: bytes) -> None:
    data = SOURCES["jpeg"]()
    start = data.index(b"\xff\xdb")
    with pytest.raises(ImageError, match="ends, or starts again") as error:
        run(data[:start] + marker + data[start:])
    assert error.value.error_type is ErrorType.CORRUPT_IMAGE


@pytest.mark.parametrize("length", [b"\0\2", b"\0\0", b"\xff\xff"])
def test_a_segment_that_leads_beyond_the_end_is_corrupt(length: bytes) -> None:
    with pytest.raises(ImageError) as error:
        run(b"\xff\xd8\xff\xe0" + length)
    assert error.value.error_type is ErrorType.CORRUPT_IMAGE


@pytest.mark.parametrize("filling", [b"\xff\xfe\0\x02", b"\xff\xd0"])
def test_endless_segments_are_given_up(filling: bytes) -> None:
    data = SOURCES["jpeg"]()
    with pytest.raises(ImageError, match="more than 4,096 segments"):
        run(data[:2] + filling * 100_000 + data[2:])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"1,2\n3,4\n"),
        ("a.svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="4" height="3"/>'),
    ],
)
def test_loaders_that_libvips_does_not_trust_are_off(
    tmp_path: Path, name: str, content: bytes
) -> None:
    """Whatever code path a file might take to them: among them are parsers of whole documents,
    such as SVG and PDF.
    """
    (tmp_path / name).write_bytes(content)
    with pytest.raises(pyvips.Error, match="not a known file format"):
        pyvips.Image.new_from_file(str(tmp_path / name)).avg()


def test_a_profile_of_many_segments_is_used() -> None:
    assert (
        len(jpeg.read_header(encoded(scene(), "JPEG", icc_profile=bytes(3_000_000))).icc or b"")
        == 3_000_000
    )


def test_what_no_decoder_expects_is_still_an_image_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(error: Exception) -> None:
        monkeypatch.setattr(
            "fpj_worker.engine.pipeline.describe", lambda _: (_ for _ in ()).throw(error)
        )

    no_memory = cv2.error("Insufficient memory")
    no_memory.code = cv2.Error.StsNoMem
    bug = cv2.error("Assertion failed")
    bug.code = cv2.Error.StsAssert
    for error, expected in (
        (MemoryError(), ErrorType.OUT_OF_MEMORY),
        (no_memory, ErrorType.OUT_OF_MEMORY),
        (bug, ErrorType.INTERNAL),
        (pyvips.Error("x", "crop: bad extract area"), ErrorType.CORRUPT_IMAGE),
    ):
        fail(error)
        with pytest.raises(ImageError) as raised:
            run(SOURCES["png"]())
        assert raised.value.error_type is expected


@pytest.mark.parametrize("orientation", [9, 0])
@pytest.mark.parametrize("image_format", ["AVIF", "HEIF", "PNG", "JPEG"])
def test_an_orientation_that_makes_no_sense_is_none(orientation: int, image_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert run(encoded(scene(64, 48), image_format, exif=exif)).facts.width == 64


def test_damaged_exif_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import AvifImagePlugin

    data = encoded(scene(64, 48), "AVIF")

    def fail(_image: object) -> None:
        raise struct.error("damaged")

    monkeypatch.setattr(AvifImagePlugin.AvifImageFile, "_open", fail)
    with pytest.raises(ImageError) as error:
        run(data)
    assert error.value.error_type is ErrorType.CORRUPT_IMAGE


def test_unsupported_kinds_of_bmp_are_said_to_be_so() -> None:
    data = bytearray(SOURCES["bmp"]())
    data[28] = 7  # bits a pixel
    with pytest.raises(ImageError) as error:
        run(bytes(data))
    assert error.value.error_type is ErrorType.UNSUPPORTED_FORMAT


def test_errors_survive_the_way_between_processes() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(ImageError(ErrorType.TOO_LARGE, "why")))
    assert (error.error_type, error.message) == (ErrorType.TOO_LARGE, "why")


def test_large_files_are_read_from_disk(tmp_path: Path) -> None:
    from fpj_core.sources.base import OpenedImage
    from fpj_worker.engine import header, process_image

    path = tmp_path / "large.jpg"
    path.write_bytes(SOURCES["jpeg"]())
    before = header._IN_MEMORY
    header._IN_MEMORY = 100
    try:
        result = process_image(
            OpenedImage("large", path=str(path).encode()), (FULL,), ImageLimits()
        )
        path.write_bytes(SOURCES["jpeg"]()[:-3000])
        with pytest.raises(ImageError, match=r".") as error:
            process_image(OpenedImage("large", path=str(path).encode()), (FULL,), ImageLimits())
    finally:
        header._IN_MEMORY = before
    assert error.value.error_type is ErrorType.CORRUPT_IMAGE
    assert result.outputs[0].width == 320
    assert io.BytesIO(result.outputs[0].data)


def test_a_long_header_of_a_large_file_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fpj_core.sources.base import OpenedImage
    from fpj_worker.engine import process_image

    monkeypatch.setattr("fpj_worker.engine.header._JPEG_HEAD", 64)
    path = tmp_path / "large.jpg"
    data = encoded(scene(), "JPEG", icc_profile=bytes(300_000))
    path.write_bytes(data)
    monkeypatch.setattr("fpj_worker.engine.header._IN_MEMORY", len(data) - 1)
    result = process_image(OpenedImage("large", path=bytes(path)), (FULL,), ImageLimits())
    assert result.facts.width == 320
