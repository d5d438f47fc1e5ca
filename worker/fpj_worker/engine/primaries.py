"""Colour primaries by published numbers (ITU-T H.273, table 2), and profiles made of them."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

_D65, _D50 = (0.3127, 0.3290), (0.34567, 0.35850)
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_SRGB = 1
_PRIMARIES: Mapping[int, tuple[tuple[float, float], ...]] = {
    _SRGB: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
"""BT.709 (sRGB), BT.2020, Display P3: x and y of red, green and blue; white is D65."""
_ADOBE = ((0.6400, 0.3300), (0.2100, 0.7100), (0.1500, 0.0600))
_ADOBE_GAMMA = 563 / 256
"""Adobe RGB (1998) Color Image Encoding, 2005-05, 4.3.1.1 and 4.3.1.2: 2.19921875."""
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
"""By transfer characteristics."""
_FINE = 2**16 - 1


def is_known(primaries: int) -> bool:
    """Whether colours of these primaries can be converted."""
    return primaries in _PRIMARIES


@lru_cache(maxsize=4)
def to_srgb(primaries: int) -> Matrix:
    """3 x 3, from linear light of these primaries to that of sRGB."""
    return np.linalg.inv(_to_xyz(_PRIMARIES[_SRGB])) @ _to_xyz(_PRIMARIES[primaries])


def luminance(primaries: int) -> npt.NDArray[np.float32]:
    """What each colour adds to the luminance Y."""
    return np.asarray(_to_xyz(_PRIMARIES[primaries])[1], np.float32)


def encoded(light: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """8-bit levels of linear light (IEC 61966-2-1, 5.2); what is outside 0 to 1 is cut off."""
    return np.asarray(_levels()[np.rint(np.clip(light, 0, 1) * _FINE).astype(np.uint16)], np.uint8)


@lru_cache(maxsize=1)
def adobe_rgb() -> bytes:
    """An ICC profile with the published numbers of Adobe RGB (1998)."""
    return _profile(_ADOBE, _gamma(_ADOBE_GAMMA))


@lru_cache(maxsize=1)
def srgb() -> bytes:
    """An ICC profile of sRGB."""
    return _profile(_PRIMARIES[_SRGB], _SRGB_CURVE)


@lru_cache(maxsize=8)
def profile(primaries: int, transfer: int) -> bytes | None:
    """An ICC profile of these primaries and transfer characteristics (ITU-T H.273, tables 2 and 3).

    None if sRGB itself is meant, or what is not known. The curves of television are shown as
    sRGB's, as browsers do.
    """
    gamma = _GAMMAS.get(transfer)
    if not is_known(primaries) or (primaries == _SRGB and gamma is None):
        return None
    return _profile(_PRIMARIES[primaries], _SRGB_CURVE if gamma is None else _gamma(gamma))


@lru_cache(maxsize=4)
def grey_profile(transfer: int) -> bytes | None:
    """`profile` for pictures without colours, which have no primaries."""
    gamma = _GAMMAS.get(transfer)
    return None if gamma is None else _icc(b"GRAY", {b"kTRC": _gamma(gamma)})


@lru_cache(maxsize=1)
def srgb_grey() -> bytes:
    """An ICC profile of greys by sRGB's curve."""
    return _icc(b"GRAY", {b"kTRC": _SRGB_CURVE})


@lru_cache(maxsize=1)
def _levels() -> npt.NDArray[np.uint8]:
    light = np.arange(_FINE + 1) / _FINE
    levels = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    return np.asarray(np.rint(levels), dtype=np.uint8)


def _to_xyz(primaries: tuple[tuple[float, float], ...]) -> Matrix:
    """From linear RGB to XYZ, so that 1, 1, 1 is D65."""
    columns = np.array([_xyz(*each) for each in primaries]).T
    return np.asarray(columns * np.linalg.solve(columns, _xyz(*_D65)))


def _xyz(x: float, y: float) -> Matrix:
    return np.array([x / y, 1.0, (1 - x - y) / y])


# ICC.1:2022 ---------------------------------------------------------------------------------------


def _gamma(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">LH", 1, round(gamma * 256))


_SRGB_CURVE = b"para\0\0\0\0" + struct.pack(
    ">HH5l",
    3,
    0,
    *(round(value * 65536) for value in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)),
)


def _profile(primaries: tuple[tuple[float, float], ...], curve: bytes) -> bytes:
    """A matrix profile (8.4.3): colorants adapted to D50 by Bradford's method (annex E)."""
    cones = (_BRADFORD @ _xyz(*_D50)) / (_BRADFORD @ _xyz(*_D65))
    red, green, blue = (
        np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ _to_xyz(primaries)
    ).T
    colorants = {b"rXYZ": _number(*red), b"gXYZ": _number(*green), b"bXYZ": _number(*blue)}
    return _icc(b"RGB ", colorants | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def _icc(space: bytes, own: Mapping[bytes, bytes]) -> bytes:
    """A profile of a color space, with what every profile has beside its ``own`` tags."""
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">L", 4) + b"fpj\0" + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": _number(0.9642, 1, 0.8249),
        **own,
    }
    entries, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        entries += struct.pack(">4sLL", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = bytearray(128)
    struct.pack_into(">L", header, 0, start + len(body))
    header[8:10] = b"\x02\x40"
    header[12:24] = b"mntr" + space + b"XYZ "
    header[36:40] = b"acsp"
    header[68:80] = _number(0.9642, 1, 0.8249)[8:]
    return bytes(header) + struct.pack(">L", len(tags)) + entries + body


def _number(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3l", *(round(value * 65536) for value in values))
