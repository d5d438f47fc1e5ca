"""What no policy can do better than, even one that knows all requests to come.

PFOO-L of D. Berger, N. Beckmann and M. Harchol-Balter, *Practical Bounds on Optimal Caching with
Variable Object Sizes*, Proceedings of the ACM on Measurement and Analysis of Computing Systems
2(2), 2018, article 32, with costs in place of misses. A hit needs its bytes from one request to the
next. All of them together may need the room times the number of requests; that at no moment more
may be held than the room is left out, so this is below any policy. The hits are taken that save
most for what they need.
"""

from __future__ import annotations

from bench.traces import Trace


def least_cpu_ms(trace: Trace, room: int) -> float:
    """A lower bound on the CPU milliseconds of all that is made."""
    last: dict[int, int] = {}
    hits: list[tuple[float, int, float]] = []
    spent = 0.0
    for at, number in enumerate(trace.asked):
        cost = trace.costs[number]
        spent += cost
        if number in last:
            needs = trace.sizes[number] * (at - last[number])
            hits.append((cost / needs, needs, cost))
        last[number] = at
    left = room * len(trace.asked)
    for _, needs, cost in sorted(hits, reverse=True):
        if needs > left:
            return spent - cost * left / needs
        left -= needs
        spent -= cost
    return spent
