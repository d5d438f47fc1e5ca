"""Between a check and the write that rests on it others may write.

SQLite has transactions; here the write's own filter must hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from contract.records import COLLECTION, JOB, batch, image, shard

from fpj_core.errors import FencedError
from fpj_core.kube.names import lease_name
from fpj_core.model import Counts, Shard, ShardState
from fpj_core.store.mongodb import MongoStore

LOCK = lease_name(COLLECTION)


@pytest.fixture
def mongo(mongodb_server: str) -> Iterator[MongoStore]:
    store = MongoStore(f"{mongodb_server}/fpj-test-races")
    yield store
    store._client.drop_database(store._db.name)
    store.close()


def once_after(
    store: MongoStore, step: str, others: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Have ``others`` write once that step of the store has been done."""
    usual = getattr(store, step)

    def then(*arguments: Any) -> Any:
        found = usual(*arguments)
        monkeypatch.undo()
        others()
        return found

    monkeypatch.setattr(store, step, then)


@pytest.mark.parametrize("write", ["replace", "delete"])
def test_what_is_written_under_an_earlier_lock_changes_no_image_of_a_later(
    mongo: MongoStore, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    late = mongo.acquire_lease(LOCK, "a", 10, now=100)
    mongo.upsert_images([image(0)], late.fence)

    def others() -> None:
        now = mongo.acquire_lease(LOCK, "b", 10, now=111)
        mongo.upsert_images([image(0, version="v2")], now.fence)

    once_after(mongo, "_check_fence", others, monkeypatch)
    if write == "replace":
        with pytest.raises(FencedError):
            mongo.upsert_images([image(0, version="late")], late.fence)
    else:
        mongo.mark_deleted(COLLECTION, [0], late.fence)
    assert [each.version for each in mongo.images(COLLECTION, 0, 9)] == ["v2"]


def test_a_plan_that_is_written_late_replaces_no_shard_of_a_later(
    mongo: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    once_after(
        mongo, "_check_plan", lambda: mongo.put_shards(JOB, 1, [shard(0, 0, 600)]), monkeypatch
    )
    with pytest.raises(FencedError):
        mongo.put_shards(JOB, 1, [shard(0, 0, 5), shard(1, 5, 9)])
    assert [(found.start, found.stop) for found in mongo.shards(JOB, 1)] == [(0, 600)]


def test_what_a_planner_puts_late_and_dies_over_is_no_part_of_the_plan(
    mongo: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying() -> Iterator[Shard]:
        yield shard(1, 5, 9)
        raise KeyboardInterrupt

    monkeypatch.setattr("fpj_core.store.mongodb_jobs._STEP", 1)
    once_after(
        mongo, "_check_plan", lambda: mongo.put_shards(JOB, 1, [shard(0, 0, 600)]), monkeypatch
    )
    with pytest.raises(KeyboardInterrupt):
        mongo.put_shards(JOB, 1, dying())
    assert [(found.start, found.stop) for found in mongo.shards(JOB, 1)] == [(0, 600)]
    assert mongo.job_counts(JOB, 1) == (Counts(), {ShardState.PENDING: 1})


def test_a_batch_of_a_holder_that_was_just_replaced_counts_nothing(
    mongo: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    mongo.upsert_images([image(n) for n in range(3)], 0)
    mongo.put_shards(JOB, 1, [shard(0, 0, 3)])
    late = mongo.claim_shard(JOB, 1, "a", 100.0)
    assert late
    once_after(mongo, "_record", lambda: mongo.claim_shard(JOB, 1, "b", 200.0), monkeypatch)
    with pytest.raises(FencedError):
        mongo.flush(batch(late, 0, 3), 100.0)
    found = mongo.shard(JOB, 1, 0)
    assert found and (found.holder, found.cursor, found.counts) == ("b", 0, Counts())
