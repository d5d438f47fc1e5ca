"""Wide-gamut profiles, against a general colour engine (lcms, through Pillow)."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms

from fpj_worker.engine import matrixprofile

P3 = bytes(pyvips.Image.profile_load("p3"))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CHANCE = np.random.default_rng(4)
COLOURS = CHANCE.integers(0, 256, (200, 300, 3), np.uint8)


def with_curves(profile: bytes, curve: bytes) -> bytes:
    """The profile with another tone curve for all three bands, put at its end."""
    data = bytearray(profile) + curve
    (count,) = struct.unpack_from(">L", data, 128)
    for entry in range(132, 132 + 12 * count, 12):
        if bytes(data[entry : entry + 4]) in (b"rTRC", b"gTRC", b"bTRC"):
            struct.pack_into(">LL", data, entry + 4, len(profile), len(curve))
    struct.pack_into(">L", data, 0, len(data))
    return bytes(data)


def curv(*entries: int) -> bytes:
    return (
        b"curv\0\0\0\0"
        + struct.pack(f">L{len(entries)}H", len(entries), *entries)
        + b"\0" * (len(entries) % 2 * 2)
    )


def para(kind: int, *parameters: float) -> bytes:
    return b"para\0\0\0\0" + struct.pack(
        f">HH{len(parameters)}l", kind, 0, *(round(p * 65536) for p in parameters)
    )


@pytest.mark.parametrize(
    "profile",
    [
        P3,
        SRGB,
        with_curves(P3, curv(563)),  # gamma 2.2, as in Adobe RGB
        with_curves(P3, curv(*(round(65535 * (n / 1023) ** 1.8) for n in range(1024)))),
        with_curves(P3, curv()),
        with_curves(P3, para(0, 2.4)),
        with_curves(P3, para(1, 2.2, 1.0, 0.0)),
        with_curves(P3, para(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)),
        with_curves(P3, para(4, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045, 0.0, 0.0)),
    ],
    ids=["p3", "srgb", "gamma", "table", "linear", "para0", "para1", "para3", "para4"],
)
def test_colours_are_those_of_a_general_engine(profile: bytes) -> None:
    ours = matrixprofile.to_srgb(COLOURS, profile)
    assert ours is not None
    theirs = ImageCms.profileToProfile(
        Image.fromarray(COLOURS),
        io.BytesIO(profile),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    difference = np.abs(ours.astype(int) - np.asarray(theirs).astype(int))
    assert difference.max() <= 3
    assert difference.mean() < 0.2


@pytest.mark.parametrize(
    "profile",
    [
        b"",
        b"not a profile" * 20,
        P3[:200],
        bytes(pyvips.Image.profile_load("cmyk")),
        with_curves(P3, b"mft2" + b"\0" * 40),
        with_curves(P3, para(9, 1.0)),
        with_curves(P3, b"curv\0\0\0\0\xff\xff\xff\xff"),
    ],
    ids=["empty", "text", "cut off", "cmyk", "other curve", "unknown function", "endless table"],
)
def test_any_other_profile_is_left_to_the_general_engine(profile: bytes) -> None:
    assert matrixprofile.to_srgb(COLOURS, profile) is None
