"""ICC profiles written by hand (ICC.1:2022): linear light, in colour and in grey."""

from __future__ import annotations

import struct
from collections.abc import Mapping


def _profile(space: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    entries, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        entries += struct.pack(">4sLL", name, start + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    header = bytearray(128)
    struct.pack_into(">L", header, 0, start + len(body))
    header[8:10] = b"\x02\x40"
    header[12:24] = b"mntr" + space + b"XYZ "
    header[36:40] = b"acsp"
    header[68:80] = _xyz(0.9642, 1, 0.8249)[8:]
    return bytes(header) + struct.pack(">L", len(tags)) + entries + body


def _xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3l", *(round(value * 65536) for value in values))


def _description(text: bytes) -> bytes:
    return b"desc\0\0\0\0" + struct.pack(">L", len(text) + 1) + text + bytes(80)


_LINEAR = b"curv\0\0\0\0" + struct.pack(">LH", 1, 256)
_COMMON = {b"wtpt": _xyz(0.9642, 1, 0.8249), b"cprt": b"text\0\0\0\0none\0"}

LINEAR_SRGB = _profile(
    b"RGB ",
    {
        b"desc": _description(b"Linear sRGB"),
        b"rXYZ": _xyz(0.43607, 0.22249, 0.01392),
        b"gXYZ": _xyz(0.38515, 0.71687, 0.09708),
        b"bXYZ": _xyz(0.14307, 0.06061, 0.71410),
        b"rTRC": _LINEAR,
        b"gTRC": _LINEAR,
        b"bTRC": _LINEAR,
        **_COMMON,
    },
)
LINEAR_GREY = _profile(b"GRAY", {b"desc": _description(b"linear"), b"kTRC": _LINEAR, **_COMMON})


def rgb(name: bytes, gamma: float | None) -> bytes:
    """sRGB's colorants with a gamma, or with sRGB's own curve."""
    own = [round(value * 65536) for value in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)]
    curve = (
        b"para\0\0\0\0" + struct.pack(">HH5l", 3, 0, *own)
        if gamma is None
        else b"curv\0\0\0\0" + struct.pack(">LH", 1, round(gamma * 256))
    )
    return _profile(
        b"RGB ",
        {
            b"desc": _description(name),
            b"rXYZ": _xyz(0.43607, 0.22249, 0.01392),
            b"gXYZ": _xyz(0.38515, 0.71687, 0.09708),
            b"bXYZ": _xyz(0.14307, 0.06061, 0.71410),
            b"rTRC": curve,
            b"gTRC": curve,
            b"bTRC": curve,
            **_COMMON,
        },
    )


def swapped(name: bytes) -> bytes:
    """Tables of two points an axis (lut8Type, to Lab): what is red comes out green,
    green blue and blue red.
    """
    corners = {
        (0, 0, 0): (0, 128, 128),
        (1, 0, 0): (224, 49, 209),
        (0, 1, 0): (75, 196, 16),
        (0, 0, 1): (138, 209, 198),
        (1, 1, 0): (231, 77, 113),
        (0, 1, 1): (154, 222, 66),
        (1, 0, 1): (248, 112, 221),
        (1, 1, 1): (255, 128, 128),
    }
    table = b"".join(bytes(corners[(r, g, b)]) for r in (0, 1) for g in (0, 1) for b in (0, 1))
    identity = struct.pack(">9l", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    ramp = bytes(range(256)) * 3
    lut = b"mft1\0\0\0\0" + bytes((3, 3, 2, 0)) + identity + ramp + table + ramp
    profile = bytearray(_profile(b"RGB ", {b"desc": _description(name), b"A2B0": lut, **_COMMON}))
    profile[20:24] = b"Lab "
    return bytes(profile)


def with_tag(name: bytes, content: bytes) -> bytes:
    """sRGB with one more tag."""
    curve = b"para\0\0\0\0" + struct.pack(">HH5l", 3, 0, 157_286, 62_119, 3_417, 5_072, 2_651)
    colorants = {
        b"rXYZ": _xyz(0.43607, 0.22249, 0.01392),
        b"gXYZ": _xyz(0.38515, 0.71687, 0.09708),
        b"bXYZ": _xyz(0.14307, 0.06061, 0.71410),
    }
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return _profile(
        b"RGB ", {b"desc": _description(b"sRGB")} | colorants | curves | {name: content} | _COMMON
    )
