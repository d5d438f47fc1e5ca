"""Several jobs and several operators at once: one job on a collection, so many in a namespace,
one active operator.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from podrunner.api import MERGE
from world import World, slowly, world_in

from fpj_cluster import Cluster
from fpj_operator.jobs.leases import HOLDER_NAME

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def world(cluster: Cluster, mongodb_server: str, tmp_path: Path) -> Iterator[World]:
    with world_in(cluster, mongodb_server, tmp_path / "world") as world:
        world.cache_folder()
        yield world


def test_two_jobs_race_for_one_collection(world: World) -> None:
    world.photos("photos", 8)
    with slowly(world, 0.2):
        world.job("left", "photos", collection="album")
        world.job("right", "photos", collection="album")
        world.operator()
        world.until(
            lambda: {world.phase("left"), world.phase("right")} == {"Running", "Pending"},
            "one runs",
            90,
        )
    first, second = ("left", "right") if world.phase("left") == "Running" else ("right", "left")
    message = world.wait_reason(second, "CollectionLocked")
    assert first in message
    assert world.condition(second, "CollectionLocked")[::2] == ("False", message)
    assert world.condition(first, "CollectionLocked")[0] == "True"
    assert world.lease("album")["metadata"]["annotations"]["fpj.dev/holder"] == first
    world.wait_end(first)
    world.check_exact(first, "photos", completed=8)
    world.wait_end(second)
    world.check_exact(second, "photos", completed=0, skipped=8)
    assert not world.pods_of(second, "w"), "where nothing is to be done there are no shards"


def test_jobs_beyond_the_most_queue_by_priority_then_age(world: World) -> None:
    world.photos("photos", 2)
    world.operator(max_concurrent_jobs=1)
    world.runner.hold("a-first")
    world.job("a-first", "photos")
    world.wait_phase("a-first", "Indexing")
    for name, priority, ahead in (
        ("d-old", 0, 0),
        ("b-urgent", 5, 0),
        ("c-new", 0, 2),
        ("e-idle", -1, 3),
    ):
        world.job(name, "photos", priority=priority)
        assert f"; jobs ahead: {ahead}" in world.wait_reason(name, "Queued")
        time.sleep(1.1)  # ages have seconds
    world.runner.accept()
    order = ["a-first", "b-urgent", "d-old", "c-new", "e-idle"]
    ends = [world.wait_end(name) for name in order]
    for earlier, later in pairwise(ends):
        assert earlier["completionTime"] <= later["attempt"]["startedAt"], (
            "one at a time, in this order"
        )


def test_of_two_operators_one_leads(world: World) -> None:
    world.photos("photos", 30)
    leader, other = world.operator(lease_seconds=60), world.operator(start=False, lease_seconds=60)
    other.start(wait=False)
    with slowly(world, 0.4):
        world.job("handed-on", "photos", sharding={"shardSize": 15, "batchSize": 2})
        world.wait_pod("handed-on")
        assert leader.metric("fpj_operator_leader") == 1
        world.until(lambda: other.waits, "the other waits")

        leader.signal(signal.SIGSTOP)  # it is not dead: it will find out that it leads no more
        world.until(lambda: other.leads, "the other takes over", 30)
        leader.signal(signal.SIGCONT)
        world.until(lambda: not leader.running, "who has lost the lead ends", 30)
        assert leader.code == 1 and "leadership lost" in leader.log
        transitions = world.runner.api.call("GET", world.lease_path("fpj-operator"))["spec"][
            "leaseTransitions"
        ]
        assert transitions == 1

        leader.start(wait=False)
        world.until(lambda: leader.waits, "the first waits now")
        began = time.monotonic()
        other.kill()
        world.until(lambda: leader.leads, "the first takes over again", 30)
        assert time.monotonic() - began <= 30
        world.wait_end("handed-on", seconds=120)
    world.check_exact("handed-on", "photos", completed=30)
    assert world.status("handed-on")["attempt"]["number"] == 1, "nobody started again"


def test_one_that_is_told_to_stop_hands_the_lead_on(world: World) -> None:
    leader, other = (
        world.operator(leader_seconds=60),
        world.operator(start=False, leader_seconds=60),
    )
    other.start(wait=False)
    world.until(lambda: other.waits, "the other waits")
    assert leader.stop() == 0
    world.until(lambda: other.leads, "the other need not wait until the lease is over", 30)
    assert other.stop() == 0


def test_a_stolen_lease_fences_the_workers(world: World) -> None:
    """Somebody takes the collection's lease: whoever works on it stops,
    and goes on when the thief's time is over.
    """
    world.photos("photos", 40)
    world.operator()
    with slowly(world, 0.3):
        world.job(
            "robbed", "photos", collection="album", sharding={"shardSize": 20, "batchSize": 2}
        )
        uid = world.uid("robbed")
        world.until(lambda: world.store.job_counts(uid, 1)[0].done >= 4, "work is recorded", 90)
        pods = world.pods_of("robbed", "w", running=True)
        for pod in pods:
            pod.cut_off()  # so that only the fence can stop them
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
        stolen = {
            # Else the operator would take the thief for a deleted job of that name, and give the
            # Lease back.
            "metadata": {"annotations": {HOLDER_NAME: None}},
            "spec": {"holderIdentity": "thief", "renewTime": now, "leaseDurationSeconds": 25},
        }
        name = world.lease("album")["metadata"]["name"]
        world.runner.api.patch(world.lease_path(name), stolen, MERGE)
        world.wait_phase("robbed", "Recovering")
        assert world.holder("album") == "thief"
        world.until(
            lambda: not any(pod.running for pod in pods), "the fenced workers end by themselves"
        )
        assert {pod.process.code for pod in pods if pod.process} == {41}
        done = world.store.job_counts(uid, 1)[0].done
        assert (
            world.phase("robbed") == "Recovering"
            and world.store.job_counts(uid, 1)[0].done == done < 40
        )
    world.wait_end("robbed", seconds=120)
    world.check_exact("robbed", "photos", completed=40)
    assert world.events("robbed", "LeaseLost")
