"""The hard time limit: how late a hanging child is killed, and how soon the pool works again."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from bench.measure import run_module
from bench.result import Benchmark, Row, Scale, at_most


def overshoot(scale: Scale) -> Iterator[Row]:
    """A child that hangs in C with the interpreter's lock held."""
    times = scale.pick(10, 40)
    hang = run_module("hang", str(times), "0.5", environment={})
    for what, key, target in (
        ("limit to failure known", "killed", None),
        ("limit to next image made, child restarted", "again", at_most(100)),
    ):
        late = [seconds * 1000 for seconds in hang[key]]
        yield Row(what, max(late), "ms", target, f"worst of {times}; median {median(late):.0f} ms")


BENCHMARKS = (Benchmark("timeout", "Hard time-outs", overshoot),)
