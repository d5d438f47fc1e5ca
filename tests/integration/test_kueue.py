"""Jobs that wait for Kueue: admitted, held, taken back,
by the real controller with its webhooks.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from kueue import Kueue
from planes import private_cluster
from world import World, slowly, world_in

from fpj_cluster import Cluster, KubectlError

pytestmark = pytest.mark.timeout(300)

QUEUE = "images"
CPU_OF_ONE_POD = 250
"""Millicores that a worker pod of one process asks for."""


@pytest.fixture(scope="module")
def kueue_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane of its own: Kueue would take the Jobs of other tests in hand."""
    if os.geteuid() != 0:
        pytest.skip(
            "Kueue wants a certificate below /etc, which root alone can lay there unseen: run as"
            " root"
        )
    with (
        private_cluster(tmp_path_factory, "kueue") as cluster,
        Kueue(cluster, tmp_path_factory.mktemp("kueue")),
    ):
        yield cluster


@pytest.fixture(scope="module")
def world(
    kueue_cluster: Cluster, mongodb_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with world_in(kueue_cluster, mongodb_server, tmp_path_factory.mktemp("world")) as world:
        world.cache_folder()
        queue = {"apiVersion": "kueue.x-k8s.io/v1beta1"}
        world.kube.apply(queue | {"kind": "ResourceFlavor", "metadata": {"name": "any"}})
        quota(world, 2)
        local = {"metadata": {"name": QUEUE}, "spec": {"clusterQueue": "shared"}}
        world.kube.apply(queue | {"kind": "LocalQueue"} | local)
        world.operator()
        yield world


def quota(world: World, pods: int, *, stop: str = "None") -> None:
    """Let so many worker pods of one process run at a time."""
    resources = [
        {"name": "cpu", "nominalQuota": f"{CPU_OF_ONE_POD * pods}m"},
        {"name": "memory", "nominalQuota": "100Gi"},
    ]
    group = {
        "coveredResources": ["cpu", "memory"],
        "flavors": [{"name": "any", "resources": resources}],
    }
    spec = {"namespaceSelector": {}, "resourceGroups": [group], "stopPolicy": stop}
    world.kube.apply(
        {
            "apiVersion": "kueue.x-k8s.io/v1beta1",
            "kind": "ClusterQueue",
            "metadata": {"name": "shared"},
            "spec": spec,
        }
    )


def workloads(world: World, name: str) -> dict[str, dict[str, str]]:
    """Kueue's workloads of a job's child Jobs: conditions by type, by the Job's name."""
    uid = world.uid(name)
    jobs = world.jobs_of(uid)
    found: dict[str, dict[str, str]] = {}
    for each in world.items("workloads", "apis/kueue.x-k8s.io/v1beta1"):
        (owner,) = each["metadata"]["ownerReferences"]
        if owner["name"] in jobs:
            conditions = each.get("status", {}).get("conditions", [])
            found[owner["name"]] = {
                condition["type"]: condition["status"] for condition in conditions
            }
    return found


def child(world: World, name: str) -> dict[str, Any]:
    """The newest child Job."""
    uid = world.uid(name)
    jobs = [
        each
        for each in world.items("jobs", "apis/batch/v1")
        if each["metadata"]["name"] in world.jobs_of(uid)
    ]
    return max(
        jobs, key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"])
    )


def test_the_webhooks_answer(world: World) -> None:
    """A Job with a queue that is not suspended is suspended, before anything else sees it."""
    container = {"name": "c", "image": "none", "resources": {"requests": {"cpu": "100"}}}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "eager", "labels": {"kueue.x-k8s.io/queue-name": QUEUE}},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }
    text = json.dumps(job)
    assert (
        json.loads(world.kube("create", "-f", "-", "-o", "json", stdin=text))["spec"]["suspend"]
        is True
    )
    world.kube("delete", "job", "eager")
    wrong = text.replace(f'"{QUEUE}"', '"NO_SUCH_NAME"')
    with pytest.raises(KubectlError, match="denied the request"):
        world.kube("create", "-f", "-", stdin=wrong)


def test_a_job_is_admitted_step_by_step_and_completes(world: World) -> None:
    world.photos("admitted", 20)
    world.job("admitted", "admitted", queueName=QUEUE, sharding={"shardSize": 5})
    world.wait_end("admitted")
    world.check_exact("admitted", "admitted", completed=20)
    found = workloads(world, "admitted")
    assert {name.rpartition("-")[2] for name in found} == {
        "index",
        "w0",
    }, "both child Jobs went through the queue"
    world.until(
        lambda: all(
            each.get("Finished") == "True" for each in workloads(world, "admitted").values()
        ),
        "both are done",
    )
    assert all(each["Admitted"] == "True" for each in found.values())


def test_a_job_beyond_the_quota_is_held_and_says_so(world: World) -> None:
    world.photos("large", 20)
    world.job("large", "large", queueName=QUEUE, sharding={"shardSize": 5, "parallelism": 4})
    world.wait_phase("large", "Running")
    message = world.wait_reason("large", "HeldByQueue", "Progressing")
    assert "its queue has not admitted it" in message
    assert child(world, "large")["spec"]["suspend"] is True and not world.pods_of("large", "w")
    assert (
        workloads(world, "large")[child(world, "large")["metadata"]["name"]].get("QuotaReserved")
        == "False"
    )
    quota(world, 4)
    world.wait_end("large")
    world.check_exact("large", "large", completed=20)
    assert world.status("large")["recoveryAttempts"] == 0, "waiting is not silence"
    quota(world, 2)


def test_of_two_jobs_the_second_waits_for_the_first(world: World) -> None:
    for name in ("one", "two"):
        world.photos(name, 12)
    with slowly(world, 0.5):
        world.job("one", "one", queueName=QUEUE)
        world.wait_pod("one")
        world.job("two", "two", queueName=QUEUE, sharding={"parallelism": 2, "shardSize": 4})
        world.wait_reason("two", "HeldByQueue", "Progressing")
    world.wait_end("one")
    world.wait_end("two")
    world.check_exact("one", "one", completed=12)
    world.check_exact("two", "two", completed=12)


def test_what_kueue_takes_back_goes_on_later_and_nothing_is_lost(world: World) -> None:
    """A drained queue suspends the active child Job: its pods end,
    and the job waits without being taken for dead.
    """
    world.photos("drained", 30)
    with slowly(world, 0.4):
        world.job("drained", "drained", queueName=QUEUE, sharding={"shardSize": 15, "batchSize": 3})
        world.wait_pod("drained")
        uid = world.uid("drained")
        world.until(lambda: world.store.job_counts(uid, 1)[0].done >= 3, "work is recorded")
        quota(world, 2, stop="HoldAndDrain")
        world.wait_reason("drained", "HeldByQueue", "Progressing")
        world.until(lambda: not world.pods_left(uid), "its pods end")
        assert child(world, "drained")["spec"]["suspend"] is True
    quota(world, 2)
    world.wait_end("drained")
    world.check_exact("drained", "drained", completed=30)
    assert world.status("drained")["attempt"]["number"] == 1, "the same attempt went on"


def test_a_suspended_job_gives_its_room_back(world: World) -> None:
    world.photos("paused", 30)
    world.photos("other", 4)
    with slowly(world, 0.5):
        world.job("paused", "paused", queueName=QUEUE, sharding={"shardSize": 15})
        world.wait_pod("paused")
        world.patch("paused", suspend=True)
        world.wait_phase("paused", "Suspended")
    world.job("other", "other", queueName=QUEUE)
    world.wait_end("other")
    world.patch("paused", suspend=False)
    world.wait_end("paused")
    world.check_exact("paused", "paused", completed=30)


def test_kueue_is_of_the_version_that_is_pinned() -> None:
    root = subprocess.run(
        ["hack/kueue.sh", "--no-build"], capture_output=True, text=True, check=True, timeout=60
    )
    assert root.stdout.strip().endswith("kueue-v0.14.0")
