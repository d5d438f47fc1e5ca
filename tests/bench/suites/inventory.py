"""A cache folder compared with its store, in memory that does not grow with the files."""

from __future__ import annotations

from collections.abc import Iterator

from bench.measure import run_module
from bench.plane import load
from bench.result import Benchmark, Row, Scale, at_most

_MB = 10**6
_MOST_MB = 150


def compare(scale: Scale) -> Iterator[Row]:
    """A tenth as many first: the difference is what memory grows by."""
    many = scale.pick(100_000, 1_000_000)
    few = run_module("inventory", f"{many // 10}", environment={})
    large = run_module("inventory", f"{many}", environment={})
    note = f"{large['found']:,} differences, all found; {load()}"
    yield Row(f"{many:,} files compared, wall", large["wall"], "s", note=note)
    yield Row("  files in a second", many / large["wall"], "/s")
    yield Row("  CPU of one file", large["cpu"] / many * 1e6, "µs")
    yield Row("  compared and repaired, wall", large["repair"], "s")
    note = f"{few['peak'] / _MB:.0f} MB of {many // 10:,}; {large['before'] / _MB:.0f} MB before"
    yield Row("  most resident", large["peak"] / _MB, "MB", at_most(_MOST_MB), note)


BENCHMARKS = (Benchmark("verify", "A cache folder compared with its store", compare),)
