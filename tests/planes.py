"""Fixtures with a real Kubernetes cluster: a control plane,
or one with a node where the tests run as root.

All workers of a test run share one of each kind. The one that finishes last ends it; should the
whole run be killed, a guard does.
"""

from __future__ import annotations

import fcntl
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "hack"))

from fpj_cluster import Cluster, Kube  # noqa: E402 - the folder has to be named first
from fpj_cluster.node import Node  # noqa: E402

IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane: everything but pods that run."""
    with _shared(_folder(tmp_path_factory) / "cluster") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def node_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with a node, on which pods run.

    It has its own API server: `cluster` is another one.
    """
    if os.geteuid() != 0:
        pytest.skip("a node needs root: run these tests as root")
    with _shared(_folder(tmp_path_factory) / "node", node=True) as cluster:
        yield cluster


@contextmanager
def private_cluster(factory: pytest.TempPathFactory, name: str) -> Iterator[Cluster]:
    """A control plane that no other test file uses."""
    with _shared(factory.mktemp(name) / "cluster") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kube(cluster: Cluster) -> Kube:
    """Calls of kubectl as the administrator of `cluster`; all namespaces are seen through it."""
    return cluster.kube


@pytest.fixture(scope="session")
def node_kube(node_cluster: Cluster) -> Kube:
    """Calls of kubectl as the administrator of `node_cluster`."""
    return node_cluster.kube


@pytest.fixture(scope="session")
def crds(kube: Kube) -> Kube:
    """`kube`, once it knows this project's resources."""
    return with_crds(kube)


@pytest.fixture
def namespace(kube: Kube) -> Iterator[str]:
    """A namespace of `cluster`, for one test."""
    with fresh_namespace(kube) as name:
        yield name


@pytest.fixture
def node_namespace(node_kube: Kube) -> Iterator[str]:
    """A namespace of `node_cluster` that holds pods to the `restricted` level, for one test."""
    with fresh_namespace(node_kube, {"pod-security.kubernetes.io/enforce": "restricted"}) as name:
        yield name


def with_crds(kube: Kube) -> Kube:
    """Install what crds/ holds and wait until it is served."""
    files = sorted((ROOT / "crds").glob("*.yaml"))
    kube.apply(*files, server_side=True)
    names = [
        f"crd/{name}.{group}" for group, _, name in (file.stem.partition("_") for file in files)
    ]
    kube.wait("condition=Established", *names)
    return kube


@contextmanager
def fresh_namespace(kube: Kube, labels: dict[str, str] | None = None) -> Iterator[str]:
    """Make a namespace, and delete it at the end without waiting for what is in it."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    metadata = {"name": name, "labels": labels or {}}
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    kube.wait("create", "serviceaccount/default", "--namespace", name)  # no pod is accepted before
    yield name
    kube("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def _folder(factory: pytest.TempPathFactory) -> Path:
    """The folder that all workers of this run have in common."""
    return factory.getbasetemp().parent if IS_WORKER else factory.getbasetemp()


@contextmanager
def _shared(root: Path, *, node: bool = False) -> Iterator[Cluster]:
    """A cluster that runs for as long as one worker uses it."""
    cluster = Cluster(root, node=node)
    owner = os.getppid() if IS_WORKER else os.getpid()
    users = root.with_suffix(".users")
    with _counting(users, +1):
        cluster.up(owner=owner)
    try:
        yield cluster
    finally:
        with _counting(users, -1) as left:
            if not left:
                cluster.down()
                if node:
                    _prove_clean(cluster, owner)


def _prove_clean(cluster: Cluster, owner: int) -> None:
    """Of a node that has ended nothing is left, and a whole run starts it once more on the same
    machine.
    """
    assert not Node(cluster.layout).traces()
    if IS_WORKER:
        cluster.up(owner=owner)
        cluster.down()
        assert not Node(cluster.layout).traces()


@contextmanager
def _counting(users: Path, change: int) -> Iterator[int]:
    """Count a user more or less in a file; others wait meanwhile."""
    with users.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        count = int(file.read() or 0) + change
        yield count
        file.truncate(0)
        file.write(str(count))
