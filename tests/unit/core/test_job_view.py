"""A job's shards and its record are read one after the other.

What is written in between must not mislead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from fpj_core import jobs
from fpj_core.errors import FencedError
from fpj_core.model import Job, Phase, Shard, ShardState
from fpj_core.store import open_store
from fpj_core.store.protocol import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(str(tmp_path / "store.db"))
    made.create_job(Job("job", "job", "photos", {}, "", planning_attempt=1))
    yield made
    made.close()


class _PlannedMeanwhile:
    """The index pod ends its plan right after the shards have been summed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def job_counts(self, job: str, attempt: int) -> Any:
        found = self._store.job_counts(job, attempt)
        plan(self._store)
        return found


def plan(store: Store) -> None:
    store.put_shards("job", 1, [Shard("job", 1, 0, "photos", 0, 12, 0)])
    jobs.change_job(store, "job", lambda job: replace(job, total=12, planned_attempt=1))


def test_a_plan_that_is_written_meanwhile_is_not_taken_for_an_empty_one(store: Store) -> None:
    assert jobs.observe(_PlannedMeanwhile(store), "job", 1, 0.0) is None
    plan(store)
    view = jobs.observe(store, "job", 1, 0.0)
    assert view is not None and view.states == {ShardState.PENDING: 1}


def test_a_later_attempt_hides_what_an_earlier_one_counted(store: Store) -> None:
    plan(store)
    jobs.change_job(store, "job", lambda job: replace(job, planning_attempt=2))
    assert jobs.observe(store, "job", 1, 0.0) is None


def test_an_attempt_that_begins_while_shards_are_summed_is_noticed(store: Store) -> None:
    plan(store)
    count = store.job_counts

    class Meanwhile(_PlannedMeanwhile):
        @override
        def job_counts(self, job: str, attempt: int) -> Any:
            found = count(job, attempt)
            jobs.change_job(store, "job", lambda known: replace(known, planning_attempt=2))
            return found

    meanwhile: Any = Meanwhile(store)
    assert jobs.observe(meanwhile, "job", 1, 0.0) is None


@pytest.mark.parametrize("phase", Phase)
def test_nobody_begins_to_work_on_a_job_that_is_stopped(phase: Phase) -> None:
    job = Job("job", "job", "photos", {}, "", phase=phase)
    if phase in {Phase.FAILED, Phase.CANCELLED, Phase.SUSPENDED, Phase.RECOVERING}:
        with pytest.raises(FencedError):
            jobs.refuse_stopped(job)
    else:
        jobs.refuse_stopped(job)
