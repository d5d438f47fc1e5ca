"""What is read decides, so it is read where it is true; what is not confirmed moves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from contract.records import COLLECTION, JOB, batch, failure, image, shard
from pymongo import ReadPreference
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, WTimeoutError

from fpj_core.errors import StoreUnavailableError
from fpj_core.model import ShardBatch
from fpj_core.store.mongodb import MongoStore

UNCONFIRMED = {"code": 64, "errmsg": "waiting for replication timed out"}
ANYHOW = "readPreference=secondaryPreferred&readConcernLevel=local&w=1&journal=false"


@pytest.fixture
def mongo(mongodb_server: str) -> Iterator[MongoStore]:
    store = MongoStore(f"{mongodb_server}/fpj-test-durability?{ANYHOW}")
    yield store
    store._client.drop_database(store._db.name)
    store.close()


def test_the_url_changes_nothing_of_where_is_read_and_what_is_confirmed(mongo: MongoStore) -> None:
    for name in ("jobs", "job_shards", "images", "derivatives", "leases", "folders"):
        collection = mongo._db[name]
        assert collection.read_preference == ReadPreference.PRIMARY
        assert collection.read_concern.level == "majority"
        assert collection.write_concern.document == {"w": "majority", "j": True}


@pytest.mark.parametrize("name", ["derivatives", "failures", "images"])
def test_a_batch_that_no_majority_has_moves_no_cursor(
    mongo: MongoStore, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mongo.upsert_images([image(n) for n in range(3)], 0)
    mongo.put_shards(JOB, 1, [shard(0, 0, 3)])
    claimed = mongo.claim_shard(JOB, 1, "w", 1.0)
    assert claimed
    whole = batch(claimed, 0, 3)
    given = ShardBatch(
        **{field: getattr(whole, field) for field in whole.__slots__} | {"failures": (failure(1),)}
    )
    _unconfirmed(monkeypatch, name)
    with pytest.raises(StoreUnavailableError, match="not confirmed"):
        mongo.flush(given, 2.0)
    found = mongo.shard(JOB, 1, 0)
    assert found and (found.cursor, found.counts.completed) == (0, 0)
    monkeypatch.undo()
    mongo.flush(given, 3.0)
    found = mongo.shard(JOB, 1, 0)
    assert found and (found.cursor, found.counts.completed) == (3, 3)
    assert len(mongo.derivatives(COLLECTION, 0, 3, ["full"])) == 3


def test_images_and_plans_that_no_majority_has_are_refused(
    mongo: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _unconfirmed(monkeypatch, "images")
    with pytest.raises(StoreUnavailableError):
        mongo.upsert_images([image(0)], 0)
    _unconfirmed(monkeypatch, "job_shards")
    with pytest.raises(StoreUnavailableError):
        mongo.put_shards(JOB, 1, [shard(0, 0, 3)])


def test_a_single_write_that_no_majority_has_may_be_tried_again(
    mongo: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*_arguments: Any, **_options: Any) -> None:
        raise WTimeoutError("waiting for replication timed out", 64, UNCONFIRMED)

    monkeypatch.setattr(Collection, "update_one", write)
    with pytest.raises(StoreUnavailableError, match="not confirmed"):
        mongo.break_lease("l", "h")


def _unconfirmed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Writes to one collection are done, but answered with a write concern error only."""
    real = Collection.bulk_write

    def write(self: Collection[Any], *arguments: Any, **options: Any) -> Any:
        result = real(self, *arguments, **options)
        if self.name == name:
            raise BulkWriteError(
                {**result.bulk_api_result, "writeErrors": [], "writeConcernErrors": [UNCONFIRMED]}
            )
        return result

    monkeypatch.setattr(Collection, "bulk_write", write)
