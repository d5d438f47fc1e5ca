"""Every benchmark, in the order in which they are run."""

from __future__ import annotations

from bench.result import Benchmark
from bench.suites import (
    against_peers,
    bucket,
    formats,
    looks,
    memory,
    operator_dead,
    operator_delete,
    operator_end,
    operator_kwok,
    operator_leader,
    operator_pods,
    operator_rate,
    operator_rejected,
    operator_road,
    operator_size,
    operator_writes,
    planning,
    quality,
    store_cpu,
    stores,
    timeouts,
    whole_runs,
)

BENCHMARKS: tuple[Benchmark, ...] = (
    *against_peers.BENCHMARKS,
    *quality.BENCHMARKS,
    *whole_runs.BENCHMARKS,
    *memory.BENCHMARKS,
    *timeouts.BENCHMARKS,
    *stores.BENCHMARKS,
    *store_cpu.BENCHMARKS,
    *looks.BENCHMARKS,
    *bucket.BENCHMARKS,
    *formats.BENCHMARKS,
    *operator_rate.BENCHMARKS,
    *operator_rejected.BENCHMARKS,
    *operator_writes.BENCHMARKS,
    *operator_size.BENCHMARKS,
    *operator_delete.BENCHMARKS,
    *operator_leader.BENCHMARKS,
    *operator_end.BENCHMARKS,
    *operator_kwok.BENCHMARKS,
    *planning.BENCHMARKS,
    *operator_pods.BENCHMARKS,
    *operator_dead.BENCHMARKS,
    *operator_road.BENCHMARKS,
)
