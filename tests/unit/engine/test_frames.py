"""First frames that cover a part of their canvas: the canvas counts,
and what nobody painted is transparent.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pillow_heif
import pytest
import pyvips
from PIL import Image
from unit.engine.pictures import BLUE, GREEN, RED, corners, encoded, near, pixels, run, scene, tier

from fpj_core.errors import ImageError
from fpj_core.model import Format, ImageLimits
from fpj_core.sources.base import OpenedImage
from fpj_worker.engine import gif, process_image, webpframes

Place = tuple[int, int, int, int]
SMALL, LISTED = (64, 48), (640, 480)
"""The second is one of the sizes that libvips takes for a mistake."""
KEPT, CLEARED, RESTORED = 1, 2, 3


def gif_of(
    canvas: tuple[int, int],
    *frames: Place,
    disposal: int = KEPT,
    transparent: int | Sequence[int | None] | None = None,
    colours: int = 2,
) -> bytes:
    """Frames (left, top, width, height) of red, then green and blue.

    One colour of all, or of each, is transparent.
    """
    table = bytes((*RED, *GREEN, *BLUE, 0, 0, 0)).ljust(3 << colours, b"\0")
    found = b"GIF89a" + struct.pack("<HH", *canvas) + bytes((0xF0 | colours - 1, 0, 0)) + table
    found += b"!\xfe\x05hello\0" + b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    for number, (left, top, width, height) in enumerate(frames):
        image = Image.new("P", (width, height), number)
        image.putpalette(table)
        data = encoded(image, "GIF", optimize=False)
        start = data.index(b"," + struct.pack("<4H", 0, 0, width, height)) + 10
        own = 3 << (data[start - 1] & 7) + 1 if data[start - 1] & 0x80 else 0
        hole = transparent[number] if isinstance(transparent, Sequence) else transparent
        control = bytes((disposal << 2 | (hole is not None), 10, 0, hole or 0, 0))
        found += (
            b"!\xf9\4"
            + control
            + struct.pack("<B4HB", 0x2C, left, top, width, height, 0)
            + data[start + own : -1]
        )
    return found + b";"


def webp_of(canvas: tuple[int, int], *frames: Place, disposal: int = 0) -> bytes:
    """Opaque frames of red, then green and blue; a red background that nobody is to show."""
    body = (
        b"VP8X"
        + struct.pack("<LL", 10, 2)
        + b"".join(struct.pack("<L", side - 1)[:3] for side in canvas)
    )
    body += b"ANIM" + struct.pack("<L", 6) + b"\0\0\xff\xff\0\0"
    for number, (left, top, width, height) in enumerate(frames):
        coded = encoded(
            Image.new("RGB", (width, height), (RED, GREEN, BLUE)[number]), "WEBP", lossless=True
        )[12:]
        places = (left // 2, top // 2, width - 1, height - 1, 100)
        frame = (
            b"".join(struct.pack("<L", each)[:3] for each in places) + bytes((disposal,)) + coded
        )
        body += b"ANMF" + struct.pack("<L", len(frame)) + frame
    return b"RIFF" + struct.pack("<L", len(body) + 4) + b"WEBP" + body


def seen(
    data: bytes, *points: tuple[float, float], animated: bool = False
) -> list[list[tuple[int, ...]]]:
    """RGBA at fractions of the canvas, frame by frame; of what is invisible only that it is."""
    box = tier(format=Format.WEBP if animated else Format.PNG, animated=animated, quality=95)
    image = Image.open(io.BytesIO(run(data, box).outputs[0].data))
    found = []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        array = np.asarray(image.convert("RGBA"))
        height, width = array.shape[:2]
        levels = [tuple(map(int, array[int(y * height), int(x * width)])) for x, y in points]
        found.append([each if each[3] else (0, 0, 0, 0) for each in levels])
    return found


def is_like(found: Sequence[tuple[int, ...]], *expected: tuple[int, ...]) -> bool:
    return near(list(found), [each if len(each) == 4 else (*each, 255) for each in expected], 16)


NOTHING = (0, 0, 0, 0)
CORNER, MIDDLE = (0.95, 0.05), (0.5, 0.5)


def middle(canvas: tuple[int, int]) -> Place:
    return canvas[0] // 4, canvas[1] // 4, canvas[0] // 2, canvas[1] // 2


@pytest.mark.parametrize("make", [gif_of, webp_of])
@pytest.mark.parametrize("canvas", [SMALL, LISTED, (800, 600)])
def test_a_partial_first_frame_stands_on_its_canvas(
    make: Callable[..., bytes], canvas: tuple[int, int], tmp_path: Path
) -> None:
    data = make(canvas, middle(canvas), (0, 0, *canvas))
    assert run(data).facts.width == canvas[0]
    (first,) = seen(data, CORNER, MIDDLE)
    assert is_like(first, NOTHING, RED)
    path = tmp_path / "x"
    path.write_bytes(data)
    flat = process_image(
        OpenedImage("x", path=bytes(path)), (tier(background="#0000ff"),), ImageLimits()
    ).outputs[0]
    assert near([tuple(pixels(flat.data)[3, -3].tolist())], [(0, 0, 255)])


@pytest.mark.parametrize("make", [gif_of, webp_of])
@pytest.mark.parametrize("canvas", [SMALL, LISTED])
def test_later_frames_are_whole(make: Callable[..., bytes], canvas: tuple[int, int]) -> None:
    first, second = seen(
        make(canvas, middle(canvas), (0, 0, *canvas)), CORNER, MIDDLE, animated=True
    )
    assert is_like(first, NOTHING, RED)
    assert is_like(second, GREEN, GREEN)


@pytest.mark.parametrize("canvas", [SMALL, LISTED])
def test_what_is_cleared_is_transparent_and_what_is_restored_is_not(
    canvas: tuple[int, int],
) -> None:
    frames = ((0, 0, *canvas), middle(canvas), (0, 0, canvas[0] // 8, canvas[1] // 8))
    for disposal, expected in (
        (KEPT, (RED, GREEN)),
        (CLEARED, (NOTHING, NOTHING)),
        (RESTORED, (NOTHING, NOTHING)),
    ):
        last = seen(gif_of(canvas, *frames, disposal=disposal), CORNER, MIDDLE, animated=True)[-1]
        assert is_like(last, *expected), disposal


@pytest.mark.parametrize(
    ("hole", "expected"), [(1, NOTHING), (3, GREEN)], ids=["all of it", "none"]
)
@pytest.mark.parametrize("canvas", [SMALL, LISTED])
def test_an_opaque_frame_that_is_cleared_leaves_nothing_where_others_are_transparent(
    canvas: tuple[int, int], hole: int, expected: tuple[int, ...]
) -> None:
    """The background of the file is red."""
    data = gif_of(
        canvas,
        (0, 0, *canvas),
        middle(canvas),
        (0, 0, 4, 4),
        disposal=CLEARED,
        transparent=(None, hole, 3),
    )
    first, second, third = seen(data, CORNER, MIDDLE, animated=True)
    assert is_like(first, RED, RED)
    assert is_like(second, NOTHING, expected)
    assert is_like(third, NOTHING, NOTHING)


def test_a_whole_first_frame_gets_no_alpha() -> None:
    output = run(gif_of(SMALL, (0, 0, *SMALL)), tier(format=Format.ORIGINAL)).outputs[0]
    assert output.extension == "jpg"


def test_a_transparent_colour_counts_as_ever() -> None:
    (first,) = seen(gif_of(SMALL, middle(SMALL), transparent=0), CORNER, MIDDLE)
    assert is_like(first, NOTHING, NOTHING)


@pytest.mark.parametrize("end", range(6, 120, 5))
def test_frames_of_a_damaged_file_are_none(end: int) -> None:
    data = gif_of(SMALL, middle(SMALL), (0, 0, *SMALL))[:end]
    found = list(gif.frames(lambda offset, count: data[offset : offset + count], 9))
    assert len(found) <= 2
    looping = data[:20] + b"!\xfe" * 40
    assert list(gif.frames(lambda offset, count: looping[offset : offset + count], 9)) == []


# Time ---------------------------------------------------------------------------------------------


def moving(*pictures: Image.Image, delays: Sequence[int]) -> bytes:
    """Frames as they are, none joined, played three times."""
    body = (
        b"VP8X"
        + struct.pack("<LL", 10, 2)
        + b"".join(struct.pack("<L", side - 1)[:3] for side in SMALL)
    )
    body += b"ANIM" + struct.pack("<L", 6) + b"\xff\xff\xff\xff\3\0"
    for picture, delay in zip(pictures, delays, strict=True):
        places = (0, 0, picture.width - 1, picture.height - 1, delay)
        frame = b"".join(struct.pack("<L", each)[:3] for each in places) + b"\0"
        frame += encoded(picture, "WEBP", lossless=True)[12:]
        body += b"ANMF" + struct.pack("<L", len(frame)) + frame
    return b"RIFF" + struct.pack("<L", len(body) + 4) + b"WEBP" + body


def shown(data: bytes) -> list[npt.NDArray[np.uint8]]:
    image = Image.open(io.BytesIO(data))
    found = []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        found.append(np.asarray(image.convert("RGB")))
    return found


@pytest.mark.parametrize("turned", ["00", "0000", "0110", "0011", "0111"])
def test_frames_that_look_alike_are_kept(turned: str) -> None:
    """The encoder joins them; if all do, what it makes moves no more."""
    whole, back = scene(*SMALL), scene(*SMALL).rotate(180)
    pictures, delays = (
        [back if each == "1" else whole for each in turned],
        [120, 5, 70, 1_000][: len(turned)],
    )
    (output,) = run(
        moving(*pictures, delays=delays), tier(format=Format.WEBP, animated=True, quality=95)
    ).outputs
    image = pyvips.Image.webpload_buffer(output.data, n=-1)
    assert image.get("delay") == [120, 100, 70, 1_000][: len(turned)]
    assert image.get("loop") == 3
    assert image.bands == 3 or image[3].min() == 255
    for picture, found in zip(pictures, shown(output.data), strict=True):
        assert near(corners(found), corners(np.asarray(picture)), 16)


def test_what_is_cleared_after_a_joined_frame_stands_until_then() -> None:
    """Drawn once more for each time, and cleared after the last."""
    cleared = webp_of(SMALL, (0, 0, *SMALL), middle(SMALL), (0, 0, 8, 8), disposal=1)
    apart = webpframes.separated(
        cleared, SMALL, [100, 30, 70, 100], 0, lambda _number: b"", alpha=False
    )
    kept = [each.tolist() for each in (frame[24, 32] for frame in shown(apart))]
    assert kept[:3] == [[*RED], [*GREEN], [*GREEN]]
    assert kept[3] not in ([*GREEN], [*RED])


@pytest.mark.parametrize("delays", [[100, 100], [100, 50, 50, 50], [30, 70, 300]])
def test_times_that_do_not_add_up_change_nothing(delays: list[int]) -> None:
    """As far as they are not those of the frames."""
    whole = webp_of(SMALL, (0, 0, *SMALL), middle(SMALL), (0, 0, 8, 8))
    assert webpframes.separated(whole, SMALL, delays, 0, lambda _number: b"", alpha=False) == whole


# HEIC ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("primary", [0, 1])
def test_of_several_pictures_in_a_heic_the_primary_one_counts(primary: int) -> None:
    first, second = (
        pillow_heif.from_pillow(Image.new("RGB", size, colour))
        for size, colour in ((SMALL, RED), ((48, 64), BLUE))
    )
    first.add_from_heif(second[0])
    target = io.BytesIO()
    first.save(target, quality=90, primary_index=primary)
    result = run(target.getvalue(), tier(format=Format.PNG, animated=True))
    assert (result.facts.width, result.facts.height) == ((48, 64) if primary else SMALL)
    assert near(
        [tuple(pixels(result.outputs[0].data)[20, 20].tolist())], [BLUE if primary else RED]
    )


@pytest.mark.parametrize(
    ("boxes", "error"), [(b"moov", "UnsupportedFormat"), (b"mdat", "CorruptImage")]
)
def test_a_sequence_without_a_still_image_is_not_supported(boxes: bytes, error: str) -> None:
    data = struct.pack(">L4s4sL4s", 20, b"ftyp", b"hevc", 0, b"hevc") + struct.pack(
        ">L4s8x", 16, boxes
    )
    with pytest.raises(ImageError) as raised:
        run(data)
    assert raised.value.error_type == error


def test_of_an_avif_sequence_the_first_frame_counts() -> None:
    blue = Image.new("RGB", SMALL, BLUE)
    data = encoded(
        Image.new("RGB", SMALL, RED), "AVIF", save_all=True, append_images=[blue], quality=90
    )
    assert near(
        [tuple(pixels(run(data, tier(format=Format.PNG)).outputs[0].data)[20, 20].tolist())], [RED]
    )


def test_the_engine_reads_what_it_wrote() -> None:
    """An animation with transparency is one of libvips, too."""
    output = run(
        gif_of(SMALL, middle(SMALL), (0, 0, *SMALL)), tier(format=Format.WEBP, animated=True)
    ).outputs[0]
    image = pyvips.Image.webpload_buffer(output.data, n=-1)
    assert (image.bands, image.get("n-pages")) == (4, 2)
