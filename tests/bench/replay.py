"""Replays a trace against a folder that the policy engine keeps below its high watermark.

What is asked for and not there is made: its cost is spent. Before that, if there is no room, a plan
is made and all of its victims are removed. So at no moment does the folder hold more than the high
watermark.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.traces import DAY, Trace
from fpj_core.policy import Candidate, Eviction, Policy, plan

_START = 1.8e9


@dataclass(frozen=True, slots=True)
class Spent:
    """``cpu_ms`` of all that was made, and what else came of a replay."""

    cpu_ms: float
    hit_bytes: int
    plans: int
    most: int
    """Bytes ever held."""


def policy(room: int, eviction: Eviction, half_life: float = 90 * DAY) -> Policy:
    """fpj's defaults, for a folder whose high watermark (90 %) is at most ``room`` bytes."""
    return Policy(
        eviction=eviction, max_bytes=room * 10 // 9, half_life=half_life, allow_everything=True
    )


def replay(trace: Trace, rules: Policy, *, accesses: bool = True) -> Spent:
    """``accesses``: whether they are recorded. Without them, all that counts is the creation."""
    assert rules.high is not None and rules.low is not None
    folder: dict[int, Candidate] = {}
    used = most = hits = plans = 0
    spent = 0.0
    for number, since in zip(trace.asked, trace.seconds, strict=True):
        now, size = _START + since, trace.sizes[number]
        if (there := folder.get(number)) is not None:
            hits += size
            if accesses:
                folder[number] = _accessed(there, now, rules.half_life)
            continue
        spent += trace.costs[number]
        if used + size > rules.high:
            if size > rules.low:
                continue  # no plan makes room for it: made, and not kept
            plans += 1
            for victim in plan(folder.values(), used + size, rules, now).victims():
                del folder[victim.ordinal]
                used -= victim.bytes
        folder[number] = _candidate(number, size, trace.costs[number], now)
        used += size
        most = max(most, used)
    return Spent(spent, hits, plans, most)


def _candidate(
    number: int,
    size: int,
    cost: float,
    created_at: float,
    accessed_at: float | None = None,
    frequency: float = 1.0,
) -> Candidate:
    return Candidate(
        "trace", number, "tier", "cache", "", size, cost, created_at, accessed_at, frequency
    )


def _accessed(there: Candidate, now: float, half_life: float) -> Candidate:
    age = now - (there.accessed_at or there.created_at)
    frequency = there.frequency * math.exp2(-age / half_life) + 1
    return _candidate(there.ordinal, there.bytes, there.cost_ms, there.created_at, now, frequency)
