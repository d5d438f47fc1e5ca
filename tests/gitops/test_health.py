"""Health by kstatus and by Argo CD's scripts, over objects recorded from a real cluster."""

from __future__ import annotations

import copy
import re

import pytest
import yaml
from gitops.health import EXPECTED, OBJECTS, ROOT, SCRIPTS, fits, judge, recorded

from fpj_core.model import Phase
from fpj_core.v1alpha1 import RESOURCES

FOUND = recorded()


@pytest.mark.parametrize("name", EXPECTED)
def test_it_is_what_a_person_would_want_to_be_told(name: str) -> None:
    found = judge(FOUND[name])
    assert fits(found, EXPECTED[name]), found


def test_every_object_is_expected_and_every_phase_recorded() -> None:
    assert set(FOUND) == set(EXPECTED)
    phases = {
        each.get("status", {}).get("phase")
        for each in FOUND.values()
        if each["kind"] == "FileProcessingJob"
    }
    assert phases - {None} == set(Phase) - {Phase.CANCELLED}, (
        "Cancelled is said of deleted jobs, in the store alone"
    )
    assert {each["kind"] for each in FOUND.values()} == {
        resource.__name__ for resource in RESOURCES
    }


@pytest.mark.parametrize("name", EXPECTED)
def test_a_change_that_nobody_has_seen_is_waited_for(name: str) -> None:
    found = copy.deepcopy(FOUND[name])
    found["metadata"]["generation"] += 1
    if found["kind"] == "CacheFolder":
        assert judge(found).argocd == "Healthy", "nobody has to look at it"
    else:
        judged = judge(found)
        assert (judged.kstatus, judged.argocd) == ("InProgress", "Progressing")


def test_a_folder_that_is_not_ready_is_degraded() -> None:
    found = copy.deepcopy(FOUND["folder-used"])
    found["status"]["conditions"] = [
        {"type": "Ready", "status": "False", "reason": "Full", "message": "no room"}
    ]
    judged = judge(found)
    assert (judged.argocd, judged.message) == ("Degraded", "Full: no room")


def test_no_trace_of_a_machine_is_recorded() -> None:
    for path in OBJECTS.glob("*.json"):
        assert not re.search(
            r'"/(?!source|cache)|127\.0\.0|localhost|mongodb:', path.read_text("utf-8")
        ), path


def test_the_patch_of_argo_cds_configuration_has_the_scripts() -> None:
    patch = yaml.safe_load((ROOT / "deploy" / "argocd" / "argocd-cm-patch.yaml").read_text("utf-8"))
    assert patch["data"] == {
        f"resource.customizations.health.fpj.dev_{resource.__name__}": (
            SCRIPTS / resource.__name__ / "health.lua"
        ).read_text("utf-8")
        for resource in RESOURCES
    }


def test_a_finished_job_whose_outputs_are_not_those_of_its_spec_is_not_healthy() -> None:
    """As the operator says of an edit after the end: only resuming the job, or undoing the edit,
    makes it healthy.
    """
    found = copy.deepcopy(FOUND["job-edited-seen"])
    conditions = {each["type"]: each for each in found["status"]["conditions"]}
    for kind, status in (("Ready", "False"), ("Stalled", "True")):
        conditions[kind] |= {
            "status": status,
            "reason": "SpecChanged",
            "message": "the spec was changed",
        }
    judged = judge(found)
    assert (judged.kstatus, judged.argocd) == ("Failed", "Degraded")
    assert judged.message == "SpecChanged: the spec was changed"
