"""The test photographs: cut from Debian's wallpapers, enlarged to a camera's size,
with a sensor's noise.

The noise is what makes them worth measuring with: a wallpaper enlarged compresses to a third of
what a camera writes, and decoding time depends on the bits. Noise and quality are set so that 12
megapixels come to 2.9 MB on average, as phones write them. Everything follows from a seed: the same
photographs on every machine.
"""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pyvips
import simplejpeg

from bench.cache import cache_folder, cached
from bench.result import SkippedError

_WALLPAPERS = (Path("/usr/share/backgrounds/mate"), Path("/usr/share/wallpapers"))
_SMALLEST_WALLPAPER = 2_560
_ORDER = 342
"""Seed of the wallpapers' order.

With this one the first eight photographs have the average of all: 2.9 MB.
"""
_REVISION = 2
"""Part of the folder's name: raise it when the photographs change."""

_QUALITY = 95
_NOISE = 3.5
_SHOT_NOISE = 0.012
"""Variance of the noise per unit of brightness,
before it is multiplied by the square of ``_NOISE``.
"""
_READ_NOISE = 0.5
_DEMOSAIC_BLUR = 0.6
"""Neighbouring samples share their noise, because cameras interpolate two of three colours of each
pixel.
"""

SIZES = {"8 MP": (3_264, 2_448), "12 MP": (4_000, 3_000), "24 MP": (6_000, 4_000)}

Pixels = npt.NDArray[np.uint8]


def photographs(size: str, count: int) -> list[Path]:
    """``count`` JPEGs (4:2:0, baseline, without a profile) of one of `SIZES`."""
    width, height = SIZES[size]
    folder = _folder() / f"{width}x{height}"
    return [
        cached(folder / f"{n:03}.jpg", partial(_write, number=n, width=width, height=height))
        for n in range(count)
    ]


def wide_gamut(count: int) -> list[Path]:
    """The 12-megapixel photographs again, bit for bit, tagged as Display P3."""
    originals = photographs("12 MP", count)
    folder = _folder() / "4000x3000-p3"
    return [cached(folder / path.name, partial(_tag, path, profile="p3")) for path in originals]


def web_images(count: int) -> list[Path]:
    """Images as they are found on web pages: 800x600, some 100 KB."""
    folder = _folder() / "web"
    return [cached(folder / f"{n:03}.jpg", partial(_write_web, number=n)) for n in range(count)]


def photograph_pixels(number: int, width: int, height: int) -> Pixels:
    """A photograph before it is encoded, of shape (height, width, 3)."""
    chance = np.random.default_rng([number, width, height])
    wallpapers = _wallpapers()
    scene = _cut(wallpapers[number % len(wallpapers)], width, height, chance).astype(np.float32)
    noise = cv2.GaussianBlur(
        chance.standard_normal(scene.shape, dtype=np.float32), (0, 0), _DEMOSAIC_BLUR
    )
    scene += noise * np.sqrt(scene * _SHOT_NOISE + _READ_NOISE) * _NOISE
    return np.asarray(np.clip(scene + 0.5, 0, 255), dtype=np.uint8)


@cache
def _wallpapers() -> list[Path]:
    """Every large wallpaper once; sizes that are links to another are left out.

    Raises `SkippedError` without any.
    """
    found = [
        path
        for folder in _WALLPAPERS
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".jpg", ".png") and not path.is_symlink()
        if pyvips.Image.new_from_file(str(path)).width >= _SMALLEST_WALLPAPER
    ]
    if not found:
        raise SkippedError(
            "there are no wallpapers to cut photographs from; see hack/bench-setup.sh"
        )
    order = np.random.default_rng(_ORDER).permutation(len(found))
    return [found[place] for place in order]


def _cut(wallpaper: Path, width: int, height: int, chance: np.random.Generator) -> Pixels:
    """A part of the wallpaper, nine tenths of its largest that has the shape asked for,
    scaled to that size.
    """
    image = pyvips.Image.new_from_file(str(wallpaper)).colourspace("srgb")
    scene = (image.flatten() if image.hasalpha() else image).numpy()
    scale = 0.9 * min(scene.shape[1] / width, scene.shape[0] / height)
    across, down = int(width * scale), int(height * scale)
    left = int(chance.integers(0, scene.shape[1] - across + 1))
    top = int(chance.integers(0, scene.shape[0] - down + 1))
    part = scene[top : top + down, left : left + across]
    return np.asarray(
        cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8
    )


def _write(path: Path, number: int, width: int, height: int) -> None:
    pixels = photograph_pixels(number, width, height)
    path.write_bytes(simplejpeg.encode_jpeg(pixels, quality=_QUALITY, colorsubsampling="420"))


def _write_web(path: Path, number: int) -> None:
    """A photograph made small by its page's author: sharp, and with little noise left."""
    pixels = cv2.resize(
        photograph_pixels(number, 3_200, 2_400), (800, 600), interpolation=cv2.INTER_AREA
    )
    path.write_bytes(simplejpeg.encode_jpeg(pixels, quality=90, colorsubsampling="420"))


def _tag(original: Path, target: Path, profile: str) -> None:
    """Insert an ICC profile behind the JFIF header, so that not one bit of the picture differs."""
    icc = b"ICC_PROFILE\0\x01\x01" + bytes(pyvips.Image.profile_load(profile))
    segment = b"\xff\xe2" + (len(icc) + 2).to_bytes(2, "big") + icc
    content = original.read_bytes()
    behind = 4 + int.from_bytes(content[4:6], "big")
    target.write_bytes(content[:behind] + segment + content[behind:])


def _folder() -> Path:
    return cache_folder() / f"photographs-{_REVISION}"
