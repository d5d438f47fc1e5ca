"""What the pods of child Jobs carry."""

from __future__ import annotations

from typing import Any

import pytest
from unit.operator.world import World

from fpj_operator.state import Apply


def pod_metadata(**template: Any) -> dict[str, Any]:
    world = World()
    world.add(workerTemplate=template)
    plan = world.look()
    job = next(step.manifest for step in plan.steps_after if isinstance(step, Apply) and step.manifest["kind"] == "Job")
    return dict(job["spec"]["template"]["metadata"])


def test_meshes_are_told_to_leave_pods_alone() -> None:
    made = pod_metadata()
    assert made["labels"]["sidecar.istio.io/inject"] == "false"
    assert made["annotations"] == {"linkerd.io/inject": "disabled"}


@pytest.mark.parametrize(
    ("field", "name", "value"),
    [("labels", "sidecar.istio.io/inject", "true"), ("annotations", "linkerd.io/inject", "enabled")],
)
def test_the_users_own_word_on_meshes_counts(field: str, name: str, value: str) -> None:
    made = pod_metadata(**{field: {name: value, "team": "photos"}})
    assert made[field][name] == value
    assert made[field]["team"] == "photos"
