"""What completes a job, and what is evidence of lost records; each rule alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fpj_core.model import Counts, Job, ShardState
from fpj_operator.jobs.evidence import Finding, evidence
from fpj_operator.jobs.state import Attempt, StoreView

ATTEMPT = Attempt(2, store_id="s", planned_shards=3, planned_images=300)
RECORD = Job(
    "uid", "it", "c", {}, "", total=300, planning_attempt=2, planned_attempt=2, planned_shards=3
)
DONE = StoreView("s", RECORD, Counts(completed=300), {ShardState.SUCCEEDED: 3})


def record(**changed: Any) -> StoreView:
    return replace(DONE, record=replace(RECORD, **changed))


@pytest.mark.parametrize(
    ("store", "finding"),
    [
        (DONE, Finding.DONE),
        (replace(DONE, shards={ShardState.SUCCEEDED: 2, ShardState.RUNNING: 1}), Finding.UNDONE),
        (replace(DONE, identity="another"), Finding.LOST),
        (replace(DONE, record=None), Finding.LOST),
        (replace(DONE, shards={ShardState.SUCCEEDED: 2}), Finding.LOST),
        (replace(DONE, shards={ShardState.SUCCEEDED: 4}), Finding.LOST),
        (replace(DONE, counts=Counts(completed=299)), Finding.LOST),
        (replace(DONE, counts=Counts(completed=301)), Finding.LOST),
        (record(planning_attempt=3), Finding.LOST),
        (record(total=299), Finding.LOST),
        (record(planned_shards=2), Finding.LOST),
        (record(planned_attempt=1), Finding.LOST),
    ],
)
def test_only_all_that_was_planned_completes_a_job(store: StoreView, finding: Finding) -> None:
    assert evidence(ATTEMPT, store, planned=True).finding is finding


@pytest.mark.parametrize(("planned", "finding"), [(False, Finding.UNPLANNED), (True, Finding.LOST)])
def test_a_plan_that_was_seen_is_missed(planned: bool, finding: Finding) -> None:
    before = replace(ATTEMPT, planned_shards=None, planned_images=None)
    assert evidence(before, record(planned_attempt=1), planned=planned).finding is finding
