"""Orientation as files really state it: in other integer types, in several Exif blocks,
in stale XMP, in animations.
"""

from __future__ import annotations

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from unit.engine.pictures import (
    BLUE,
    GREEN,
    RED,
    YELLOW,
    corners,
    encoded,
    frames_of,
    near,
    run,
    scene,
    tier,
)

from fpj_core.model import Fit, Format
from fpj_worker.engine import exif

TURNED = [YELLOW, RED, GREEN, BLUE]
"""The scene by orientation 6, clockwise from top left."""
XMP6 = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>
</rdf:RDF></x:xmpmeta>"""
BYTE, SHORT, LONG = 1, 3, 4


def block(value: int | None, kind: int = SHORT, order: str = "<") -> bytes:
    """An Exif block of one entry: the orientation, or the software if that is None."""
    code = {BYTE: "B3x", SHORT: "H2x", LONG: "L"}[kind]
    entry = (
        struct.pack(f"{order}HHL4s", 0x0131, 2, 4, b"abc\0")
        if value is None
        else struct.pack(f"{order}HHL{code}", 0x0112, kind, 1, value)
    )
    return (
        struct.pack(f"{order}2sHLH", b"II" if order == "<" else b"MM", 42, 8, 1) + entry + bytes(4)
    )


def jpeg_with(*blocks: bytes) -> bytes:
    data = encoded(scene(), "JPEG", quality=92)
    segments = (
        b"\xff\xe1" + struct.pack(">H", len(each) + 8) + b"Exif\0\0" + each for each in blocks
    )
    return data[:2] + b"".join(segments) + data[2:]


def upright(data: bytes) -> bool:
    result = run(data)
    array = np.asarray(Image.open(io.BytesIO(result.outputs[0].data)).convert("RGB"))
    return (result.facts.width, result.facts.height) == (240, 320) and near(corners(array), TURNED)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [BYTE, SHORT, LONG])
def test_every_integer_type_counts(kind: int, order: str) -> None:
    found = block(6, kind, order)
    assert upright(jpeg_with(found))
    for image_format in ("PNG", "WEBP"):
        assert upright(encoded(scene(), image_format, exif=b"Exif\0\0" + found)), image_format


@pytest.mark.parametrize(
    "blocks",
    [
        (block(6), block(None)),
        (block(6), block(1)),
        (block(None), block(6)),
        (block(9), block(6)),
        (block(6), b"II"),
    ],
    ids=["6 none", "6 1", "none 6", "9 6", "6 damaged"],
)
def test_the_first_exif_block_that_states_one_counts(blocks: tuple[bytes, ...]) -> None:
    assert upright(jpeg_with(*blocks))


@pytest.mark.parametrize(
    "damaged", [b"", b"II", b"II*\0\xff\xff\xff\xff", block(6)[:12], block(6)[:16], block(0)]
)
def test_a_damaged_block_states_none(damaged: bytes) -> None:
    assert exif.parse(damaged).orientation is None
    assert run(jpeg_with(damaged)).facts.width == 320


@pytest.mark.parametrize("image_format", ["AVIF", "WEBP", "PNG"])
def test_xmp_does_not_turn(image_format: str) -> None:
    """It is left over from an editor that turned the pixels."""
    assert run(encoded(scene(), image_format, xmp=XMP6)).facts.width == 320


def test_avif_turns_by_its_own_rotation() -> None:
    assert upright(encoded(scene(), "AVIF", exif=b"Exif\0\0" + block(6), quality=90, speed=9))


@pytest.mark.parametrize("fit", list(Fit))
def test_frames_are_turned_too(fit: Fit) -> None:
    further = [scene().point(lambda level: level + 5)]
    moving = encoded(
        scene(),
        "WEBP",
        save_all=True,
        append_images=further,
        exif=b"Exif\0\0" + block(6),
        quality=90,
    )
    box = replace(tier(format=Format.WEBP, animated=True, width=120, height=120), fit=fit)
    (output,) = run(moving, box).outputs
    image = Image.open(io.BytesIO(output.data))
    assert (
        image.size
        == (output.width, output.height)
        == ((90, 120) if fit is Fit.INSIDE else (120, 120))
    )
    assert frames_of(output.data) == 2
    for number in range(2):
        image.seek(number)
        assert near(corners(np.asarray(image.convert("RGB"))), TURNED, 16)
