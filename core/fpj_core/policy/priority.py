"""What a derivative is worth: of two, the one of the lower priority goes first.

Every priority is a number from 0 on.

**Cost** is GreedyDual-Size-Frequency: L. Cherkasova, *Improving WWW Proxies Performance with
Greedy-Dual-Size-Frequency Caching Policy*, HP Laboratories, HPL-98-69R1, 1998. There

    priority = clock + frequency x cost / size

where the clock is the priority of what was evicted last, so that what was asked for long ago falls
behind. Here a plan sorts a whole folder at one moment, and no derivative has a clock of its own:
one that is the same for all would change no order, and is left out. What was asked for long ago
falls behind because its frequency halves in every ``half_life`` since its last access:

    priority = weight x frequency x 0.5 ** (age / half_life) x cost_ms / bytes

A derivative whose cost nobody recorded counts as 1 ms, the paper's cost for objects that cost the
same, so small files stay longest among them.

**LRU** is the time of the last access. **Priority** orders by weight, and by last access among
those of the same weight.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable

from fpj_core.model import Eviction
from fpj_core.policy.records import Candidate, Policy, Weights

END_OF_TIME = 2**34
"""Times are below it, so a rank of weights above it leaves them their order."""
UNKNOWN_COST_MS = 1.0

Priority = Callable[[Candidate, float, float], float]
"""(derivative, its last access, its weight) -> its priority.

A clock that jumped back makes no age negative.
"""


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
    def priority(candidate: Candidate, last: float, weight: float) -> float:
        return (
            weight
            * candidate.frequency
            * (0.5 ** ((now - last) / half_life) if last < now else 1.0)
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
