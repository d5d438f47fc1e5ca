"""What a worker template may ask for, and that the operator makes no pod that breaks a rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from unit.operator.templates import ALLOWED, BROKEN_TWICE, FORBIDDEN, Template
from unit.operator.world import SETTINGS, World, job_resource

from fpj_core.model import Phase
from fpj_operator.jobs.state import Apply, Plan
from fpj_operator.jobs.templatepolicy import RULES, violations

MOST = replace(
    SETTINGS,
    template_volumes=("emptyDir", "configMap", "secret", "projected"),
    template_mount_paths=("/mnt", "/opt/plugins"),
    template_env=("TZ", "PLUGIN_*", "PYTHONPATH"),
    template_env_sources=("secretKeyRef",),
    template_service_accounts=("museum-*",),
    worker_env={"PLUGIN_KEY": "x"},
)


@pytest.mark.parametrize("template", ALLOWED.values(), ids=ALLOWED)
def test_what_is_allowed(template: Template) -> None:
    assert violations(template, SETTINGS) == []


@pytest.mark.parametrize(("template", "message"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_what_is_forbidden_is_named_with_the_rule(template: Template, message: str) -> None:
    found = violations(template, SETTINGS)
    assert len(found) == 1 and message in found[0], found


@pytest.mark.parametrize(("template", "messages"), BROKEN_TWICE.values(), ids=BROKEN_TWICE)
def test_every_rule_that_is_broken_is_named(template: Template, messages: tuple[str, ...]) -> None:
    found = violations(template, SETTINGS)
    assert len(found) == len(messages)
    assert all(any(message in text for text in found) for message in messages), found


def test_every_rule_has_a_forbidden_example() -> None:
    templates = [template for template, _ in (*FORBIDDEN.values(), *BROKEN_TWICE.values())]
    examples = [found for template in templates for found in violations(template, SETTINGS)]
    for rule in RULES:
        assert any(
            text.startswith(f"workerTemplate.{rule.path}: ") and rule.problem in text
            for text in examples
        )


@pytest.mark.parametrize(
    ("template", "allowed"),
    [
        ({"serviceAccountName": "museum-worker"}, True),
        ({"serviceAccountName": "museum"}, False),
        (
            {"volumes": [{"name": "a", "configMap": {"name": "a"}}, {"name": "b", "secret": {}}]},
            True,
        ),
        ({"volumes": [{"name": "a", "persistentVolumeClaim": {"claimName": "a"}}]}, False),
        (
            {
                "env": [
                    {"name": "PYTHONPATH", "value": "/opt/plugins"},
                    {"name": "PLUGIN_MODE", "value": "1"},
                ]
            },
            True,
        ),
        ({"env": [{"name": "PLUGIN_KEY", "value": "mine"}]}, False),  # the installation sets it
        ({"env": [{"name": "FPJ_TASK", "value": "{}"}]}, False),
        ({"env": [{"name": "TZ", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]}, True),
        (
            {"env": [{"name": "TZ", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]},
            False,
        ),
        (
            {
                "volumes": [{"name": "a"}],
                "volumeMounts": [{"name": "a", "mountPath": "/opt/plugins/a"}],
            },
            True,
        ),
        (
            {
                "volumes": [{"name": "a"}],
                "volumeMounts": [{"name": "a", "mountPath": "/opt/pluginsx"}],
            },
            False,
        ),
    ],
)
def test_settings_allow_more_and_less(template: Template, allowed: bool) -> None:
    assert (violations(template, MOST) == []) is allowed


def test_no_setting_allows_what_is_fpjs_own() -> None:
    everything = replace(
        SETTINGS, template_env=("*",), template_mount_paths=("/",), template_volumes=("emptyDir",)
    )
    for name in ("FPJ_STORE", "FPJ_ANYTHING", "POD_NAME", "KUBERNETES_SERVICE_HOST"):
        assert violations({"env": [{"name": name, "value": ""}]}, everything)
    for path in ("/tmp", "/cache", "/source/below"):
        mounted = {"volumes": [{"name": "a"}], "volumeMounts": [{"name": "a", "mountPath": path}]}
        assert violations(mounted, everything)


# The operator -------------------------------------------------------------------------------------

HOSTILE = {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}


def made_a_pod(plan: Plan) -> bool:
    steps = (*plan.steps_first, *plan.steps_after)
    return any(isinstance(step, Apply) and step.manifest["kind"] == "Job" for step in steps)


def edit(world: World, **spec: Any) -> None:
    resource = world.resources["photos"]
    resource.job = job_resource("photos", **spec)


def pending(_world: World) -> None:
    """Nothing was done yet."""


def indexing(world: World) -> None:
    world.settle()


def running(world: World) -> None:
    world.settle()
    world.indexed()
    world.settle()


def between_waves(world: World) -> None:
    world.settle()
    world.indexed(shards=1_500, total=1_500)
    world.settle()
    world.ended()


def recovering(world: World) -> None:
    running(world)
    world.lease = replace(world.lease, expires_at=0.0)
    world.look()


def resumed(world: World) -> None:
    running(world)
    for shard in range(3):
        world.worked(shard=shard, completed=100)
    world.settle()
    world.resources["photos"].resume = "again"


@pytest.mark.parametrize("stage", [pending, indexing, running, between_waves, recovering, resumed])
def test_no_pod_is_made_of_a_forbidden_template(stage: Callable[[World], None]) -> None:
    world = World()
    job = world.add()
    stage(world)
    edit(world, workerTemplate=HOSTILE)
    plans = [world.look() for _ in range(5)]
    assert not any(made_a_pod(plan) for plan in plans)
    assert job.phase() is Phase.FAILED
    failed = job.condition("Failed")
    assert failed["status"] == "True" and failed["reason"] == "PolicyForbidden"
    assert "host (hostPath)" in failed["message"] and "FPJ_TEMPLATE_VOLUMES" in failed["message"]
    assert not any(child.active for child in job.children.values() if not child.finished), (
        "none is left running"
    )
    assert world.lease.holder == ""


def test_a_corrected_template_is_used_once_the_job_is_resumed() -> None:
    world = World()
    job = world.add(workerTemplate=HOSTILE)
    world.settle()
    assert job.phase() is Phase.FAILED
    edit(world)
    job.resume = "corrected"
    world.settle()
    assert job.phase() is Phase.INDEXING


def test_a_suspended_job_stays_suspended_until_its_pods_are_wanted() -> None:
    world = World()
    job = world.add(suspend=True, workerTemplate=HOSTILE)
    world.settle()
    assert job.phase() is Phase.SUSPENDED


def test_a_value_reaches_the_pod_as_it_is_written() -> None:
    """`$(FPJ_STORE)` would be replaced by the store's URL,
    which may then be read where variables are shown.
    """
    world = World()
    world.add(workerTemplate={"env": [{"name": "TZ", "value": "$(FPJ_STORE)"}]})
    plans = [world.look() for _ in range(3)]
    steps = [step for plan in plans for step in (*plan.steps_first, *plan.steps_after)]
    (job,) = (
        step.manifest
        for step in steps
        if isinstance(step, Apply) and step.manifest["kind"] == "Job"
    )
    env = {
        each["name"]: each.get("value")
        for each in job["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert env["TZ"] == "$$(FPJ_STORE)"
