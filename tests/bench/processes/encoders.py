"""Encodes pictures of 1920x1440 with each encoder and setting: time against size.

Usage: encoders PICTURES quick|full. Prints `{name: [ms CPU, bytes], …}`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from statistics import mean
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
import pyvips
import simplejpeg

from bench.photographs import photograph_pixels
from bench.timing import timed

Pixels = npt.NDArray[np.uint8]


def by_libvips(method: str, **options: object) -> Callable[[Pixels], bytes]:
    """One of libvips' encoders with its options."""
    return lambda pixels: bytes(
        getattr(pyvips.Image.new_from_array(pixels), method)(keep="none", **options)
    )


def encoders(*, full: bool) -> dict[str, Callable[[Pixels], bytes]]:
    """By name; in a short run only the settings that fpj uses."""
    found: dict[str, Callable[[Pixels], bytes]] = {
        "JPEG q85": lambda pixels: simplejpeg.encode_jpeg(
            pixels, quality=85, colorsubsampling="420"
        ),
        "JPEG q85 by libvips": by_libvips("jpegsave_buffer", Q=85),
        "JPEG q85 by libvips, optimised Huffman": by_libvips(
            "jpegsave_buffer", Q=85, optimize_coding=True
        ),
        "JPEG q85 by libvips, progressive": by_libvips("jpegsave_buffer", Q=85, interlace=True),
    }
    for effort in (0, 2, 4, 6) if full else (2,):
        found[f"WebP q85, effort {effort}"] = by_libvips("webpsave_buffer", Q=85, effort=effort)
    for effort in (0, 1, 2, 4) if full else (0,):
        found[f"AVIF q60, effort {effort}"] = by_libvips(
            "heifsave_buffer", Q=60, effort=effort, compression="av1"
        )
    for level in (1, 6, 9) if full else (6,):
        found[f"PNG, compression {level}"] = by_libvips("pngsave_buffer", compression=level)
    return found


def main() -> None:
    """Encode."""
    count, extent = int(sys.argv[1]), sys.argv[2]
    large = (photograph_pixels(number, 4_000, 3_000) for number in range(count))
    pictures = [
        cast("Pixels", cv2.resize(each, (1_920, 1_440), interpolation=cv2.INTER_AREA))
        for each in large
    ]
    answer = {}
    for name, encode in encoders(full=extent == "full").items():
        encode(pictures[0][:64, :64].copy())
        milliseconds, data = zip(
            *(timed(encode, picture, times=1) for picture in pictures), strict=True
        )
        answer[name] = [mean(milliseconds), mean(map(len, data))]
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
