"""The operator's settings: read from variables, explained in the guide, offered by the chart."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from unit.operator.world import SETTINGS, World

from fpj_core.errors import ManifestError
from fpj_generate.chart.settings import _ELSEWHERE, _TESTS_ONLY, _docstrings, chart_settings
from fpj_operator.jobs.state import Apply
from fpj_operator.settings import OperatorSettings, settings_from

REQUIRED = {"FPJ_STORE": "mongodb://store/fpj", "FPJ_WORKER_IMAGE": "fpj:test"}
GUIDE = (Path(__file__).parents[3] / "docs" / "guide" / "cluster.md").read_text(encoding="utf-8")


def test_defaults_hold_for_what_is_not_set_or_empty() -> None:
    nothing = {
        each.metadata["variable"]: ""
        for each in fields(OperatorSettings)
        if each.name != "worker_env"
    }
    assert settings_from(nothing | REQUIRED) == settings_from(REQUIRED)
    assert settings_from(REQUIRED) == OperatorSettings(
        store_url="mongodb://store/fpj", worker_image="fpj:test"
    )


def test_every_kind_is_read() -> None:
    given = {
        "FPJ_NAMESPACES": " a, b ,,c",
        "FPJ_MAX_CONCURRENT_JOBS": "3",
        "FPJ_CHECK_SECONDS": "0.5",
        "FPJ_WORKER_REPORTS": "No",
        "FPJ_WORKER_ENV_A": "1",
        "FPJ_WORKER_ENV_B": "",
        "FPJ_IMAGE_PULL_SECRETS": "registry",
    }
    settings = settings_from(REQUIRED | given)
    assert settings.namespaces == ("a", "b", "c")
    assert settings.max_concurrent_jobs == 3 and isinstance(settings.max_concurrent_jobs, int)
    assert settings.check_seconds == 0.5
    assert settings.worker_reports is False
    assert settings.worker_env == {"A": "1", "B": ""}
    assert settings.image_pull_secrets == ("registry",)


def test_everything_that_is_wrong_is_named() -> None:
    given = {
        "FPJ_STORE": "x",
        "FPJ_LEASE_SECONDS": "4",
        "FPJ_RECONCILERS": "many",
        "FPJ_WORKER_REPORTS": "maybe",
    }
    with pytest.raises(ManifestError) as raised:
        settings_from(given | {"FPJ_CHECK_SECONDS": "inf"})
    for message in (
        "FPJ_WORKER_IMAGE must be set",
        "FPJ_LEASE_SECONDS: '4' is not a number of at least 5",
        "FPJ_RECONCILERS: 'many' is not a number of at least 1",
        "FPJ_CHECK_SECONDS: 'inf'",
        "FPJ_WORKER_REPORTS: 'maybe' is neither true nor false",
    ):
        assert message in str(raised.value)


@pytest.mark.parametrize("setting", fields(OperatorSettings), ids=lambda each: each.name)
def test_each_is_described_and_offered(setting: object) -> None:
    name, variable = setting.name, setting.metadata["variable"]  # type: ignore[attr-defined]
    assert _docstrings()[name]
    assert f"| `{variable}` |" in GUIDE
    offered = {each.name for each in chart_settings()}
    assert (name in offered) + (name in _ELSEWHERE) + (name in _TESTS_ONLY) == 1


@pytest.mark.parametrize(("own", "used"), [(None, ["registry"]), ([{"name": "own"}], ["own"])])
def test_workers_pull_with_the_installations_secrets_or_the_jobs_own(
    own: list[object] | None, used: list[str]
) -> None:
    world = World(settings=replace(SETTINGS, image_pull_secrets=("registry",)))
    template: dict[str, Any] = {"workerTemplate": {"imagePullSecrets": own}} if own else {}
    world.add(**template)
    plans = [world.look() for _ in range(5)]
    steps = [step for plan in plans for step in (*plan.steps_first, *plan.steps_after)]
    pods = [
        step.manifest["spec"]["template"]["spec"]
        for step in steps
        if isinstance(step, Apply) and step.manifest["kind"] == "Job"
    ]
    assert pods
    assert [secret["name"] for secret in pods[0]["imagePullSecrets"]] == used
