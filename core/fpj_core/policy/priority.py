"""What a derivative is worth: of two, the one of the lower priority goes first.

Every priority is a number from 0 on.

**Cost** values what a derivative saves for its bytes, as GreedyDual-Size-Frequency does:
L. Cherkasova, *Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency Caching Policy*,
HP Laboratories, HPL-98-69R1, 1998. There

    priority = clock + frequency x cost / size

where the clock, as of the last access, is the priority of what was evicted last, so that what was
asked for long ago falls behind. Here a plan sorts a whole folder at one moment, and nothing but the
age since the last access is known:

    priority = weight x frequency x cost_ms / bytes x 0.5 ** (age / half_life) / sqrt(age)

The root is what ages from day to day: the longer nobody has asked, the less likely somebody will,
but ever more slowly. A clock that rises evenly amounts to dividing by the age itself; halving alone
ages too little at first and too much later (measured: docs/design/eviction.md). The half-life makes
what was popular a year ago forgotten at last.

A derivative whose cost nobody recorded counts as 1 ms, the paper's cost for objects that cost the
same, so small files stay longest among them.

**LRU** is the time of the last access. **Priority** orders by weight, and by last access among
those of the same weight.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Callable

from fpj_core.model import Eviction
from fpj_core.policy.records import Candidate, Policy, Weights

END_OF_TIME = 2**34
"""Times are below it, so a rank of weights above it leaves them their order."""
UNKNOWN_COST_MS = 1.0
_LEAST_AGE = 3_600.0
"""Seconds. What a run makes within an hour is equally young, and a clock that jumped back makes no
age negative.
"""

Priority = Callable[[Candidate, float, float], float]
"""(derivative, its last access, its weight) -> its priority."""


def priority_of(policy: Policy, now: float) -> Priority:
    """How the policy values a derivative."""
    match policy.chosen:
        case Eviction.COST:
            return _cost(policy.half_life, now)
        case Eviction.PRIORITY:
            return _by_weight(policy.weights)
        case _:
            return lambda _candidate, last, _weight: last


def _cost(half_life: float, now: float) -> Priority:
    exp2, sqrt, decay = math.exp2, math.sqrt, -1 / half_life  # found once for millions of calls

    def priority(candidate: Candidate, last: float, weight: float) -> float:
        age = max(now - last, _LEAST_AGE)
        return (
            weight
            * candidate.frequency
            * exp2(age * decay)
            / sqrt(age)
            * (candidate.cost_ms or UNKNOWN_COST_MS)
            / (candidate.bytes or 1)
        )

    return priority


def _by_weight(weights: Weights) -> Priority:
    each = ((1.0, *of.values()) for of in (weights.folders, weights.collections, weights.tiers))
    products = sorted({one * two * three for one, two, three in itertools.product(*each)})

    def priority(_candidate: Candidate, last: float, weight: float) -> float:
        return bisect_left(products, weight) * END_OF_TIME + last

    return priority
