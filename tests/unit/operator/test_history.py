"""What the store forgets of deleted jobs, and what it keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.operator.leases_world import health_of
from unit.operator.world import SETTINGS

from fpj_core.kube.errors import ClusterError
from fpj_core.model import Job, Phase
from fpj_core.store import Store, open_store
from fpj_operator.jobs.history import key_of, prune
from fpj_operator.keys import Key

NOW = 2_000_000_000.0
DAY = 86_400.0
KEEPS = replace(SETTINGS, history_limit=3, history_seconds=30 * DAY)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(str(tmp_path / "store.db"))
    yield store
    store.close()


def put(
    store: Store,
    name: str,
    *,
    days: float,
    phase: Phase = Phase.COMPLETED,
    namespace: str = "team",
    **more: Any,
) -> str:
    """A job that ended so many days ago, or made its last progress then."""
    uid = f"uid-of-{name}"
    at = NOW - days * DAY
    job = Job(
        id=uid,
        name=name,
        collection=f"{namespace}.photos",
        manifest={"metadata": {"name": name, "namespace": namespace, "uid": uid}},
        digest="",
        phase=phase,
        created_at=at,
        finished_at=at if phase.finished else None,
        last_progress_at=at,
    )
    store.create_job(replace(job, **more))
    return uid


def pruned(
    store: Store, there: set[str] | None = None, settings: Any = KEEPS, *, error: int | None = None
) -> set[str]:
    """The names that are left. ``there`` have their resource still."""

    async def uid_of(key: Key) -> str | None:
        if error is not None:
            raise ClusterError(error, "no")
        return f"uid-of-{key.name}" if key.name in (there or set()) else None

    asyncio.run(prune(store, health_of(store), uid_of, settings, NOW))
    return {job.name for job in store.jobs(limit=1_000)}


def test_the_newest_of_each_collection_are_kept(store: Store) -> None:
    for day in range(6):
        put(store, f"job-{day}", days=day)
    put(store, "other", days=5, collection="team.drawings")
    assert pruned(store) == {"job-0", "job-1", "job-2", "other"}


def test_what_is_too_old_goes(store: Store) -> None:
    put(store, "old", days=31)
    put(store, "young", days=29)
    assert pruned(store) == {"young"}


def test_what_has_its_resource_stays(store: Store) -> None:
    for day in range(5):
        put(store, f"job-{day}", days=40 + day)
    assert pruned(store, {"job-0", "job-4"}) == {"job-0", "job-4"}


def test_a_namesake_is_another_job(store: Store) -> None:
    uid = put(store, "job", days=40)

    async def another(_: Key) -> str | None:
        return "uid-of-another"

    assert asyncio.run(prune(store, health_of(store), another, KEEPS, NOW)) == 1
    assert store.get_job(uid) is None


def test_an_unfinished_job_is_never_forgotten_before_it_ended(store: Store) -> None:
    """Deleted while no operator ran, it is cancelled first, and kept as long as any other then."""
    uid = put(store, "running", days=40, phase=Phase.RUNNING)
    put(store, "waiting", days=40, phase=Phase.PENDING)
    assert pruned(store, {"waiting"}) == {"running", "waiting"}
    found = store.get_job(uid)
    assert found is not None and (found.phase, found.finished_at) == (Phase.CANCELLED, NOW)
    assert pruned(store, {"waiting"}) == {"running", "waiting"}


def test_nothing_goes_when_the_cluster_does_not_say(store: Store) -> None:
    put(store, "old", days=400)
    for status in (0, 403, 500):
        with pytest.raises(ClusterError):
            pruned(store, error=status)
    assert {job.name for job in store.jobs()} == {"old"}


def test_what_is_not_ours_stays(store: Store) -> None:
    """Jobs of `fpj run` have no resource; of other namespaces we cannot know."""
    put(store, "local", days=400, manifest={"metadata": {"name": "local"}})
    put(store, "elsewhere", days=400, namespace="another")
    put(store, "ours", days=400)
    assert pruned(store, settings=replace(KEEPS, namespaces=("team",))) == {"local", "elsewhere"}


def test_limits_can_be_switched_off(store: Store) -> None:
    for day in range(5):
        put(store, f"job-{day}", days=100 * day)
    assert len(pruned(store, settings=replace(KEEPS, history_limit=0, history_seconds=0.0))) == 5
    assert len(pruned(store, settings=replace(KEEPS, history_limit=0))) == 1


def test_a_pass_is_bounded_and_the_next_goes_on(store: Store) -> None:
    """Also where all began in the same second, and where the API
    server finds some of them still.
    """
    for number in range(400):
        put(store, f"job-{number}", days=40)
    there = {f"job-{number}" for number in range(0, 400, 7)}
    assert len(pruned(store, there)) >= 200
    for _ in range(3):
        left = pruned(store, there)
    assert left == there


def test_the_resource_of_a_job() -> None:
    job = Job(
        "u", "n", "team.photos", {"metadata": {"name": "n", "namespace": "team", "uid": "u"}}, ""
    )
    assert key_of(job) == Key("team", "n")
    assert key_of(replace(job, manifest={"metadata": {"name": "n", "namespace": "team"}})) is None
    assert key_of(replace(job, manifest={})) is None


def test_a_job_that_ends_while_its_resource_is_asked_for_keeps_its_end(store: Store) -> None:
    uid = put(store, "running", days=40, phase=Phase.RUNNING)

    async def ended_meanwhile(_: Key) -> None:
        found = store.get_job(uid)
        assert found is not None
        store.update_job(replace(found, phase=Phase.COMPLETED, finished_at=NOW - 1))

    asyncio.run(prune(store, health_of(store), ended_meanwhile, KEEPS, NOW))
    found = store.get_job(uid)
    assert found is not None and (found.phase, found.finished_at) == (Phase.COMPLETED, NOW - 1)
