"""How alike two pictures are, 1 for equal ones: SSIM on brightness, on one scale and on several.

On one scale (Wang, Bovik, Sheikh, Simoncelli 2004) every pixel's noise counts. On five scales
(Wang, Simoncelli, Bovik 2003; the dssim tool does the like) counts what is seen from where one
looks at a whole picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
import pyvips

_SIGMA = 1.5
_WINDOW = (11, 11)
_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the scales, from the finest."""

Pixels = npt.NDArray[np.uint8]
Brightness = npt.NDArray[np.float32]


def reference(path: Path, width: int, height: int) -> Pixels:
    """The careful way: decoded in full, scaled by Lanczos, not encoded."""
    image = pyvips.Image.new_from_file(str(path))
    scaled = image.resize(width / image.width, vscale=height / image.height, kernel="lanczos3")
    return cast("Pixels", scaled.numpy())


def ssim(one: Pixels, two: Pixels) -> float:
    """Mean structural similarity of two RGB pictures of one size."""
    luminance, structure = _compared(_brightness(one), _brightness(two))
    return float((luminance * structure).mean())


def multi_scale_ssim(one: Pixels, two: Pixels) -> float:
    """The same on as many of five scales as the pictures are large enough for."""
    x, y = _brightness(one), _brightness(two)
    scales = max(n for n in range(1, len(_WEIGHTS) + 1) if min(x.shape) >> (n - 1) >= _WINDOW[0])
    similarity = 1.0
    for scale, weight in enumerate(_WEIGHTS[:scales], 1):
        luminance, structure = _compared(x, y)
        similar = luminance * structure if scale == scales else structure
        similarity *= max(float(similar.mean()), 0.0) ** (weight / sum(_WEIGHTS[:scales]))
        x, y = _halved(x), _halved(y)
    return similarity


def _compared(x: Brightness, y: Brightness) -> tuple[Brightness, Brightness]:
    """(similarity of the means, similarity of contrast and structure) around each pixel."""
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x, variance_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * covariance + _C2) / (variance_x + variance_y + _C2)
    return luminance.astype(np.float32, copy=False), structure.astype(np.float32, copy=False)


def _brightness(pixels: Pixels) -> Brightness:
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _blur(values: Brightness) -> Brightness:
    return np.asarray(cv2.GaussianBlur(values, _WINDOW, _SIGMA), dtype=np.float32)


def _halved(values: Brightness) -> Brightness:
    size = values.shape[1] // 2, values.shape[0] // 2
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
