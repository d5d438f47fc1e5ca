"""How kopf is set up: what it lists and watches, and what it keeps of each object."""

from __future__ import annotations

import kopf
import pytest
from kopf._cogs.structs.references import Resource

from fpj_core.kube import names
from fpj_operator.handlers import _configure


@pytest.fixture
def settings() -> kopf.OperatorSettings:
    made = kopf.OperatorSettings()
    _configure(made)
    return made


@pytest.mark.parametrize(
    ("resource", "selectors"),
    [
        (Resource("batch", "v1", "jobs"), [names.LABEL_UID]),
        (Resource("batch", "v1", "cronjobs"), []),
        (Resource("fpj.dev", "v1alpha1", "fileprocessingjobs"), []),
        (Resource("fpj.dev", "v1alpha1", "cachefolders"), []),
    ],
)
def test_only_our_child_jobs_are_asked_for(
    settings: kopf.OperatorSettings, resource: Resource, selectors: list[str]
) -> None:
    assert settings.watching.label_selectors.collect(resource) == selectors
