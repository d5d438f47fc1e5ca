"""ThumbHash: some 25 bytes that draw a blurred preview (https://evanw.github.io/thumbhash/).

The encoder alone.

The few low frequencies of a cosine transform, in 4 bits each, of brightness, two colour differences
and alpha.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Channel:
    """Frequencies of a plane: the constant one, the others as 0 to 1, and the largest of them."""

    constant: float
    others: Plane
    scale: float


def encode(rgba: npt.NDArray[np.uint8]) -> bytes:
    """The ThumbHash of pixels of shape (height, width, 4), at most 100 a side."""
    height, width = rgba.shape[:2]
    pixels = rgba.astype(np.float64) / 255
    colour, alpha = pixels[..., :3], pixels[..., 3:]
    opacity = float(alpha.sum())
    mean = (colour * alpha).sum(axis=(0, 1)) / opacity if opacity > 0 else np.zeros(3)
    has_alpha = bool((rgba[..., 3] < 255).any())
    # Laid on the mean colour.
    red, green, blue = np.moveaxis(mean * (1 - alpha) + colour * alpha, -1, 0)
    limit, side = (5 if has_alpha else 7), max(width, height)
    across, down = max(1, _rounded(limit * width / side)), max(1, _rounded(limit * height / side))
    light = _channel((red + green + blue) / 3, max(3, across), max(3, down))
    yellow = _channel((red + green) / 2 - blue, 3, 3)
    rose = _channel(red - green, 3, 3)
    landscape = width > height
    head = (
        _rounded(63 * light.constant)
        | _rounded(31.5 + 31.5 * yellow.constant) << 6
        | _rounded(31.5 + 31.5 * rose.constant) << 12
        | _rounded(31 * light.scale) << 18
        | has_alpha << 23
    )
    more = (
        (down if landscape else across)
        | _rounded(63 * yellow.scale) << 3
        | _rounded(63 * rose.scale) << 9
        | landscape << 15
    )
    encoded: bytes = head.to_bytes(3, "little") + more.to_bytes(2, "little")
    channels = [light, yellow, rose]
    if has_alpha:
        seen = _channel(alpha[..., 0], 5, 5)
        encoded += bytes([_rounded(15 * seen.constant) | _rounded(15 * seen.scale) << 4])
        channels.append(seen)
    return encoded + _nibbles(np.concatenate([channel.others for channel in channels]))


def _channel(plane: Plane, across: int, down: int) -> _Channel:
    """The frequencies below the diagonal of an ``across`` x ``down`` block, row by row."""
    height, width = plane.shape
    frequencies = _cosines(down, height) @ plane @ _cosines(across, width).T / (width * height)
    kept = np.array([[x * down < across * (down - y) for x in range(across)] for y in range(down)])
    kept[0, 0] = False
    others = frequencies[kept]
    scale = float(np.abs(others).max(initial=0.0))
    return _Channel(
        float(frequencies[0, 0]), 0.5 + 0.5 / scale * others if scale > 0 else others, scale
    )


def _cosines(count: int, length: int) -> Plane:
    return np.cos(np.pi / length * np.outer(np.arange(count), np.arange(length) + 0.5))


def _nibbles(values: Plane) -> bytes:
    """Two values of 0 to 1 in a byte, the first in its lower half."""
    numbers = np.floor(15 * values + 0.5).astype(np.uint8)
    padded = np.append(numbers, np.zeros(len(numbers) % 2, np.uint8))
    return bytes((padded[::2] | padded[1::2] << 4).tolist())


def _rounded(value: float) -> int:
    """To the nearest whole number, halves up."""
    return int(np.floor(value + 0.5))
