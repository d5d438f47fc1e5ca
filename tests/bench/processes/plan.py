"""Indexes a synthetic collection and plans a job over it, and says what the plan took.

Usage: plan COUNT FOLDER [URL PID]; without a URL, into a new SQLite file in FOLDER. Prints
`{"index": s, "index_cpu":
s, "plan": s, "cpu": s, "peak": bytes, "shards": n, "steps": n}`; `cpu` and `peak` are of the plan,
the server's CPU included.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import psutil

from bench.memory import forget_peak, peak_bytes
from bench.synthetic import SyntheticSource
from fpj_core.folders.local import LocalFolder
from fpj_core.model import Job
from fpj_core.store import open_store
from fpj_core.v1alpha1 import FileProcessingJobSpec, resolve_sharding, resolve_tiers
from fpj_worker.indexer import index_collection
from fpj_worker.planner import Planner, PlanSettings

_COLLECTION = "bench"
_SPEC = {
    "jobType": "Both",
    "collection": {"source": {"persistentVolumeClaim": {"claimName": "photographs"}}},
    "sharding": {"parallelism": 1_000},
}


def main() -> None:
    """Index and plan."""
    count, folder = int(sys.argv[1]), Path(sys.argv[2])
    store = open_store(sys.argv[3] if len(sys.argv) > 3 else str(folder / "store.db"))
    spec = FileProcessingJobSpec.model_validate(_SPEC)
    settings = PlanSettings(
        resolve_tiers(spec),
        "cache",
        lambda pending: resolve_sharding(spec, pending).shard_size,
        True,
        False,
    )
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    cache = folder / "cache"
    cache.mkdir()
    planner = Planner(store, LocalFolder(str(cache)), _COLLECTION, settings, on_tick=step)
    job = store.create_job(Job("plan", "plan", _COLLECTION, {}, "digest", created_at=time.time()))
    spent, began = _cpu(), time.perf_counter()
    index_collection(store, SyntheticSource(count), _COLLECTION, fence=0)
    index_cpu, indexed = _cpu() - spent, time.perf_counter()
    forget_peak()
    spent = _cpu()
    planned = planner.plan(job, 1, resumed=False)
    ended = time.perf_counter()
    cpu = _cpu() - spent
    assert planned.total == count
    assert sum(shard.stop - shard.start for shard in store.shards(job.id, 1)) == count
    answer = {
        "index": indexed - began,
        "index_cpu": index_cpu,
        "plan": ended - indexed,
        "cpu": cpu,
        "peak": peak_bytes(),
    }
    print(json.dumps({**answer, "shards": planned.shards, "steps": steps}))
    store.close()


def _cpu() -> float:
    server = psutil.Process(int(sys.argv[4])).cpu_times() if len(sys.argv) > 4 else None
    return time.process_time() + (server.user + server.system if server else 0.0)


if __name__ == "__main__":
    main()
