"""Files evicted from a folder on local disk, and one image purged."""

from __future__ import annotations

from collections.abc import Iterator

from bench.measure import run_module
from bench.plane import load
from bench.result import Benchmark, Row, Scale, at_least, at_most


def evict(scale: Scale) -> Iterator[Row]:
    """Nine of ten files go; in each batch the files are gone for good before their records are."""
    many = scale.pick(50_000, 500_000)
    found = run_module("evicting", f"{many}", environment={})
    files = found["files"]
    name = f"{files:,} of {many:,} files evicted"
    note = f"in {found['wall']:.1f} s; {load()}"
    yield Row(f"{name}, a second", files / found["wall"], "files/s", at_least(5_000), note)
    yield Row("  CPU of one file", found["cpu"] / files * 1e6, "µs")
    note = f"{found['before'] / 10**6:.0f} MB before"
    yield Row("  most resident", found["peak"] / 10**6, "MB", at_most(300), note)
    yield Row("  an eviction with nothing to do, CPU", found["idle"], "s")
    note = "with the program's start; the receipt is printed and the file gone"
    yield Row("one image purged", found["purge"], "s", at_most(5), note)


BENCHMARKS = (Benchmark("evict", "Files evicted from a folder", evict),)
