"""User and user namespace of worker pods."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from unit.operator.world import SETTINGS, World

from fpj_operator.jobs.state import Apply
from fpj_operator.settings import OperatorSettings


def pod(settings: OperatorSettings) -> dict[str, Any]:
    """Of the index Job of a new job."""
    world = World(settings=settings)
    world.add()
    plans = [world.look() for _ in range(3)]
    steps = [step for plan in plans for step in (*plan.steps_first, *plan.steps_after)]
    (job,) = (
        step.manifest
        for step in steps
        if isinstance(step, Apply) and step.manifest["kind"] == "Job"
    )
    return dict(job["spec"]["template"]["spec"])


@pytest.mark.parametrize("user", [65_532, 1_000_690_000])
def test_pods_run_as_the_given_user(user: int) -> None:
    context = pod(replace(SETTINGS, worker_user=user))["securityContext"]
    assert {context[name] for name in ("runAsUser", "runAsGroup", "fsGroup")} == {user}


def test_the_cluster_can_assign_the_user() -> None:
    context = pod(replace(SETTINGS, worker_user=0))["securityContext"]
    assert not context.keys() & {"runAsUser", "runAsGroup", "fsGroup"}
    assert context["runAsNonRoot"] is True and context["seccompProfile"] == {
        "type": "RuntimeDefault"
    }


def test_pods_share_the_nodes_users_unless_the_settings_say_otherwise() -> None:
    assert "hostUsers" not in pod(SETTINGS)
    assert pod(replace(SETTINGS, worker_host_users=False))["hostUsers"] is False
