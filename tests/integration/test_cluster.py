"""The cluster that the tests run on: a real one,
which takes this project's resources and ends when it should.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from planes import ROOT

from fpj_cluster import Cluster, ClusterError, Kube, KubectlError
from fpj_cluster.processes import Process
from fpj_cluster.state import State

COMMAND = [sys.executable, str(ROOT / "hack" / "cluster.py")]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.yaml"))
MODULE = ROOT / "hack" / "cluster" / "kubernetes" / "go.mod"
GALLERIES = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "galleries"}}
STARTS = pytest.mark.timeout(400)
"""For tests that start clusters of their own."""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of the test's own, not started."""
    cluster = Cluster(tmp_path / "own")
    yield cluster
    cluster.down()


def test_the_control_plane_is_ready(kube: Kube) -> None:
    assert kube("get", "--raw", "/readyz") == "ok"
    version = kube.json("version")["serverVersion"]
    assert (version["major"], version["minor"]) == tuple(
        version["gitVersion"].removeprefix("v").split(".")[:2]
    )
    if "KUBEBUILDER_ASSETS" not in os.environ:
        assert f"k8s.io/kubernetes {version['gitVersion']}\n" in MODULE.read_text().replace(
            " // indirect", ""
        )


def test_the_controllers_run(kube: Kube, namespace: str) -> None:
    here = kube.within(namespace)
    here("create", "job", "sleeper", "--image=example.com/none", "--", "sleep", "1")
    wait_for(lambda: here.items("pods", "--selector=job-name=sleeper"), "the Job's pod is created")
    here("delete", "job", "sleeper", "--cascade=background")
    wait_for(lambda: not here.items("pods"), "the Job's pod is collected")


def test_service_accounts_may_do_what_they_are_given_only(kube: Kube, namespace: str) -> None:
    here = kube.within(namespace)
    asking = ("auth", "can-i", "list", "pods", f"--as=system:serviceaccount:{namespace}:default")
    with pytest.raises(KubectlError, match="no"):
        here(*asking)
    here("create", "role", "reader", "--verb=list", "--resource=pods")
    here(
        "create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace}:default"
    )
    wait_for(lambda: _is_allowed(here, *asking), "the role is bound")


def test_the_resources_are_accepted(crds: Kube) -> None:
    names = {crd["metadata"]["name"] for crd in crds.items("crds")}
    assert {"fileprocessingjobs.fpj.dev", "cachefolders.fpj.dev"} <= names
    for crd in crds.items("crds"):
        conditions = {
            condition["type"]: condition["status"] for condition in crd["status"]["conditions"]
        }
        assert conditions["Established"] == "True"
        assert conditions.get("NonStructuralSchema", "False") == "False"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_accepted(crds: Kube, example: Path) -> None:
    crds.apply(GALLERIES, server_side=True)  # other workers make it at the same time
    assert "server dry run" in crds.apply(example, dry_run=True)


def test_what_is_no_job_is_refused(crds: Kube, namespace: str) -> None:
    job = {
        "apiVersion": "fpj.dev/v1alpha1",
        "kind": "FileProcessingJob",
        "metadata": {"name": "wrong"},
        "spec": {"jobType": "Sideways", "collection": {"source": {"local": {"path": "/photos"}}}},
    }
    with pytest.raises(KubectlError, match=r"spec\.jobType"):
        crds.within(namespace).apply(job)


@STARTS
def test_it_ends_and_starts_again(own: Cluster, cluster: Cluster) -> None:
    own.up()
    first = processes_of(own)
    assert own.server != cluster.server, "two may run at once"
    own.kube("create", "namespace", "before")
    again = Cluster(own.layout.root)
    again.up()
    assert processes_of(own) == first, "one that runs is left as it is"

    subprocess.run([*COMMAND, "down", f"--dir={own.layout.root}"], check=True, capture_output=True)
    assert not any(process.is_alive for process in first)
    assert sorted(path.name for path in own.layout.root.iterdir()) == [".lock", "logs"]

    own.up()
    assert "before" not in own.kube("get", "namespaces")


@STARTS
def test_it_starts_after_a_crash(own: Cluster) -> None:
    own.up()
    state = State.read(own.layout.state)
    for name in ("etcd", "kube-apiserver"):
        state.processes[name].signal(signal.SIGKILL)
    wait_for(lambda: not state.processes["etcd"].is_alive, "etcd has been killed")
    assert own.status()["etcd"] is False

    own.up()
    assert all(own.status().values())
    assert not any(process.is_alive for process in state.processes.values()), (
        "the first ones' rest was ended"
    )
    assert own.kube("get", "--raw", "/readyz") == "ok"


@STARTS
def test_the_api_server_restarts_at_its_address(own: Cluster) -> None:
    own.up()
    own.kube("create", "namespace", "kept")
    server = own.server
    own.restart_apiserver()
    assert own.server == server
    assert "kept" in own.kube("get", "namespaces")
    own.stop_apiserver(kill=True)
    with pytest.raises(KubectlError, match="refused"):
        own.kube("get", "namespaces")
    own.start_apiserver()
    assert "kept" in own.kube("get", "namespaces")


@STARTS
def test_it_ends_with_its_owner_however_that_one_ends(own: Cluster) -> None:
    with subprocess.Popen(["sleep", "300"]) as owner:
        own.up(owner=owner.pid)
        processes = processes_of(own)
        assert all(process.is_alive for process in processes)
        owner.kill()
        wait_for(
            lambda: not any(process.is_alive for process in processes),
            "the cluster ends with its owner",
        )
    wait_for(lambda: not own.layout.etcd.exists(), "what it kept is removed")


@STARTS
def test_a_failed_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    broken = Cluster(tmp_path / "broken", arguments={"kube-apiserver": ["--no-such-option"]})
    with pytest.raises(
        ClusterError, match=r"kube-apiserver ended by itself[^$]*unknown flag: --no-such-option"
    ):
        broken.up()
    assert broken.status() == {}
    assert not broken.layout.etcd.exists()
    left = [
        pid for pid in os.listdir("/proc") if pid.isdecimal() and str(tmp_path) in _command(pid)
    ]
    assert not left


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def _is_allowed(kube: Kube, *asking: str) -> bool:
    try:
        return kube(*asking).strip() == "yes"
    except KubectlError:
        return False


def processes_of(cluster: Cluster) -> list[Process]:
    return list(State.read(cluster.layout.state).processes.values())


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)
