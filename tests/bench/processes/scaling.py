"""Decodes photographs at each of libjpeg's scales and shrinks them to 1920 px by each filter.

Usage: scaling SIZE PHOTOGRAPHS. Prints `[{"eighths": n, "ratio": r, "decode": ms, "shrink":
{filter: [ms, SSIM]}}, …]`
under the key `scales`; the SSIM is to a full decode scaled by Lanczos, nothing encoded.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyvips
import simplejpeg

from bench.photographs import photographs
from bench.similarity import reference, ssim
from bench.timing import timed

Pixels = npt.NDArray[np.uint8]
Filter = Callable[[Pixels, int, int], Pixels]

_WIDTH = 1_920


def by_opencv(how: int) -> Filter:
    """One of OpenCV's filters."""
    return lambda pixels, width, height: np.asarray(
        cv2.resize(pixels, (width, height), interpolation=how)
    )


def by_libvips(pixels: Pixels, width: int, height: int) -> Pixels:
    """Lanczos, averaging over as many pixels as the ratio asks for."""
    image = pyvips.Image.new_from_array(pixels)
    return np.asarray(
        image.resize(width / image.width, vscale=height / image.height, kernel="lanczos3").numpy()
    )


FILTERS: dict[str, Filter] = {
    "OpenCV cubic": by_opencv(cv2.INTER_CUBIC),
    "OpenCV area": by_opencv(cv2.INTER_AREA),
    "libvips lanczos3": by_libvips,
}


def decode(data: bytes, eighths: int) -> Pixels:
    """All of a JPEG at so many eighths of its size."""
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    smallest = {"min_width": -(-width * eighths // 8), "min_height": -(-height * eighths // 8)}
    return np.asarray(simplejpeg.decode_jpeg(data, min_factor=1, **smallest))


def measure(contents: list[bytes], references: list[Pixels], eighths: int) -> dict[str, Any] | None:
    """One of the scales; None where it gives fewer pixels than the target has."""
    decoded = [timed(decode, data, eighths) for data in contents]
    ratio = decoded[0][1].shape[1] / _WIDTH
    if ratio < 1:
        return None
    shrink = {}
    for name, how in FILTERS.items():
        milliseconds, likeness = [], []
        for (_, pixels), target in zip(decoded, references, strict=True):
            cost, shrunk = timed(how, pixels, target.shape[1], target.shape[0])
            milliseconds.append(cost)
            likeness.append(ssim(shrunk, target))
        shrink[name] = [mean(milliseconds), mean(likeness)]
    return {
        "eighths": eighths,
        "ratio": ratio,
        "decode": mean(cost for cost, _ in decoded),
        "shrink": shrink,
    }


def main() -> None:
    """Measure every scale."""
    cv2.setNumThreads(1)
    paths = photographs(sys.argv[1], int(sys.argv[2]))
    contents = [path.read_bytes() for path in paths]
    references = [reference(path, *fitted(path)) for path in paths]
    scales = [found for eighths in range(1, 9) if (found := measure(contents, references, eighths))]
    print(json.dumps({"scales": scales}))


def fitted(path: Path) -> tuple[int, int]:
    """The target's size."""
    image = pyvips.Image.new_from_file(str(path))
    return _WIDTH, round(image.height * _WIDTH / image.width)


if __name__ == "__main__":
    main()
