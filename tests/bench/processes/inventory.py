"""Compares a cache folder of many files with a store, and says what that took.

Usage: inventory COUNT. Every file is of one byte and recorded, but for one in a thousand of each
kind: gone, of another size, not recorded. Prints `{"wall": s, "cpu": s, "peak": bytes, "before":
bytes, "repair": s, "found": n}`; `repair` is the time of a second comparison, which repairs.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.filled import FOLDER, fill
from bench.memory import forget_peak, peak_bytes, resident_bytes
from fpj_core.folders.local import LocalFolder
from fpj_core.store import open_store
from fpj_worker.inventory import Inventory, take_inventory

_SIZES = {2: None, 3: 2}
"""Of the files, by the last three digits of their number, where it is not one byte."""


def timed(take: Callable[[], Inventory]) -> tuple[float, float, int]:
    """Seconds that pass and seconds of CPU, and how many differences are left."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = take()
    return time.perf_counter() - wall, time.process_time() - cpu, found.left


def main() -> None:
    """Fill, compare, repair."""
    count = int(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="fpj-bench-") as place:
        root = Path(place) / "cache"
        root.mkdir()
        store = open_store(str(Path(place) / "fpj.db"))
        fill(
            store,
            root,
            count,
            lambda each: each % 1_000 != 1,
            lambda each: _SIZES.get(each % 1_000, 1),
        )
        folder = LocalFolder(str(root))
        forget_peak()
        before = resident_bytes()
        wall, cpu, left = timed(lambda: take_inventory(store, folder, FOLDER))
        repair, _, _ = timed(lambda: take_inventory(store, folder, FOLDER, repair=True))
        peak = peak_bytes()
        store.close()
        answer = {"wall": wall, "cpu": cpu, "peak": peak, "before": before}
        print(json.dumps(answer | {"repair": repair, "found": left}), flush=True)


if __name__ == "__main__":
    main()
