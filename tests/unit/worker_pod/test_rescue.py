"""Shards that were handed back."""

from __future__ import annotations

import signal

from unit.worker_pod.conftest import Cluster, slow

from fpj_core.model import ShardState


def test_a_pod_whose_shard_is_done_takes_one_that_was_handed_back(cluster: Cluster) -> None:
    """At once, and though its own index has nothing left to do."""
    cluster.prepare(20)
    cluster.run("shard", 0)
    other = cluster.start("shard", 1, **slow(0.5))
    cluster.wait_until(lambda c: c.shards[1].cursor > 10, "the other pod's first results")
    other.signal(signal.SIGTERM)
    assert other.wait() == 143
    assert cluster.states == [ShardState.SUCCEEDED, ShardState.PENDING]
    replacement = cluster.run("shard", 0)
    assert cluster.states == [ShardState.SUCCEEDED] * 2
    assert cluster.shards[1].holder == replacement.name
    assert cluster.counts.completed == 20
