"""What a job says of pods that cannot work, and that it says nothing of the kind while others do.

The control plane is this file's own: one test stops its scheduler, another has a policy that adds
containers to pods.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from planes import fresh_namespace, with_crds
from podrunner import Api, ApiError, Pod
from waiting import wait_for
from world import World, slowly

from fpj_cluster import Cluster
from fpj_cluster.state import State

pytestmark = pytest.mark.timeout(300)

GATE = "--feature-gates=MutatingAdmissionPolicy=true"
SERVED = "--runtime-config=admissionregistration.k8s.io/v1beta1=true"
ADMISSION = "admissionregistration.k8s.io/v1beta1"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(
        tmp_path_factory.mktemp("plane"), arguments={"kube-apiserver": [GATE, SERVED]}
    )
    cluster.up(owner=os.getpid())
    with_crds(cluster.kube)
    yield cluster
    cluster.down()


@pytest.fixture
def world(plane: Cluster, mongodb_server: str, tmp_path: Path) -> Iterator[World]:
    with (
        fresh_namespace(plane.kube) as namespace,
        World(plane, namespace, mongodb_server, tmp_path / "world") as world,
    ):
        world.cache_folder()
        yield world


def report(world: World, pod: Pod, reason: str, message: str) -> None:
    """What a kubelet tells of a pod."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    about = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "namespace": pod.namespace}
    event = {
        "metadata": {"name": f"{pod.name}.{reason.lower()}"},
        "involvedObject": about | {"uid": pod.document["metadata"]["uid"]},
        "reason": reason,
        "message": message,
        "type": "Warning",
        "source": {"component": "kubelet"},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    world.runner.api.call("POST", f"/api/v1/namespaces/{pod.namespace}/events", event)


def progressing(job: dict[str, Any]) -> tuple[str, str, str]:
    """(status, reason, message) of the condition."""
    conditions = job.get("status", {}).get("conditions", [])
    return next(
        (
            (each["status"], each["reason"], each["message"])
            for each in conditions
            if each["type"] == "Progressing"
        ),
        ("", "", ""),
    )


@contextmanager
def reports(world: World, name: str) -> Iterator[list[tuple[str, str, str]]]:
    """Every version of a job's condition Progressing from now on."""
    found: list[tuple[str, str, str]] = []
    api, ended = Api(world.cluster.kubeconfig), threading.Event()
    path = world.path(name).rpartition("/")[0] + f"?fieldSelector=metadata.name={name}"
    version = api.call("GET", path)["metadata"]["resourceVersion"]

    def follow(version: str) -> None:
        while not ended.is_set():
            try:
                for event in api.watch(path, version, 2):
                    version = event["object"]["metadata"]["resourceVersion"]
                    found.append(progressing(event["object"]))
            except ApiError:
                return

    thread = threading.Thread(target=follow, args=(version,))
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join(15)
        api.close()


def test_a_volume_that_cannot_be_mounted(world: World) -> None:
    world.operator()
    world.photos("photos", 2)
    world.runner.hold("-index")
    world.job("mounts", "photos")
    pod = world.until(lambda: world.runner.pods("mounts-"), "its pod is on the node")[0]
    report(
        world,
        pod,
        "FailedMount",
        'MountVolume.SetUp failed for volume "settings" : configmap "nowhere" not found',
    )
    message = world.wait_reason("mounts", "MountFailed", "Progressing")
    assert 'configmap "nowhere" not found' in message
    assert world.condition("mounts", "Progressing")[0] == "False"
    world.runner.accept()
    world.wait_end("mounts")
    world.check_exact("mounts", "photos", completed=2)


def test_pods_that_never_start_are_told_of_without_any_event(world: World) -> None:
    world.operator()
    world.photos("photos", 2)
    world.runner.hold("-index")
    world.job("slow", "photos")
    assert "has not started on node-" in world.wait_reason(
        "slow", "PodsNotStarted", "Progressing", seconds=90
    )
    world.runner.accept()
    world.wait_end("slow")


def has_ended(pod: Pod) -> bool:
    return not pod.running


def test_evicted_and_deleted_pods_are_no_failure(world: World) -> None:
    """One after another, so that the Job controller waits before it replaces them,
    and others take their shards.
    """
    world.operator()
    world.photos("photos", 80)
    taken: list[str] = []

    def take() -> bool:
        """End a pod that was not ended before; True once that is enough, or the job has."""
        for pod in world.pods_of("drained", "w", running=True):
            if pod.name not in taken:
                (
                    pod.evict()
                    if len(taken) % 2 == 0
                    else world.kube("delete", "pod", pod.name, "--wait=false")
                )
                taken.append(pod.name)
                world.until(partial(has_ended, pod), "the pod ends")
                break
        return len(taken) == 3 or world.phase("drained") == "Completed"

    with slowly(world, 0.3):
        world.job("drained", "photos", sharding={"shardSize": 10, "batchSize": 2})
        world.wait_pod("drained")
        with reports(world, "drained") as seen:
            world.until(take, "pods are taken", 120)
            world.wait_end("drained", seconds=200)
            world.until(lambda: seen and seen[-1][1] == "AllImagesDone", "the watch sees the end")
    world.check_exact("drained", "photos", completed=80)
    assert taken
    failures = {"WorkerFailed", "Fenced", "OutOfMemory", "JobFailed"}
    assert [each for each in seen if each[0] == "False" and each[1] in failures] == []


def test_a_quota_that_refuses_some_pods_is_mentioned_while_others_work(world: World) -> None:
    world.operator()
    world.photos("photos", 40)
    spec = {"hard": {"pods": "1"}}
    world.kube.apply(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "one"}, "spec": spec}
    )
    world.kube.wait("jsonpath={.status.hard.pods}=1", "resourcequota/one")
    with slowly(world, 0.5):
        world.job("cramped", "photos", sharding={"shardSize": 20, "batchSize": 2})

        def mentioned() -> bool:
            return "PodsForbidden" in world.condition("cramped", "Progressing")[2]

        world.until(mentioned, "the quota is mentioned")
        status, reason, message = world.condition("cramped", "Progressing")
        assert (status, reason) == ("True", "Running")
        assert "exceeded quota" in message
        world.kube("delete", "resourcequota", "one")
        world.until(lambda: not mentioned(), "it is no more")
        world.wait_end("cramped", seconds=120)


def test_a_scheduler_that_is_away_is_told_of(world: World, plane: Cluster) -> None:
    operator = world.operator()
    world.photos("photos", 2)
    scheduler = State.read(plane.layout.state).processes["kube-scheduler"].pid
    os.kill(scheduler, signal.SIGSTOP)
    try:
        world.job("waits", "photos")
        world.wait_reason("waits", "PodsNotScheduled", "Progressing")
    finally:
        os.kill(scheduler, signal.SIGCONT)
    world.wait_end("waits", seconds=150)
    assert world.status("waits")["recoveryAttempts"] == 0
    assert operator.running


def test_a_node_that_is_lost_is_told_of(world: World) -> None:
    """Nothing says so for the pods but a mark of the node controller.

    To the kubelet's last word they still run.
    """
    world.operator(worker_reports="false")
    world.photos("photos", 60)
    with slowly(world, 2):
        world.job("lost", "photos", sharding={"parallelism": 1})
        world.wait_pod("lost")
        world.runner.lose()
        assert world.runner.name in world.wait_reason(
            "lost", "NodeUnreachable", "Progressing", seconds=120
        )


# Sidecars -----------------------------------------------------------------------------------------


@pytest.fixture
def injection(world: World) -> None:
    """What a mesh does, classically: a container is added to every pod that does not forbid it by a
    label.
    """
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["pods"],
    }
    wants = (
        "!has(object.metadata.labels) ||"
        " object.metadata.labels[?'sidecar.istio.io/inject'].orValue('') != 'false'"
    )
    added = 'Object.spec.containers{name: "istio-proxy", image: "localhost/proxy:test"}'
    mutation = f"Object{{spec: Object.spec{{containers: [{added}]}}}}"
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "not-forbidden", "expression": wants}],
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": mutation}}
        ],
    }
    name = f"inject-{world.namespace}"
    here = {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}}
    binding = {"policyName": name, "matchResources": {"namespaceSelector": here}}
    for kind, content in (
        ("MutatingAdmissionPolicy", spec),
        ("MutatingAdmissionPolicyBinding", binding),
    ):
        world.kube.apply(
            {"apiVersion": ADMISSION, "kind": kind, "metadata": {"name": name}, "spec": content}
        )

    def injects() -> bool:
        probe = {"containers": [{"name": "main", "image": "none"}]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": probe}
        made = world.runner.api.call(
            "POST", f"/api/v1/namespaces/{world.namespace}/pods?dryRun=All", body
        )
        return len(made["spec"]["containers"]) == 2

    wait_for(injects, "the policy adds containers", 60)


@pytest.mark.usefixtures("injection")
def test_pods_are_kept_out_of_meshes(world: World) -> None:
    world.operator()
    world.photos("photos", 4)
    world.job("alone", "photos", sharding={"shardSize": 2, "parallelism": 1})
    world.wait_end("alone")
    world.check_exact("alone", "photos", completed=4)


@pytest.mark.usefixtures("injection")
def test_a_sidecar_that_never_ends_is_named_and_what_was_done_counts(world: World) -> None:
    world.operator()
    world.photos("photos", 4)
    wanted = {"labels": {"sidecar.istio.io/inject": "true"}}
    world.job(
        "meshed", "photos", sharding={"shardSize": 2, "parallelism": 1}, workerTemplate=wanted
    )
    message = world.wait_reason("meshed", "SidecarPreventsCompletion", "Progressing", seconds=90)
    assert "istio-proxy" in message
    counts, _ = world.store.job_counts(world.uid("meshed"), 1)
    assert counts.completed == 2, "the shard that was done counts"
    world.job(
        "small", "photos", collection="small", sharding={"parallelism": 1}, workerTemplate=wanted
    )
    world.wait_end("small")
    world.check_exact("small", "photos", completed=4)
