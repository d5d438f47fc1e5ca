"""Which index pod may plan an attempt, and what of earlier attempts is left once it has.

Without processes.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.worker_pod.conftest import COLLECTION, UID, Cluster, job_manifest

from fpj_core.errors import FencedError, SourceChangedError
from fpj_core.jobs import change_job
from fpj_core.model import Phase
from fpj_worker.pod.index import run_index
from fpj_worker.pod.task import read_task
from fpj_worker.stopping import Stop

OTHERS = {
    "id": "photos",
    "source": {"persistentVolumeClaim": {"claimName": "others", "path": "album"}},
}


@pytest.fixture
def planned(cluster: Cluster) -> Cluster:
    """One of twelve photos in two shards."""
    cluster.prepare(12)
    return cluster


@pytest.mark.parametrize(("said", "name"), [({}, "job"), ({"fpj.dev/requester": "first"}, "first")])
def test_in_whose_name_tiers_are_asked_for(
    cluster: Cluster, said: dict[str, str], name: str
) -> None:
    cluster.add_photos(1)
    cluster.record()
    job = job_manifest()
    job["metadata"]["annotations"] = said
    with cluster.opened() as store:
        task = read_task(cluster.environment(FPJ_TASK=cluster.task(job=job)))
        run_index(task, store, Stop())
        assert set(store.requested_tiers(COLLECTION)) == {f"{name}/cache", f"{name}/thumbnail"}


@pytest.mark.parametrize("planned_attempt", [0, 2])
def test_an_earlier_attempt_plans_nothing_once_a_later_one_has_begun(
    cluster: Cluster, planned_attempt: int
) -> None:
    cluster.add_photos(3)
    cluster.record()
    with cluster.opened() as store:
        recorded = change_job(
            store,
            UID,
            lambda job: replace(
                job, planning_attempt=2, planned_attempt=planned_attempt, planner="later"
            ),
        )
        with pytest.raises(FencedError, match="attempt 2"):
            cluster.plan()
        assert store.get_job(UID) == recorded
        assert store.count_images(COLLECTION) == 0 and store.shards(UID, 1) == []


@pytest.mark.parametrize(
    "phase", [Phase.SUSPENDED, Phase.RECOVERING, Phase.FAILED, Phase.CANCELLED]
)
def test_a_job_that_is_stopped_is_not_planned(cluster: Cluster, phase: Phase) -> None:
    cluster.add_photos(3)
    cluster.record()
    with cluster.opened() as store:
        stopped = change_job(store, UID, lambda job: replace(job, phase=phase))
        with pytest.raises(FencedError, match=phase.value):
            cluster.plan()
        assert store.get_job(UID) == stopped
        assert store.count_images(COLLECTION) == 0 and store.shards(UID, 1) == []


def test_a_plan_that_stands_is_left_to_the_pods_that_work_on_it(planned: Cluster) -> None:
    with planned.opened() as store:
        held = store.claim_shard(UID, 1, "pod", store.now())
        assert held is not None
        before = planned.job
        planned.add_photos(3, start=12)
        planned.plan()
        assert planned.job == before
        assert [(each.start, each.stop) for each in planned.shards] == [(0, 10), (10, 12)]
        store.heartbeat(held, store.now())  # or it would be fenced


def test_who_holds_a_shard_of_an_earlier_attempt_holds_nothing_any_more(planned: Cluster) -> None:
    with planned.opened() as store:
        held = store.claim_shard(UID, 1, "pod", store.now())
        assert held is not None
        planned.attempt = 2
        planned.plan()
        assert store.shards(UID, 1) == [] and len(store.shards(UID, 2)) == 2
        with pytest.raises(FencedError):
            store.heartbeat(held, store.now())


def test_a_collection_keeps_its_source_until_another_is_accepted(planned: Cluster) -> None:
    before, planned.attempt = planned.shards, 2
    planned.spec["collection"] = dict(OTHERS)
    with pytest.raises(SourceChangedError, match="claim team/originals"):
        planned.plan()
    assert planned.job.planned_attempt == 1 and planned.shards == before
    planned.spec["collection"]["acceptSource"] = True
    planned.plan()
    planned.spec["collection"], planned.attempt = dict(OTHERS), 3
    planned.plan()
    assert planned.job.planned_attempt == 3
