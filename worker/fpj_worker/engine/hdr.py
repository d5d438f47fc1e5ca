"""High dynamic range (PQ and HLG; ITU-R BT.2100) to 8-bit sRGB.

The curve is the EETF of ITU-R BT.2390, 5.4.1, in its form for a target whose black is zero: up to
its knee light stays as it is, above that it bends towards the target's peak. That peak is the
reference white of ITU-R BT.2408, 203 cd/m²: what its table calls white comes out as a light grey
(229 of 255), and what is brighter keeps its steps. It is applied to the largest of the three
components in the target's primaries, so hues stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fpj_worker.engine import primaries

Light = npt.NDArray[np.float32]
Deep = npt.NDArray[np.uint16]

PQ, HLG = 16, 18
"""Transfer characteristics (ITU-T H.273, table 3)."""

_WHITE = 203.0
"""cd/m² of reference white (ITU-R BT.2408, table 1), which sRGB's white stands for."""
_PEAK = 1_000.0
"""cd/m² of the brightest light where nothing is said,
and of the display that HLG is made for (BT.2100, table 5).
"""
_HLG_GAMMA = 1.2
"""Of that display."""
_BRIGHTEST = 10_000.0
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128
"""PQ (BT.2100, table 4)."""
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073
"""HLG (BT.2100, table 5)."""
_NODES = 4_096
_STRIP = 128
"""Rows converted at a time: floating point of a whole picture would take six times its memory."""


@dataclass(frozen=True, slots=True)
class Coding:
    """How samples stand for light: transfer and colour primaries by their numbers in ITU-T H.273;
    ``peak`` in cd/m².
    """

    transfer: int
    primaries: int = 9
    peak: float = _PEAK
    narrow: bool = False
    """Samples take 16 to 235 of 255 alone, whatever their depth (BT.2100, table 9)."""

    @property
    def is_hdr(self) -> bool:
        """Whether it is one that this module knows."""
        return self.transfer in (PQ, HLG)


def to_srgb(pixels: Deep, brightest: int, coding: Coding) -> npt.NDArray[np.uint8]:
    """Pixels of shape (height, width) or (height, width, 3 or 4) as sRGB.

    ``brightest`` is the sample for 1.0.
    """
    light = _table(coding.transfer, brightest)
    matrix = primaries.to_srgb(
        coding.primaries if primaries.is_known(coding.primaries) else 9
    ).astype(np.float32)
    weights = primaries.luminance(9)
    result = np.empty(pixels.shape, np.uint8)
    for top in range(0, len(pixels), _STRIP):
        strip = pixels[top : top + _STRIP]
        colours = light[strip[..., :3] if strip.ndim == 3 else strip[..., None].repeat(3, axis=2)]
        if coding.transfer == HLG:  # the display's part of it (BT.2100, table 5: OOTF)
            colours *= np.maximum(colours @ weights, 1e-6)[..., None] ** (
                _HLG_GAMMA - 1
            ) * np.float32(_PEAK / _WHITE)
        colours = colours @ matrix.T
        colours *= _gain(colours.max(axis=2), _PEAK if coding.transfer == HLG else coding.peak)[
            ..., None
        ]
        levels = primaries.encoded(colours)
        if strip.ndim == 2:
            result[top : top + _STRIP] = levels[..., 0]
            continue
        result[top : top + _STRIP, :, :3] = levels
        result[top : top + _STRIP, :, 3:] = np.minimum(
            strip[..., 3:].astype(np.uint32) * 255 // brightest, 255
        )
    return result


def eetf(light: Light, peak: float) -> Light:
    """Light (1.0 is reference white) of a picture whose brightest is ``peak`` cd/m²,
    as the target can show it.
    """
    source = _to_pq(np.array(peak))
    most = float(_to_pq(np.array(_WHITE)) / source)
    knee = 1.5 * most - 0.5
    e = np.minimum(_to_pq(np.maximum(light, 0) * _WHITE) / source, 1)
    t = np.maximum(e - knee, 0) / (1 - knee)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (-2 * t**3 + 3 * t**2) * most
    )
    return np.asarray(_from_pq(np.where(e < knee, e, spline) * source) / _WHITE, np.float32)


@lru_cache(maxsize=4)
def _gains(peak: float) -> tuple[Light, Light]:
    """(fourth roots of light, what to multiply that light with)."""
    if peak <= _WHITE:
        return np.zeros(1, np.float32), np.ones(1, np.float32)
    roots = np.linspace(0, (_BRIGHTEST / _WHITE) ** 0.25, _NODES, dtype=np.float32)
    light = np.maximum(roots, roots[1]) ** 4
    return roots, eetf(light, peak) / light


def _gain(light: Light, peak: float) -> Light:
    return np.interp(np.sqrt(np.sqrt(np.maximum(light, 0))), *_gains(peak)).astype(np.float32)


@lru_cache(maxsize=4)
def _table(transfer: int, brightest: int) -> Light:
    """Light of each of the 65,536 samples: PQ's in units of reference white.

    HLG's of the scene, 0 to 1.
    """
    signal = np.minimum(np.arange(2**16) / brightest, 1)
    if transfer == PQ:
        return (_from_pq(signal) / _WHITE).astype(np.float32)
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _C) / _A) + _B) / 12)
    return scene.astype(np.float32)


def _to_pq(light: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """The signal of light in cd/m²."""
    power = np.minimum(light / _BRIGHTEST, 1) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def _from_pq(signal: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Light in cd/m² of a signal of 0 to 1."""
    power = signal ** (1 / _M2)
    return np.asarray(_BRIGHTEST * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1))
