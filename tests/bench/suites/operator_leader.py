"""A leader that is cut off from the API server: how long it goes on, and when another follows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import datetime

from refusing import RefusingProxy

from bench.plane import Plane, control_plane, load, until
from bench.result import Benchmark, Row, Scale, at_most

_LEASE = "fpj-operator"


def leader(scale: Scale) -> Iterator[Row]:
    """Two operators with the default settings; the leader's connections stay open,
    and nothing passes any more.
    """
    active, followed, late = 0.0, 0.0, 0
    rounds = scale.pick(1, 5)
    for _ in range(rounds):
        with control_plane() as plane:
            times = _cut(plane)
        active, followed, late = max(active, times[0]), max(followed, times[1]), late + times[2]
    note = f"of {rounds}; {load()}"
    yield Row(
        "a cut-off leader is active after its last renewal, most", active, "s", at_most(15), note
    )
    yield Row("  another leads after that renewal, most", followed, "s", at_most(25))
    yield Row("  writes of the former leader accepted afterwards", late, "", at_most(0))


def _cut(plane: Plane) -> tuple[float, float, int]:
    """(seconds until the leader ended, until another led,
    its writes that were accepted after that).
    """
    cut, healed = threading.Event(), threading.Event()

    def network(_method: str, _path: str) -> None:
        if cut.is_set():
            healed.wait(120)

    with (
        RefusingProxy(plane.cluster.kubeconfig, network) as proxy,
        plane.operator(start=False) as first,
        plane.operator(start=False) as second,
    ):
        first.add({"KUBECONFIG": str(proxy.kubeconfig(plane.folder / "cut.yaml"))})
        first.start()
        second.start(wait=False)
        until(lambda: second.waits, "the second operator", 60)
        plane.cache_folder()
        plane.create("before")
        time.sleep(10)
        cut.set()
        plane.create("meanwhile")
        until(lambda: not first.running, "the end of the first", 120)
        ended = time.time()
        renewed = _moment(plane, "renewTime")
        until(lambda: second.leads, "the second leads", 120)
        taken = _moment(plane, "acquireTime")
        time.sleep(5)
        healed.set()
        time.sleep(10)
        late = sum(at > taken and status < 300 for at, _, _, status in proxy.written)
    return ended - renewed, taken - renewed, late


def _moment(plane: Plane, field: str) -> float:
    """A time of the leader's Lease; all processes have this machine's clock."""
    lease = plane.api.call("GET", plane.path("leases", _LEASE, group="apis/coordination.k8s.io/v1"))
    return datetime.fromisoformat(lease["spec"][field]).timestamp()


BENCHMARKS = (Benchmark("op-leader", "A leader that is cut off", leader),)
