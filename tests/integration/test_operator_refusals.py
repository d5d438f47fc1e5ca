"""The API server refuses: conflicts, and too many requests.

Nothing is lost, and nobody hammers it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from refusing import Refusal, RefusingProxy
from waiting import wait_for
from world import World, world_in

from fpj_cluster import Cluster

pytestmark = pytest.mark.timeout(300)

ROLE = "fpj.dev/role"
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@pytest.fixture
def world(cluster: Cluster, mongodb_server: str, tmp_path: Path) -> Iterator[World]:
    with world_in(cluster, mongodb_server, tmp_path / "world") as world:
        world.cache_folder()
        yield world


def now_and_then() -> Refusal:
    """A sixth of the writes meets a conflict, a fifth of all requests comes too often; who leads is
    not in question.
    """
    chance = random.Random(7)

    def refusal(method: str, path: str) -> int | None:
        if (
            method in WRITES
            and not path.endswith("leases/fpj-operator")
            and chance.random() < 1 / 6
        ):
            return 409
        return 429 if "watch=true" not in path and chance.random() < 1 / 5 else None

    return refusal


def test_conflicts_and_too_many_requests(world: World, cluster: Cluster, tmp_path: Path) -> None:
    names = ["one", "two", "three"]
    with RefusingProxy(cluster.kubeconfig, now_and_then()) as proxy:
        operator = world.operator(start=False, leader_seconds=20)
        operator.add({"KUBECONFIG": str(proxy.kubeconfig(tmp_path / "refusing.yaml"))})
        operator.start()
        for name in names:
            world.photos(name, 8, broken=2)
            world.job(name, name, sharding={"shardSize": 4, "batchSize": 2})
        for name in names:
            world.wait_end(name, "CompletedWithErrors", seconds=150)
            world.check_exact(name, name, completed=6, failed=2)
            world.until(partial(world.is_released, name), "the lease is released")
        world.kube("delete", "fpj", "one", "--timeout=120s", seconds=130)
        assert proxy.refused[409] > 10
        assert proxy.refused[429] > 10
        assert operator.running
        assert operator.stop() == 0


def test_a_server_that_is_always_busy_is_not_hammered(
    world: World, cluster: Cluster, tmp_path: Path
) -> None:
    """All writes are refused for a while.

    The job waits, says so in the log, and goes on by itself.
    """
    busy = False

    def refusal(method: str, path: str) -> int | None:
        return (
            429 if busy and method in WRITES and not path.endswith("leases/fpj-operator") else None
        )

    world.photos("photos", 3)
    with RefusingProxy(cluster.kubeconfig, refusal) as proxy:
        operator = world.operator(start=False)
        operator.add({"KUBECONFIG": str(proxy.kubeconfig(tmp_path / "refusing.yaml"))})
        operator.start()
        busy = True
        world.job("patient", "photos")
        world.until(lambda: proxy.refused[429] >= 6, "it tries")
        world.until(lambda: "refused on purpose" in operator.log, "the log says why", seconds=60)
        seen = proxy.refused[429]
        assert world.phase("patient") == ""
        busy = False
        world.wait_end("patient", seconds=120)
        world.check_exact("patient", "photos", completed=3)
        assert seen < 60
        assert operator.stop() == 0


@pytest.mark.parametrize("role", ["index", "shards"])
def test_late_news_of_child_jobs_fails_nothing(
    world: World, cluster: Cluster, tmp_path: Path, role: str
) -> None:
    """They end while the operator asks for them: what it knows from the store must not be older
    than that.
    """
    held = threading.Event()

    def children() -> list[dict[str, Any]]:
        return [
            each
            for each in world.items("jobs", "apis/batch/v1")
            if each["metadata"]["labels"][ROLE] == role
        ]

    def has_ended() -> bool:
        return any(each.get("status", {}).get("completionTime") for each in children())

    def late(method: str, path: str) -> None:
        """Only what is asked of this job, and not before there is a Job: all else waits meanwhile,
        its creation included.
        """
        if (
            method == "GET"
            and f"/jobs?labelSelector=fpj.dev/job-uid={uid}" in unquote(path)
            and not held.is_set()
            and children()
        ):
            time.sleep(0.5)  # whatever else it asks at the same time is answered long before
            wait_for(has_ended, f"the Job of the {role} ends", 30)
            held.set()

    world.photos("photos", 4, broken=1)
    world.job("slow", "photos", sharding={"shardSize": 2})
    uid = world.uid("slow")
    with RefusingProxy(cluster.kubeconfig, late) as proxy:
        operator = world.operator(start=False, leader_seconds=60)
        operator.add({"KUBECONFIG": str(proxy.kubeconfig(tmp_path / "late.yaml"))})
        operator.start()
        world.wait_end("slow", "CompletedWithErrors", seconds=150)
        world.check_exact("slow", "photos", completed=3, failed=1)
        assert held.is_set()
        assert world.status("slow")["recoveryAttempts"] == 0
        assert operator.stop() == 0
