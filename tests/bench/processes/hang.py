"""Lets a pool's child hang, again and again, and measures how long after the time limit the pool
works again.

Usage: hang TIMES TIMEOUT. Prints `{"killed": [s, …], "again": [s, …]}`: seconds past the limit
until the failure is
known, and until a child started in its place has made a small image.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import simplejpeg

from bench.handlers import HangsOnNothing
from fpj_core.errors import ErrorType
from fpj_worker.pool import ProcessPool


def main() -> None:
    """Hang and recover."""
    times, timeout = int(sys.argv[1]), float(sys.argv[2])
    image = simplejpeg.encode_jpeg(np.zeros((600, 800, 3), np.uint8))
    killed, again = [], []
    preload = ("fpj_worker.engine", "fpj_worker.tasks")
    with ProcessPool[bytes, int](
        HangsOnNothing(), workers=1, timeout=timeout, preload=preload
    ) as pool:
        pool.submit(image)
        pool.poll(60)
        for _ in range(times):
            started = time.monotonic()
            pool.submit(b"")
            pool.submit(image)
            (late,) = pool.poll(60)
            assert late.error and late.error.error_type is ErrorType.DECODE_TIMEOUT
            killed.append(time.monotonic() - started - timeout)
            (made,) = pool.poll(60)
            assert made.result
            again.append(time.monotonic() - started - timeout)
    print(json.dumps({"killed": killed, "again": again}))


if __name__ == "__main__":
    main()
