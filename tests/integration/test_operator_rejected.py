"""The API server rejects what a job needs: a real quota, a real policy, an invalid object.

It is reported at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from podrunner.api import ApiError
from world import World, world_in

from fpj_cluster import Cluster

pytestmark = pytest.mark.timeout(300)
POLICY = "admissionregistration.k8s.io/v1"


@pytest.fixture
def world(cluster: Cluster, mongodb_server: str, tmp_path: Path) -> Iterator[World]:
    with world_in(cluster, mongodb_server, tmp_path / "world") as world:
        world.cache_folder()
        yield world


def rejected(world: World, name: str) -> str:
    """Wait until the job says that a child is rejected.

    The message, which all three conditions have.
    """
    message = world.wait_reason(name, "ChildRejected", "Progressing", seconds=60)
    assert world.condition(name, "Progressing")[0] == "False"
    assert (
        world.condition(name, "Ready")[1]
        == world.condition(name, "Reconciling")[1]
        == "ChildRejected"
    )
    return message


def test_a_quota_is_told_waited_for_and_costs_neither_lock_nor_attempt(world: World) -> None:
    world.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "no-jobs"},
            "spec": {"hard": {"count/jobs.batch": "0"}},
        }
    )
    quota = f"/api/v1/namespaces/{world.namespace}/resourcequotas/no-jobs"
    world.until(
        lambda: (world.runner.api.get(quota) or {}).get("status", {}).get("hard"),
        "the quota is counted",
    )
    world.operator(lease_seconds=6)
    world.photos("photos", 3)
    world.job("patient", "photos")
    assert "exceeded quota: no-jobs" in rejected(world, "patient")
    held = world.lease("patient")["spec"]["renewTime"]
    world.until(
        lambda: world.lease("patient")["spec"]["renewTime"] > held,
        "the lease is renewed all the while",
    )
    assert world.status("patient")["attempt"]["number"] == 1
    assert world.status("patient")["recoveryAttempts"] == 0
    assert len(world.events("patient", "ChildRejected")) == 1
    world.kube("delete", "resourcequota", "no-jobs")
    world.wait_end("patient", seconds=120)
    world.check_exact("patient", "photos", completed=3)
    assert world.status("patient")["attempt"]["number"] == 1


def test_a_policy_that_denies_is_told_and_may_change(world: World) -> None:
    name = f"no-jobs-{world.namespace}"
    selector = {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}}
    jobs = {
        "apiGroups": ["batch"],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["jobs"],
    }
    policy = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [jobs], "namespaceSelector": selector},
        "validations": [{"expression": "false", "message": "no Jobs on Sundays"}],
    }
    binding = {"policyName": name, "validationActions": ["Deny"]}
    for kind, spec in (
        ("ValidatingAdmissionPolicy", policy),
        ("ValidatingAdmissionPolicyBinding", binding),
    ):
        world.cluster.kube.apply(
            {"apiVersion": POLICY, "kind": kind, "metadata": {"name": name}, "spec": spec}
        )
    try:
        probe: dict[str, Any] = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "probe"},
            "spec": {
                "template": {
                    "spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}
                },
            },
        }
        world.until(lambda: denied(world, probe), "the policy is in force")
        world.operator()
        world.photos("photos", 3)
        world.job("observant", "photos")
        assert "no Jobs on Sundays" in rejected(world, "observant")
    finally:
        for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
            world.cluster.kube("delete", kind, name)
    world.wait_end("observant", seconds=120)
    assert world.status("observant")["attempt"]["number"] == 1


def denied(world: World, job: dict[str, Any]) -> bool:
    path = f"/apis/batch/v1/namespaces/{world.namespace}/jobs?dryRun=All"
    try:
        world.runner.api.call("POST", path, job)
    except ApiError as error:
        return "Sundays" in str(error)
    return False


@pytest.mark.parametrize(
    ("template", "because", "words"),
    [
        (
            {"tolerations": [{"key": "a", "operator": "Exists", "effect": "Sometimes"}]},
            "ChildRejected",
            "effect",
        ),
        ({"volumes": [{"name": "tmp", "emptyDir": {}}]}, "PolicyForbidden", "tmp"),
    ],
)
def test_an_object_that_is_invalid_in_itself_fails_the_job(
    world: World, template: dict[str, Any], because: str, words: str
) -> None:
    world.operator()
    world.photos("photos", 3)
    world.job("hopeless", "photos", workerTemplate=template)
    world.wait_end("hopeless", "Failed", seconds=60)
    status, reason, message = world.condition("hopeless", "Failed")
    assert (status, reason) == ("True", because)
    assert words in message
    world.until(lambda: world.holder("hopeless") == "", "the collection is free")
