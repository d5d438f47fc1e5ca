"""Every benchmark, in the order in which they are run."""

from __future__ import annotations

from bench.result import Benchmark
from bench.suites import against_peers, formats, memory, quality, stores, timeouts, whole_runs

BENCHMARKS: tuple[Benchmark, ...] = (
    *against_peers.BENCHMARKS,
    *quality.BENCHMARKS,
    *whole_runs.BENCHMARKS,
    *memory.BENCHMARKS,
    *timeouts.BENCHMARKS,
    *stores.BENCHMARKS,
    *formats.BENCHMARKS,
)
