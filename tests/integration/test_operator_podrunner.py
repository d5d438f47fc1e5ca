"""What stands in for the kubelet does what a kubelet does,
as far as the other tests build on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from podrunner import PodRunner
from waiting import wait_for

from fpj_cluster import Cluster, Kube


@pytest.fixture
def runner(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[PodRunner]:
    with PodRunner(cluster.kubeconfig, f"node-{namespace}", tmp_path / "pods") as runner:
        yield runner
        runner.check()


def pod(runner: PodRunner, name: str, script: str, **spec: Any) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": "none",
        "command": ["sh", "-c", script],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "env": spec.pop("env", []),
    }
    place = {"nodeSelector": {"kubernetes.io/hostname": runner.name}, "restartPolicy": "Never"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container], **place, **spec},
    }


def terminated(here: Kube, name: str) -> dict[str, Any]:
    here.wait("jsonpath={.status.containerStatuses[0].state.terminated}", f"pod/{name}")
    return dict(
        here.json("get", "pod", name)["status"]["containerStatuses"][0]["state"]["terminated"]
    )


def test_pods_run_with_what_they_were_given(runner: PodRunner, kube: Kube, namespace: str) -> None:
    here = kube.within(namespace)
    here("create", "secret", "generic", "store", "--from-literal=url=mongodb://here")
    env: list[dict[str, Any]] = [
        {"name": "URL", "valueFrom": {"secretKeyRef": {"name": "store", "key": "url"}}},
        {
            "name": "NONE",
            "valueFrom": {"secretKeyRef": {"name": "nothing", "key": "url", "optional": True}},
        },
        {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "MONEY", "value": "$$5 $(ME) $(WHO)"},
    ]
    script = 'echo "$URL ${NONE-unset} $MONEY" > $FPJ_TERMINATION_LOG; ls $FPJ_SERVICEACCOUNT_DIR'
    here.apply(pod(runner, "given", script, env=env))
    assert terminated(here, "given")["message"] == "mongodb://here unset $5 given $(WHO)\n"
    assert here.json("get", "pod", "given")["status"]["phase"] == "Succeeded"
    assert runner.pods("given")[0].log.split() == ["ca.crt", "namespace", "token"]

    here.apply(pod(runner, "fails", "echo it went wrong; exit 40"))
    ended = terminated(here, "fails")
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (
        40,
        "Error",
        "it went wrong\n",
    )
    env[0]["valueFrom"] = {"secretKeyRef": {"name": "absent", "key": "url"}}
    here.apply(pod(runner, "waits", "true", env=env))
    here.wait(
        "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CreateContainerConfigError",
        "pod/waits",
    )
    here("create", "secret", "generic", "absent", "--from-literal=url=x")
    assert terminated(here, "waits")["exitCode"] == 0


def test_pods_end_as_the_world_ends_them(runner: PodRunner, kube: Kube, namespace: str) -> None:
    here = kube.within(namespace)
    obeys = "trap 'exit 143' TERM; echo ready; while true; do sleep 0.1; done"
    ignores = "trap '' TERM; echo ready; sleep 1000 & sleep 1000"
    names = ("killed", "starved", "obeys", "evicted", "lost")
    for name in names:
        here.apply(pod(runner, name, obeys))
    here.apply(pod(runner, "ignores", ignores, terminationGracePeriodSeconds=1))
    pods = {name: runner.wait_for_pod(name) for name in (*names, "ignores")}
    wait_for(lambda: all("ready" in each.log for each in pods.values()), "all scripts run")
    here.wait("condition=Ready", *[f"pod/{name}" for name in pods])

    pods["killed"].kill()
    assert (terminated(here, "killed")["exitCode"], terminated(here, "killed")["reason"]) == (
        137,
        "Error",
    )
    pods["starved"].run_out_of_memory()
    assert terminated(here, "starved")["reason"] == "OOMKilled"
    here("delete", "pod", "obeys", "ignores")
    ended, killed = pods["obeys"].process, pods["ignores"].process
    assert ended and ended.code == 143
    assert killed and killed.code == 137
    watched = pods["evicted"]
    watched.evict()
    wait_for(
        lambda: not here.items("pods", "--field-selector=metadata.name=evicted"),
        "the evicted pod goes",
    )
    assert watched.process and watched.process.code == 143
    conditions = {each["type"]: each["status"] for each in watched.document["status"]["conditions"]}
    assert conditions["DisruptionTarget"] == "True"

    pods["lost"].cut_off()
    here("delete", "pod", "lost", "--force", "--grace-period=0")
    assert pods["lost"].running


def test_pods_are_kept_from_starting(runner: PodRunner, kube: Kube, namespace: str) -> None:
    here = kube.within(namespace)
    runner.refuse("refused")
    runner.hold("held")
    here.apply(pod(runner, "refused", "true"), pod(runner, "held", "true"))
    here.wait(
        "jsonpath={.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff",
        "pod/refused",
    )
    assert here.json("get", "pod", "held")["status"]["phase"] == "Pending"
    runner.accept()
    assert terminated(here, "refused")["exitCode"] == terminated(here, "held")["exitCode"] == 0


def test_jobs_see_their_claims(
    runner: PodRunner, kube: Kube, namespace: str, tmp_path: Path
) -> None:
    """Indexed Jobs of the real controller, on volumes that the real scheduler and volume controller
    bind.
    """
    here = kube.within(namespace)
    (tmp_path / "photos").mkdir()
    runner.claim(namespace, "photos", tmp_path / "photos")
    template = pod(
        runner,
        "",
        'touch "$FPJ_SOURCE_ROOT/$JOB_COMPLETION_INDEX"; [ "$JOB_COMPLETION_INDEX" != 1 ]',
    )
    template["spec"]["volumes"] = [
        {"name": "source", "persistentVolumeClaim": {"claimName": "photos"}}
    ]
    template["spec"]["containers"][0]["volumeMounts"] = [{"name": "source", "mountPath": "/source"}]
    spec = {
        "completionMode": "Indexed",
        "completions": 3,
        "parallelism": 2,
        "backoffLimitPerIndex": 0,
    }
    here.apply(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "wave"},
            "spec": spec | {"template": {"spec": template["spec"]}},
        }
    )
    here.wait("condition=Failed", "job/wave")
    status = here.json("get", "job", "wave")["status"]
    assert (status["succeeded"], status["failedIndexes"]) == (2, "1")
    assert sorted(path.name for path in (tmp_path / "photos").iterdir()) == ["0", "1", "2"]
