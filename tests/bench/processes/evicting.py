"""Evicts most files of a cache folder, and says what that took.

Usage: evicting COUNT. Every file is of one byte and recorded; the quota leaves a tenth of them.
Prints `{"wall": s, "cpu": s, "peak": bytes, "before": bytes, "files": n, "idle": s, "purge": s}`:
`files` were removed in `wall`; `idle` is the CPU time in which an eviction finds that there is
nothing to do; `purge` is how long `fpj purge` of one image that is left takes, its start included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.filled import COLLECTION, FOLDER, fill, source
from bench.memory import forget_peak, peak_bytes, resident_bytes
from fpj_core.folders.local import LocalFolder
from fpj_core.model import Eviction, Folder
from fpj_core.policy import Policy
from fpj_core.store import open_store
from fpj_core.store.protocol import Store, nothing
from fpj_worker.eviction import Evictor


def purge(place: Path, number: int) -> float:
    """Seconds in which an image's files are gone, and the receipt is there."""
    url = f"sqlite:///{place / 'fpj.db'}"
    program = Path(sys.executable).with_name("fpj")
    began = time.perf_counter()
    said = subprocess.run(
        [program, "purge", source(number).key, "--yes", "--json", "--store", url],
        check=True,
        stdout=subprocess.PIPE,
    )
    took = time.perf_counter() - began
    (receipt,) = json.loads(said.stdout)
    if Path(receipt["path"]).exists():
        raise SystemExit(f"{receipt['path']} was purged, and is there")
    return took


def evict(store: Store, root: Path, count: int) -> dict[str, float]:
    """Evict, and again."""
    record, folder = Folder(FOLDER, str(root)), LocalFolder(str(root))
    policy = Policy(eviction=Eviction.LRU, max_bytes=count // 8)
    forget_peak()
    before = resident_bytes()
    wall, cpu = time.perf_counter(), time.process_time()
    removed = Evictor(store, folder, record, nothing, policy).run().removed
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    idle = time.process_time()
    if Evictor(store, folder, record, nothing, policy).run().removed.files:
        raise SystemExit("the first eviction left something to remove")
    idle = time.process_time() - idle
    return {
        "wall": wall,
        "cpu": cpu,
        "peak": peak_bytes(),
        "before": before,
        "files": removed.files,
        "idle": idle,
    }


def main() -> None:
    """Fill, evict, purge."""
    count = int(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="fpj-bench-") as name:
        place = Path(name)
        root = place / "cache"
        root.mkdir()
        store = open_store(str(place / "fpj.db"))
        fill(store, root, count)
        answer = evict(store, root, count)
        left = next(store.contents(FOLDER, COLLECTION, nothing)).ordinal
        store.close()
        print(json.dumps(answer | {"purge": purge(place, left)}), flush=True)


if __name__ == "__main__":
    main()
