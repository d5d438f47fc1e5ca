"""A node on this machine: real pods, held to the `restricted` level,
that reach the API server through its Service.

That it leaves the machine clean, and starts again, is proven in tests/planes.py when the last test
has used it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fpj_cluster import Cluster, ClusterError, Kube, KubectlError, binaries
from fpj_cluster.scratchimage import write_image

IMAGE = "localhost/kubectl:test"


@pytest.fixture(scope="module")
def image(node_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with nothing but kubectl."""
    tar = tmp_path_factory.mktemp("image") / "kubectl.tar"
    write_image(tar, IMAGE, {"kubectl": binaries.locate(node=True)["kubectl"]}, ["/kubectl"])
    node_cluster.import_image(tar)
    return IMAGE


def pod(name: str, image: str, *arguments: str, **changes: Any) -> dict[str, Any]:
    """A pod that the `restricted` level lets pass."""
    security = {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "args": list(arguments),
        "securityContext": security | changes,
        "resources": {"limits": {"cpu": "500m", "memory": "128Mi"}},
    }
    spec = {"restartPolicy": "Never", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def test_a_pod_reaches_the_api_server(node_kube: Kube, node_namespace: str, image: str) -> None:
    here = node_kube.within(node_namespace)
    here.apply(pod("asks", image, "auth", "whoami"))
    here.wait("jsonpath={.status.phase}=Succeeded", "pod/asks")
    assert f"system:serviceaccount:{node_namespace}:default" in here("logs", "asks")
    status = here.json("get", "pod", "asks")["status"]
    assert status["hostIP"] == "10.244.0.1"
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0


def test_a_pod_that_asks_for_more_is_refused(
    node_kube: Kube, node_namespace: str, image: str
) -> None:
    with pytest.raises(KubectlError, match="allowPrivilegeEscalation != false"):
        node_kube.within(node_namespace).apply(pod("bold", image, allowPrivilegeEscalation=True))


def test_a_failing_pod_says_how_it_ended(node_kube: Kube, node_namespace: str, image: str) -> None:
    here = node_kube.within(node_namespace)
    here.apply(pod("fails", image, "get", "secrets", "--all-namespaces"))
    here.wait("jsonpath={.status.phase}=Failed", "pod/fails")
    assert "forbidden" in here("logs", "fails").lower()


def test_a_pod_is_ended_when_it_is_deleted(
    node_kube: Kube, node_namespace: str, image: str
) -> None:
    here = node_kube.within(node_namespace)
    here.apply(pod("stays", image, "proxy", "--port=8001"))
    here.wait("condition=Ready", "pod/stays")
    assert "Starting to serve" in here("logs", "stays")
    here("delete", "pod", "stays", "--grace-period=5")
    assert here.items("pods") == []


def test_tars_that_are_no_image_are_refused(node_cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "empty.tar").write_bytes(b"")
    with pytest.raises(ClusterError, match="images import"):
        node_cluster.import_image(tmp_path / "empty.tar")
