"""Compares a cache folder of many files with a store, and says what that took.

Usage: inventory COUNT. Every file is of one byte and recorded, but for one in a thousand of each
kind: gone, of another size, not recorded. Prints `{"wall": s, "cpu": s, "peak": bytes, "before":
bytes, "repair": s, "found": n}`; `repair` is the time of a second comparison, which repairs.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from bench.memory import forget_peak, peak_bytes, resident_bytes
from fpj_core.folders.local import LocalFolder
from fpj_core.folders.ownership import MARKER, new_marker
from fpj_core.model import Counts, Derivative, Folder, Shard, ShardBatch
from fpj_core.store import open_store
from fpj_core.store.protocol import Store
from fpj_worker.inventory import Inventory, take_inventory

_BATCH = 5_000
_LONG_AGO = 1_000_000_000


def derivative(number: int) -> Derivative:
    """As a worker records it."""
    image = blake2b(f"photos{number}".encode(), digest_size=16).hexdigest()
    path = f"photos/full/{image[:2]}/{image}.jpg"
    return Derivative(image, "full", "photos", number, "d", "v", "cache", path, 4, 3, 1, "job", 1.0)


def fill(store: Store, root: Path, count: int) -> None:
    """Record files and make them, with some differences."""
    store.put_shards("job", 1, [Shard("job", 1, 0, "photos", 0, count, 0)])
    held = store.claim_shard("job", 1, "bench", 1.0)
    if held is None:
        raise SystemExit("the shard cannot be claimed")
    (root / MARKER).write_bytes(new_marker(store.identity(), Folder("cache", str(root))))
    for part in range(256):
        (root / "photos" / "full" / f"{part:02x}").mkdir(parents=True)
    for start in range(0, count, _BATCH):
        stop = min(start + _BATCH, count)
        made = [derivative(number) for number in range(start, stop)]
        kept = tuple(each for each in made if each.ordinal % 1_000 != 1)
        store.flush(
            ShardBatch(
                "job", 1, 0, "photos", held.epoch, 0, start, stop, Counts(stop - start), kept
            ),
            1.0,
        )
        for each in made:
            if each.ordinal % 1_000 != 2:
                put(f"{root}/{each.path}", 2 if each.ordinal % 1_000 == 3 else 1)


def put(path: str, size: int) -> None:
    """A file of long ago."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, bytes(size))
    os.utime(descriptor, (_LONG_AGO, _LONG_AGO))
    os.close(descriptor)


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
        store.upsert_folder(replace(Folder("cache", str(root))))
        fill(store, root, count)
        folder = LocalFolder(str(root))
        forget_peak()
        before = resident_bytes()
        wall, cpu, left = timed(lambda: take_inventory(store, folder, "cache"))
        repair, _, _ = timed(lambda: take_inventory(store, folder, "cache", repair=True))
        peak = peak_bytes()
        store.close()
        answer = {"wall": wall, "cpu": cpu, "peak": peak, "before": before}
        print(json.dumps(answer | {"repair": repair, "found": left}), flush=True)


if __name__ == "__main__":
    main()
