"""What can be done to a job is sent with it, and is what the API then does or refuses."""

from __future__ import annotations

from typing import Any

import pytest
from unit.api.clusters import Document, job
from unit.api.site import V1, Site

from fpj_api.table import held_of
from fpj_core.kube.jobresource import JobResource
from fpj_core.kube.steering import Action

JOB = f"{V1}/namespaces/team/jobs/a"


def found(
    phase: str, *, suspend: bool = False, resume: str = "", deleting: bool = False
) -> Document:
    made = job("a", 1, phase=phase)
    made["spec"] |= {"suspend": suspend}
    made["metadata"] |= {"annotations": {"fpj.dev/resume": resume}} if resume else {}
    made["metadata"] |= {"deletionTimestamp": "2026-01-02T03:04:05Z"} if deleting else {}
    return made


def sent(site: Site, document: Document) -> dict[str, Any]:
    """The job as one request shows it, which is as lists do, and as the stream begins from."""
    site.fill()
    site.cluster.objects["FileProcessingJob", "team", "a"] = document
    site.backend.watched.table.put(held_of(JobResource(document)))
    detail = site.ask("GET", JOB).json
    (short,) = site.ask("GET", f"{V1}/jobs").json["items"]
    assert short == {name: value for name, value in detail.items() if name in short}
    return dict(detail)


def acted(site: Site, action: str) -> int:
    answer = site.ask("DELETE", JOB) if action == "cancel" else site.ask("POST", f"{JOB}/{action}")
    return int(answer.status)


@pytest.mark.parametrize(
    ("document", "allowed", "refused"),
    [
        (
            found("Running"),
            "suspend recover cancel",
            {"resume": "It is Running: nothing to resume"},
        ),
        (found("Completed"), "resume cancel", {"suspend": "It is Completed already"}),
        (found("Failed"), "resume recover cancel", {"suspend": "It is Failed already"}),
        (found("Suspended", suspend=True), "resume cancel", {"suspend": "It is suspended already"}),
        (
            found("Failed", resume="1"),
            "suspend recover cancel",
            {"resume": "It is already resuming"},
        ),
        (found("Running", deleting=True), "", {"cancel": "It is being deleted"}),
    ],
)
def test_a_job_is_sent_with_what_can_be_done_to_it(
    document: Document, allowed: str, refused: dict[str, str]
) -> None:
    shown = sent(Site(), document)
    assert shown["actions"] == allowed.split()
    assert refused.items() <= shown["refusals"].items()
    assert {*shown["actions"], *shown["refusals"]} == set(Action), (
        "of each it is said that it can or why not"
    )


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("suspend", [False, True])
@pytest.mark.parametrize(
    "phase", ["", "Running", "Suspended", "Completed", "CompletedWithErrors", "Failed"]
)
def test_only_what_is_sent_as_possible_changes_a_job(
    phase: str, suspend: bool, action: Action
) -> None:
    site = Site()
    shown = sent(site, found(phase, suspend=suspend))
    status = acted(site, action)
    assert bool(site.cluster.writes) == (action in shown["actions"])
    asked_already = shown["refusals"].get(action) == "It is suspended already"
    assert status == (202 if action in shown["actions"] or asked_already else 409)
