"""What the pods of child Jobs carry."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from unit.operator.world import SETTINGS, World, folder_resource

from fpj_core.kube.names import WAVE
from fpj_operator.jobs.children import _own_variables, shards_job
from fpj_operator.jobs.state import Apply, Attempt
from fpj_operator.settings import OperatorSettings


def pod_metadata(**template: Any) -> dict[str, Any]:
    world = World()
    world.add(workerTemplate=template)
    plan = world.look()
    job = next(
        step.manifest
        for step in plan.steps_after
        if isinstance(step, Apply) and step.manifest["kind"] == "Job"
    )
    return dict(job["spec"]["template"]["metadata"])


def test_meshes_are_told_to_leave_pods_alone() -> None:
    made = pod_metadata()
    assert made["labels"]["sidecar.istio.io/inject"] == "false"
    assert made["annotations"] == {"linkerd.io/inject": "disabled"}


@pytest.mark.parametrize(
    ("field", "name", "value"),
    [
        ("labels", "sidecar.istio.io/inject", "true"),
        ("annotations", "linkerd.io/inject", "enabled"),
    ],
)
def test_the_users_own_word_on_meshes_counts(field: str, name: str, value: str) -> None:
    made = pod_metadata(**{field: {name: value, "team": "photos"}})
    assert made[field][name] == value
    assert made[field]["team"] == "photos"


def manifests(*, settings: OperatorSettings = SETTINGS, **spec: Any) -> dict[str, dict[str, Any]]:
    """By kind, what the beginning of an attempt applies."""
    world = World(settings=settings)
    world.add(**spec)
    plan = world.look()
    return {
        step.manifest["kind"]: dict(step.manifest)
        for step in plan.steps_after
        if isinstance(step, Apply)
    }


def pod_of(job: dict[str, Any]) -> Any:
    return job["spec"]["template"]["spec"]


def task_of(job: dict[str, Any]) -> Any:
    variables = {each["name"]: each.get("value") for each in pod_of(job)["containers"][0]["env"]}
    return json.loads(variables["FPJ_TASK"])


def test_a_worker_may_patch_the_status_of_its_own_resource_and_nothing_else() -> None:
    made = manifests()
    assert made["Role"]["rules"] == [
        {
            "apiGroups": ["fpj.dev"],
            "resources": ["fileprocessingjobs/status"],
            "resourceNames": ["photos"],
            "verbs": ["patch"],
        }
    ]
    assert pod_of(made["Job"])["automountServiceAccountToken"] is True


def test_a_worker_that_does_not_report_carries_no_token() -> None:
    allowed = replace(SETTINGS, template_service_accounts=("mine",))
    made = manifests(settings=allowed, workerTemplate={"serviceAccountName": "mine"})
    assert set(made) == {"Job"}, "no role and no account of ours"
    assert pod_of(made["Job"])["serviceAccountName"] == "mine"
    assert pod_of(made["Job"])["automountServiceAccountToken"] is False
    silent = manifests(settings=replace(SETTINGS, worker_reports=False))
    assert set(silent) == {"Job"}
    assert pod_of(silent["Job"])["automountServiceAccountToken"] is False


def test_a_pod_reads_its_source_and_writes_into_its_cache_folder_alone() -> None:
    pod = pod_of(manifests()["Job"])
    mounts = {
        each["mountPath"]: each.get("readOnly", False)
        for each in pod["containers"][0]["volumeMounts"]
    }
    assert mounts == {"/tmp": False, "/source": True, "/cache": False}
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


def test_pods_are_told_their_attempt_and_its_fence() -> None:
    world = World()
    world.add()
    world.database.fence = 6
    steps = [
        step
        for step in world.look().steps_after
        if isinstance(step, Apply) and step.manifest["kind"] == "Job"
    ]
    task = task_of(dict(steps[0].manifest))
    assert (task["attempt"], task["fence"]) == (1, 7)


def test_ones_own_variables_show_no_value_of_ours() -> None:
    template = {
        "env": [
            {"name": "MINE", "value": "$(FPJ_STORE) and $$"},
            {"name": "OTHER", "valueFrom": {}},
        ]
    }
    assert _own_variables(template) == [
        {"name": "MINE", "value": "$$(FPJ_STORE) and $$$$"},
        {"name": "OTHER", "valueFrom": {}},
    ]


@pytest.mark.parametrize(("queue", "held"), [(None, None), ("team", True)])
def test_a_job_for_kueue_waits_until_it_is_admitted(queue: str | None, held: bool | None) -> None:
    job = manifests(queueName=queue)["Job"]
    assert job["spec"].get("suspend") is held
    assert job["metadata"]["labels"].get("kueue.x-k8s.io/queue-name") == queue


def test_children_do_not_hold_the_end_of_their_job_up() -> None:
    for made in manifests().values():
        assert [each["blockOwnerDeletion"] for each in made["metadata"]["ownerReferences"]] == [
            False
        ]


@pytest.mark.parametrize("total", [1, WAVE, WAVE + 1, 2 * WAVE + 5])
def test_the_waves_have_every_shard_once(total: int) -> None:
    world = World()
    world.add()
    observed, folder = world.observe("photos"), folder_resource()
    shards: list[int] = []
    for wave in range(-(-total // WAVE)):
        job = shards_job(observed, folder, Attempt(1), world.settings, wave, total)
        first, last = map(int, task_of(job)["shards"].split("-"))
        assert job["spec"]["completions"] == last - first + 1
        shards += range(first, last + 1)
    assert shards == list(range(total))
