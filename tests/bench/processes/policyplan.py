"""Plans an eviction over synthetic derivatives, and says what the plan took.

Usage: policyplan COUNT EVICTION USED QUOTAS. USED is the percentage of maxBytes that the folder
holds, of which 80 are to stay; with QUOTAS of 1, each tier has one of half its bytes. Prints
`{"wall": s, "cpu": s, "peak": bytes, "before": bytes, "victims": n, "freed": bytes, "making": s}`;
`making` is the CPU of making the candidates alone, which is part of the others.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Iterator

from bench.memory import peak_bytes, resident_bytes
from fpj_core.policy import Candidate, Eviction, Policy, plan

_NOW = 1.8e9
_YEAR = 31_536_000
_COLLECTIONS = tuple(f"album-{number}" for number in range(2_000))
_TIERS = (("thumbnail", 17_000, 28.0), ("cache", 326_000, 45.0))
"""With usual bytes and milliseconds of each."""


def candidates(count: int) -> Iterator[Candidate]:
    """Two for each image, of all ages and frequencies, the same ones each time."""
    state = 1
    for number in range(count):
        state = state * 1_103_515_245 + 12_345 & 0x7FFFFFFF
        tier, size, cost = _TIERS[number & 1]
        scale = 0.5 + (state & 0xFFFF) / 65_536
        made = _NOW - state % _YEAR
        yield Candidate(
            _COLLECTIONS[number % 4_000 >> 1],
            number // 4_000,
            tier,
            "photographs",
            "",
            int(size * scale),
            cost * scale,
            made,
            made + (_NOW - made) * scale / 2,
            1.0 + (state >> 16 & 15),
        )


def main() -> None:
    """Plan once."""
    count, eviction, share = int(sys.argv[1]), Eviction(sys.argv[2]), int(sys.argv[3])
    began = time.process_time()
    deque(candidates(count // 10), maxlen=0)
    making = (time.process_time() - began) * 10
    used = count * sum(size for _, size, _ in _TIERS) // 2
    quotas = {tier: count * size // 4 for tier, size, _ in _TIERS} if sys.argv[4] == "1" else {}
    policy = Policy(
        eviction=eviction, max_bytes=used * 100 // share, tier_quotas=quotas, minimum_age=3_600
    )
    before, began, clock = resident_bytes(), time.process_time(), time.perf_counter()
    made = plan(candidates(count), used, policy, _NOW)
    deque(made.victims(), maxlen=0)
    answer = {
        "wall": time.perf_counter() - clock,
        "cpu": time.process_time() - began,
        "peak": peak_bytes(),
        "before": before,
        "victims": len(made),
        "freed": made.freed,
        "making": making,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
