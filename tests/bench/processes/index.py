"""Indexes a synthetic collection into a new SQLite store, twice, and says what that took.

Usage: index COUNT. Prints `{"first": s, "again": s, "peak": bytes, "idle": bytes, "file": bytes}`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from bench.memory import forget_peak, peak_bytes, resident_bytes
from bench.synthetic import SyntheticSource
from fpj_core.store import open_store
from fpj_worker.indexer import index_collection


def main() -> None:
    """Index."""
    count = int(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="fpj-bench-") as folder:
        path = Path(folder, "store.db")
        store = open_store(str(path))
        index_collection(store, SyntheticSource(1_000), "warm", fence=0)
        forget_peak()
        idle = resident_bytes()
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            result = index_collection(store, SyntheticSource(count), "bench", fence=0)
            seconds.append(time.perf_counter() - started)
        assert result.listed == count and result.added == 0
        store.close()
        answer = {"first": seconds[0], "again": seconds[1], "peak": peak_bytes(), "idle": idle}
        print(json.dumps({**answer, "file": path.stat().st_size}))


if __name__ == "__main__":
    main()
