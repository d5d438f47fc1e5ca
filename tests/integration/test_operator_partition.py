"""A leader that is cut off from the API server: it ends in time,
and nothing that it decided counts afterwards.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from refusing import RefusingProxy
from world import World, world_in

from fpj_cluster import Cluster

pytestmark = pytest.mark.timeout(300)

LASTS = 15


@pytest.fixture
def world(cluster: Cluster, mongodb_server: str, tmp_path: Path) -> Iterator[World]:
    with world_in(cluster, mongodb_server, tmp_path / "world") as world:
        world.cache_folder()
        yield world


class Network:
    """Holds back everything from the first write of a job's status on that comes while it is
    `armed`.
    """

    def __init__(self) -> None:
        self.armed, self.cut, self.healed = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, method: str, path: str) -> None:
        if (
            self.armed.is_set()
            and method == "PATCH"
            and path.partition("?")[0].endswith("/fileprocessingjobs/cut/status")
        ):
            self.cut.set()
        if self.cut.is_set():
            self.healed.wait(120)


def test_a_leader_that_is_cut_off_ends_in_time_and_writes_nothing_after_the_takeover(
    world: World, cluster: Cluster, tmp_path: Path
) -> None:
    """Its last write, decided before, arrives when the other has long led: it is refused,
    and the job goes well.
    """
    network = Network()
    world.photos("photos", 8)
    with RefusingProxy(cluster.kubeconfig, network) as proxy:
        leader = world.operator(start=False, leader_seconds=LASTS)
        leader.add({"KUBECONFIG": str(proxy.kubeconfig(tmp_path / "cut.yaml"))})
        leader.start()
        other = world.operator(start=False, leader_seconds=LASTS)
        other.start(wait=False)
        world.until(lambda: other.waits, "the other waits")

        network.armed.set()
        world.job("cut", "photos", sharding={"shardSize": 4, "batchSize": 2})
        world.until(network.cut.is_set, "a status is on its way and everything stands still")
        world.until(lambda: not leader.running, "the leader ends", 60)
        assert leader.code == 1 and "leadership lost" in leader.log
        world.until(lambda: other.leads, "the other takes over", 60)
        lease = world.runner.api.call("GET", world.lease_path("fpj-operator"))["spec"]
        taken = datetime.fromisoformat(lease["acquireTime"]).timestamp()
        lost = next(
            each for each in leader.entries("error") if each["message"] == "leadership lost"
        )
        assert datetime.fromisoformat(str(lost["time"])).timestamp() < taken, "one after the other"

        world.wait_phase("cut", "Running", "Completed", seconds=120)
        network.healed.set()
        world.until(
            lambda: any("/status" in path for _, _, path, _ in proxy.written),
            "what was held back arrives",
        )
        world.wait_end("cut", seconds=120)
        late = [(method, path, status) for at, method, path, status in proxy.written if at > taken]
        assert late and all(status in (404, 409) for _, _, status in late), late
    world.check_exact("cut", "photos", completed=8)
    status = world.status("cut")
    assert (status["attempt"]["number"], status["recoveryAttempts"]) == (2, 0), (
        "the first was noted, and nobody was informed"
    )
    assert other.stop() == 0
