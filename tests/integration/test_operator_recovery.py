"""Whatever interrupts a job, it comes to one outcome, with exact counts."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from operator_process import OperatorProcess
from podrunner import Pod
from world import World, slowly, world_in

from fpj_cluster import Cluster

pytestmark = pytest.mark.timeout(300)
INJECTED = Path(__file__).parent / "injected"


@pytest.fixture
def world(cluster: Cluster, mongodb_server: str, tmp_path: Path) -> Iterator[World]:
    with world_in(cluster, mongodb_server, tmp_path / "world") as world:
        world.cache_folder()
        yield world


def test_an_operator_that_dies_after_every_step(world: World) -> None:
    """Killed right after its first write, then after its second,
    and so on until it comes to the end of the job.
    """
    world.photos("photos", 6)
    world.job("undaunted", "photos")

    def is_over(operator: OperatorProcess) -> bool:
        return not operator.running or world.phase("undaunted") == "Completed"

    writes = 0
    while world.phase("undaunted") != "Completed":
        writes += 1
        assert writes < 40, "it does not come to an end"
        operator = world.operator(start=False, leader_seconds=2, test_kill_after=writes)
        operator.add({"PYTHONPATH": str(INJECTED / "kill_operator")})
        operator.start(wait=False)
        world.until(partial(is_over, operator), "it dies or is done")
        operator.kill()
    assert writes > 3
    world.check_exact("undaunted", "photos", completed=6)
    world.operator(leader_seconds=2)
    world.until(lambda: world.holder("undaunted") == "", "the lease is released in the end")
    assert world.status("undaunted")["recoveryAttempts"] == 0
    assert world.record(world.uid("undaunted")).phase == "Completed"


def test_an_operator_that_dies_at_any_moment(world: World) -> None:
    chance = random.Random(4)
    names = ["one", "two", "three"]
    with slowly(world, 0.2):
        for name in names:
            world.photos(name, 12)
            world.job(name, name, sharding={"shardSize": 6, "batchSize": 2})
        operator = world.operator(start=False, leader_seconds=2)
        for _ in range(6):
            operator.start(wait=False)
            time.sleep(chance.uniform(2, 6))
            operator.kill()
        operator.start()
        for name in names:
            world.wait_end(name, seconds=120)
            world.check_exact(name, name, completed=12)
            world.until(partial(world.is_released, name), "the lease is released")
            assert len(world.events(name, "Completed")) <= 1, (
                "one outcome; whoever dies before telling it tells nothing"
            )


def test_a_silent_job_is_recovered_or_given_up(world: World) -> None:
    world.operator(stale_after=12)
    world.photos("photos", 24)
    hung: list[Pod] = []

    def hang(pod: Pod) -> None:
        """Hang every shard pod of `hopeless`, and those of the first attempt of `silent`."""
        if "-w0-" in pod.name and ("hopeless" in pod.name or "-a1-" in pod.name):
            pod.cut_off()
            pod.hang()
            hung.append(pod)

    world.runner.on_start = hang
    world.job("silent", "photos", collection="silent")
    world.job("hopeless", "photos", collection="hopeless", recovery={"maxAttempts": 1})
    world.until(lambda: world.status("silent").get("recoveryAttempts") == 1, "the reaper comes", 90)
    assert world.events("silent", "Recovering")
    world.wait_end("silent", seconds=120)
    world.check_exact("silent", "photos", completed=24)
    assert world.status("silent")["attempt"]["number"] == 2

    status = world.wait_end("hopeless", "Failed", seconds=120)
    assert world.reason("hopeless") == "StaleJob"
    assert (status["recoveryAttempts"], status["attempt"]["number"]) == (1, 2)
    world.until(lambda: world.holder("hopeless") == "", "its lease is released")

    for pod in hung:  # the zombies wake up, and find that they are fenced out
        pod.go_on()
    world.until(lambda: not any(pod.running for pod in hung), "they end by themselves")
    assert {pod.process.code for pod in hung if pod.process} <= {41, 0}
    world.check_exact("silent", "photos", completed=24)
    assert all(
        world.store.job_counts(world.uid("hopeless"), number)[0].done == 0 for number in (1, 2)
    )


def test_suspending_in_each_phase(world: World) -> None:
    world.operator()
    for name in ("pending", "indexing", "running"):
        world.photos(name, 20)
    world.job("pending", "pending", suspend=True)
    world.runner.hold("indexing-")
    with slowly(world, 0.5):
        world.job("indexing", "indexing")
        world.job("running", "running", sharding={"batchSize": 2})
        world.wait_phase("indexing", "Indexing")
        uid = world.uid("running")
        world.until(lambda: world.store.job_counts(uid, 1)[0].done >= 2, "work is recorded", 90)
        world.patch("indexing", suspend=True)
        world.patch("running", suspend=True)
        for name in ("pending", "indexing", "running"):
            world.wait_phase(name, "Suspended")
            assert world.condition(name, "Suspended")[0] == "True"
            assert world.status(name).get("display", {}).get("eta", "-") == "-"
            world.until(partial(world.have_pods_ended, world.uid(name)), f"the pods of {name} end")
            world.until(partial(world.is_released, name), f"the lease of {name} is released")
        done = world.store.job_counts(uid, 1)[0].done
        assert 2 <= done < 20
    assert not world.jobs_of(world.uid("pending"))
    world.runner.accept()
    time.sleep(2)
    assert {world.phase(name) for name in ("pending", "indexing", "running")} == {"Suspended"}
    assert world.store.job_counts(uid, 1)[0].done == done, "nothing moves"
    for name in ("pending", "indexing", "running"):
        world.patch(name, suspend=False)
    for name in ("pending", "indexing", "running"):
        world.wait_end(name, seconds=120)
        world.check_exact(name, name, completed=20)


def test_a_pod_that_nobody_hears_of_is_replaced_by_the_others(world: World) -> None:
    """A node is lost, and with it a pod that has images in hand:
    its shard goes to a pod of another node.
    """
    world.operator()
    world.photos("photos", 40)
    with slowly(world, 0.2):
        world.job("stranded", "photos", sharding={"shardSize": 20, "batchSize": 2})
        uid = world.uid("stranded")
        world.until(
            lambda: len(world.pods_of("stranded", "w", running=True)) == 2, "two pods run", 90
        )
        lost = world.pods_of("stranded", "w", running=True)[0]
        world.until(
            lambda: world.store.shards(uid, 1)[lost.index].counts.done >= 2, "it has recorded some"
        )
        lost.cut_off()
        lost.hang()
        epoch = world.store.shards(uid, 1)[lost.index].epoch
    status = world.wait_end("stranded", seconds=120)
    assert status["attempt"]["number"] == 1 and status["recoveryAttempts"] == 0
    assert world.store.shards(uid, 1)[lost.index].epoch > epoch
    lost.go_on()
    world.until(lambda: not lost.running, "the stranded one ends by itself")
    assert lost.process and lost.process.code == 0, (
        "it finds its shard finished, and the attempt goes on without it"
    )
    world.check_exact("stranded", "photos", completed=40)


def test_the_api_server_restarts_under_load(tmp_path: Path, mongodb_server: str) -> None:
    cluster = Cluster(tmp_path / "own")
    cluster.up()
    try:
        with world_in(cluster, mongodb_server, tmp_path / "world") as world:
            world.cache_folder()
            # Restarts take some 10 s.
            operator = world.operator(leader_seconds=45, lease_seconds=60)
            names = ["one", "two", "three"]
            with slowly(world, 0.4):
                for name in names:
                    world.photos(name, 15)
                restarts: tuple[Callable[[], None], ...] = (
                    cluster.restart_apiserver,
                    partial(_crash, cluster),
                )
                for name, restart in zip(names, restarts, strict=False):
                    world.job(name, name, sharding={"shardSize": 8, "batchSize": 2})
                    world.wait_pod(name, seconds=90)
                    restart()
                world.job("three", "three", sharding={"shardSize": 8, "batchSize": 2})
                for name in names:
                    world.wait_end(name, seconds=150)
                    world.check_exact(name, name, completed=15)
                    world.until(partial(world.is_released, name), "the lease is released")
            assert operator.running, "it need not be started again"
            assert {world.status(name)["attempt"]["number"] for name in names} == {1}
    finally:
        cluster.down()


def _crash(cluster: Cluster) -> None:
    cluster.stop_apiserver(kill=True)
    time.sleep(2)
    cluster.start_apiserver()
