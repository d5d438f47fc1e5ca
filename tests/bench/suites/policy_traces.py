"""What the folder's policy saves: CPU spent on a trace, beside other policies in the same room."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.cache import cache_folder
from bench.offline import least_cpu_ms
from bench.replay import policy, replay
from bench.result import Benchmark, Row, Scale, SkippedError, at_most
from bench.traces import TRACES, jar_path
from fpj_core.policy import Eviction

_CASES = (
    ("adaptsize", "AdaptSize's trace, 5 %", 0, 0, 5, 0.88),
    ("albums", "albums, 5 %", 200, 200, 5, 0.82),
    ("albums", "albums, 15 %", 200, 200, 15, 0.82),
    ("scarab", "Scarab's recommendations, 5 %", 50_000, 1_000_000, 5, 0.80),
)
"""(trace, what that is, how much of it in a short run and in full, percentage of its bytes that
there is room for, target)."""
_PEERS = {
    "SIEVE": "Sieve",
    "S3-FIFO": "S3FIFO",
    "W-TinyLFU": "WTinyLFU",
    "ARC": "ARC",
    "LRB": "LRB",
    "GDSF, by size only": "GDSF",
}
_LRU = "LRU"
_OF_BOUND = 1.45
_TESTS = Path(__file__).resolve().parents[2]


def spent(scale: Scale) -> Iterator[Row]:
    """All ratios are to exact LRU in the same room, or to our own where the simulator is missing.

    A short run has too little of Scarab's trace for its target.
    """
    if not jar_path().exists():
        raise SkippedError("the recorded traces are missing (hack/bench-setup.sh)")
    for name, title, few, many, share, target in _CASES:
        count = scale.pick(few, many)
        trace = TRACES[name](count)
        room = trace.bytes * share // 100
        peers = _simulated(name, count, room)
        least = least_cpu_ms(trace, room)
        ours = replay(trace, policy(room, Eviction.LRU))
        lru, hit_bytes = peers.pop(_LRU, (ours.cpu_ms, ours.hit_bytes))
        note = f"{hit_bytes / trace.asked_bytes:.3f} of the bytes were there"
        yield Row(f"{title}: LRU", lru / 1000, "s", note=note)
        yield Row("  the offline bound", least / lru, note="of LRU's CPU, as all below")
        cost = replay(trace, policy(room, Eviction.COST))
        aim = at_most(target) if count == many else None
        again = (cost.cpu_ms - trace.first_ms) / (lru - trace.first_ms)
        note = (
            f"{cost.hit_bytes / trace.asked_bytes:.3f} of the bytes; {cost.plans} plans;"
            f" without first makes {again:.2f}"
        )
        yield Row("  fpj, Cost", cost.cpu_ms / lru, target=aim, note=note)
        yield Row("    of the bound", cost.cpu_ms / least, target=at_most(_OF_BOUND))
        blind = replay(trace, policy(room, Eviction.COST), accesses=False)
        yield Row("  fpj, Cost, no accesses recorded", blind.cpu_ms / lru)
        yield Row("  fpj, LRU", ours.cpu_ms / lru, note=f"{ours.plans} plans")
        for peer, (cpu_ms, hits) in peers.items():
            note = f"{hits / trace.asked_bytes:.3f} of the bytes"
            yield Row(f"  {peer}", cpu_ms / lru, note=note)


def _simulated(name: str, count: int, room: int) -> dict[str, tuple[float, float]]:
    """By policy, CPU milliseconds and hit bytes; nothing where the simulator is missing."""
    python = cache_folder() / "libcachesim-0.3.5" / "bin" / "python"
    if not python.exists():
        return {}
    script = _TESTS / "bench" / "processes" / "simulator.py"
    names = {_LRU: _LRU} | _PEERS
    finished = subprocess.run(
        [str(python), str(script), name, f"{count}", f"{room}", *names.values()],
        env=os.environ | {"PYTHONPATH": str(_TESTS)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=3_600,
    )
    found = json.loads(finished.stdout.splitlines()[-1])
    return {peer: (found[each]["cpu_ms"], found[each]["hit_bytes"]) for peer, each in names.items()}


BENCHMARKS = (Benchmark("policy-traces", "CPU spent on traces, by eviction policy", spent),)
