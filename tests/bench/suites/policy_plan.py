"""Evictions planned over millions of derivatives, in memory that follows what is to go."""

from __future__ import annotations

from collections.abc import Iterator

from bench.measure import run_module
from bench.plane import load
from bench.result import Benchmark, Row, Scale, at_most

_MANY = 10_000_000
_SECONDS, _MB = 60, 300
_FOLDERS = (
    ("Cost", 95, False, "95 % full"),
    ("LRU", 95, False, "95 % full"),
    ("Priority", 95, False, "95 % full"),
    ("Cost", 150, False, "maxBytes cut to two thirds"),
    ("Cost", 95, True, "95 % full, tiers at twice their quota"),
)
"""(eviction, percentage of maxBytes that is held, quotas, what that is)."""


def plan(scale: Scale) -> Iterator[Row]:
    """A tenth as many first: what one derivative takes should not depend on how many there are.

    Compared is CPU: on a busy machine the clock says more of the others. Making the synthetic
    derivatives is part of it, as reading records would be.
    """
    for eviction, share, quotas, what in _FOLDERS[: scale.pick(1, None)]:
        arguments = eviction, f"{share}", f"{int(quotas)}"
        many = scale.pick(_MANY // 10, _MANY)
        few = run_module("policyplan", f"{many // 10}", *arguments, environment={})
        large = run_module("policyplan", f"{many}", *arguments, environment={})
        name = f"{many:,} by {eviction}, {what}"
        note = f"{large['making']:.0f} s of it to make them; {large['wall']:.0f} s, {load()}"
        yield Row(f"{name}, CPU", large["cpu"], "s", at_most(_SECONDS * many / _MANY), note)
        each = large["cpu"] / many * 1e6
        note = f"{few['cpu'] / many * 10e6:.2f} µs of {many // 10:,}"
        yield Row("  CPU of one", each, "µs", note=note)
        note = f"{large['victims']:,} victims"
        yield Row("  most resident", large["peak"] / 10**6, "MB", at_most(_MB), note)


BENCHMARKS = (Benchmark("policy-plan", "Evictions planned over millions of derivatives", plan),)
