"""Makes the two outputs of one file with the engine, without limits on pixels,
and says what it took.

Usage: once PATH [MAX_PIXELS [TIMES]]. Prints `{"cpu": s, "wall": [s, …], "peak": bytes, "idle":
bytes, "error": text}`;
the peak is of the whole process, as a pool's child would hold it, and `idle` what it held before.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import simplejpeg

from bench.memory import forget_peak, peak_bytes, resident_bytes
from fpj_core.errors import ImageError
from fpj_core.model import Format, ImageLimits, TierSpec
from fpj_core.sources.base import OpenedImage
from fpj_worker.engine import process_image

_TIERS = (
    TierSpec("full", 1920, 1440, 85, Format.JPEG),
    TierSpec("thumbnail", 300, 300, 80, Format.JPEG),
)


def main() -> None:
    """Warm up with a small image, then make the one named."""
    path, *rest = sys.argv[1:]
    limits = ImageLimits(max_pixels=int(rest[0]) if rest else 2_000_000_000)
    small = simplejpeg.encode_jpeg(np.zeros((64, 64, 3), np.uint8))
    process_image(OpenedImage("warm.jpg", data=small), _TIERS, limits)
    forget_peak()
    idle = resident_bytes()
    walls, error, cpu = [], "", time.process_time()
    for _ in range(int(rest[1]) if len(rest) > 1 else 1):
        started = time.perf_counter()
        try:
            process_image(OpenedImage(path, path=path.encode()), _TIERS, limits)
        except ImageError as refusal:
            error = str(refusal)
        walls.append(time.perf_counter() - started)
    cpu = time.process_time() - cpu
    print(
        json.dumps({"cpu": cpu, "wall": walls, "peak": peak_bytes(), "idle": idle, "error": error})
    )


if __name__ == "__main__":
    main()
