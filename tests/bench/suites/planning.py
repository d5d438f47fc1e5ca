"""Millions of images planned into shards: in steps, in memory that does not grow,
in time that grows as they do.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

from bench.cache import cache_folder
from bench.measure import run_module
from bench.mongodb import own_server
from bench.plane import load
from bench.result import Benchmark, Row, Scale, at_most

_MANY = 50_000_000
_SECONDS, _MB = 600, 300


def plan(scale: Scale) -> Iterator[Row]:
    """The same plan over few and over ten times as many images.

    What 50 million take follows from both.

    Compared is CPU, the server's included: on a busy machine the clock says more of the others.
    """
    sizes = {"SQLite": scale.pick(50_000, 500_000), "MongoDB": scale.pick(2_000, 50_000)}
    for name, few in sizes.items():
        many = 10 * few
        small, large = _planned(name, few), _planned(name, many)
        note = f"{large['index_cpu']:.0f} s of CPU; {many / large['index']:,.0f} a second"
        yield Row(f"{many:,} images indexed, {name}", large["index"], "s", note=note)
        note = f"{large['shards']:,} shards in {large['steps']:,} steps; {load()}"
        yield Row(f"{many:,} images planned, {name}", large["plan"], "s", note=note)
        yield Row(
            "  CPU", large["cpu"], "s", note=f"{many / large['cpu']:,.0f} images a second of CPU"
        )
        slope = (large["cpu"] / many) / (small["cpu"] / few)
        note = f"{small['cpu'] / few * 1e6:.2f} and {large['cpu'] / many * 1e6:.2f} µs an image"
        yield Row(f"  CPU of one image, {many:,} beside {few:,}", slope, "", at_most(1.25), note)
        yield Row(
            f"  {_MANY:,} at this slope, CPU", _MANY * large["cpu"] / many, "s", at_most(_SECONDS)
        )
        yield Row(
            "  most resident",
            large["peak"] / 10**6,
            "MB",
            note=f"{small['peak'] / 10**6:.0f} MB at {few:,}",
        )
        grown = max(large["peak"] - small["peak"], 0.0) / (many - few)
        memory = (large["peak"] + grown * (_MANY - many)) / 10**6
        yield Row(
            f"  {_MANY:,} at this slope, memory",
            memory,
            "MB",
            at_most(_MB),
            f"{grown:.2f} bytes an image",
        )


def _planned(name: str, count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="plan-", dir=cache_folder()) as folder:
        if name == "SQLite":
            return run_module("plan", str(count), folder, environment={})
        with own_server(sync=False) as (url, pid):
            return run_module("plan", str(count), folder, url, str(pid), environment={})


BENCHMARKS = (Benchmark("plan-scale", "Millions of images planned into shards", plan),)
