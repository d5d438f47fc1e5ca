"""Nodes without a machine: kwok says of their pods that they start,
and some seconds later that they succeeded.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mongodb_server import free_port

from bench.plane import Plane
from bench.result import SkippedError

_ROOT = Path(__file__).resolve().parents[2]
_STAGES = Path(__file__).with_name("fakenodes.yaml")
_MARK = {"kwok.x-k8s.io/node": "fake"}
_CAPACITY = {"cpu": "4000", "memory": "16Ti", "pods": "1000", "ephemeral-storage": "1Ti"}


@contextmanager
def fake_nodes(plane: Plane, count: int) -> Iterator[subprocess.Popen[bytes]]:
    """So many nodes, each with room for a thousand pods; the process that plays their kubelets.

    Raises `SkippedError` where kwok cannot be built.
    """
    built = subprocess.run(
        [_ROOT / "hack" / "kwok.sh"], check=False, capture_output=True, text=True
    )
    if built.returncode:
        raise SkippedError(f"there is no kwok: {built.stderr[-300:]}")
    for number in range(count):
        _node(plane, f"fake-{number}")
    command = [
        built.stdout.strip(),
        f"--kubeconfig={plane.cluster.kubeconfig}",
        f"--config={_STAGES}",
        "--manage-all-nodes=false",
        f"--manage-nodes-with-annotation-selector={next('='.join(each) for each in _MARK.items())}",
        f"--server-address=127.0.0.1:{free_port()}",
        "--node-lease-duration-seconds=40",
    ]
    with (plane.folder / "kwok.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def _node(plane: Plane, name: str) -> None:
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    metadata = {"name": name, "labels": labels, "annotations": _MARK}
    plane.api.call(
        "POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
    )
    status = {"capacity": _CAPACITY, "allocatable": _CAPACITY}
    plane.api.patch(f"/api/v1/nodes/{name}/status", {"status": status})
