"""A store of an earlier schema becomes one of today's, also after a kill on the way,
and once however many try.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bson import json_util
from contract.records import COLLECTION, JOB, batch
from pymongo import MongoClient
from pymongo.collection import Collection

from fpj_core.errors import FencedError, StoreError
from fpj_core.kube.names import lease_name
from fpj_core.model import Folder, Layout, ShardState
from fpj_core.store import open_store
from fpj_core.store.counters import CounterCheck
from fpj_core.store.protocol import CollectionStatistics, Store

DUMPS = Path(__file__).parent / "schemas"
"""Written by the code of schema 1: a running job in its second attempt,
and a finished one of `fpj run`.
"""


class Killed(BaseException):
    """The process is gone: nothing after it runs."""


@pytest.fixture
def old_sqlite(tmp_path: Path) -> str:
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as db:
        db.executescript((DUMPS / "1.sql").read_text())
    db.close()
    return str(path)


@pytest.fixture
def old_mongodb(mongodb_server: str) -> Iterator[str]:
    name = f"fpj-test-{uuid.uuid4().hex[:12]}"
    with MongoClient[dict[str, Any]](mongodb_server) as client:
        for collection, documents in json_util.loads((DUMPS / "1.json").read_text()).items():
            client[name][collection].insert_many(documents)
        client[name].shards.create_index([("job", 1), ("index", 1)], unique=True)
        yield f"{mongodb_server}/{name}"
        client.drop_database(name)


@pytest.fixture(params=["sqlite", "mongodb"])
def old(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"old_{request.param}"))


def check(store: Store) -> None:
    """All that was recorded is there, in today's form."""
    job = store.get_job(JOB)
    assert job
    assert (job.planned_attempt, job.planned_shards, job.base.skipped, job.total) == (2, 2, 1, 11)
    first, second = store.shards(JOB, 2)
    assert (first.attempt, first.state, first.cursor, first.counts.completed) == (
        2,
        ShardState.SUCCEEDED,
        5,
        4,
    )
    assert (second.state, second.cursor, second.stop, second.holder) == (
        ShardState.RUNNING,
        7,
        10,
        "pod-1",
    )
    assert store.shards(JOB, 1) == []
    counts, states = store.job_counts(JOB, 2)
    assert (counts.completed, counts.failed, counts.errors) == (6, 1, {"TooLarge": 1})
    assert states == {ShardState.SUCCEEDED: 1, ShardState.RUNNING: 1}
    assert [failure.ordinal for failure in store.failures(JOB)] == [4]
    local = store.get_job("local-1")
    assert local and local.planned_shards == 0
    held = store.lease(lease_name(COLLECTION))
    assert held and (held.holder, held.fence) == (JOB, 1)
    assert [len(store.images(name, 0, 99)) for name in (COLLECTION, "album")] == [11, 1]
    assert {image.captured_at for image in store.images(COLLECTION, 0, 99)} == {None}
    assert store.folder_totals("cache") == (7, 63, 1)
    mine = CollectionStatistics(COLLECTION, 11, 1155, {"full": (6, 60), "thumbnail": (1, 3)})
    assert store.statistics() == [CollectionStatistics("album", 1, 100, {}), mine]
    assert list(store.verify_counters()) == [CounterCheck("album"), CounterCheck(COLLECTION)]
    assert len(store.identity()) == 32
    assert [store.collection_source(name) for name in (COLLECTION, "album")] == [None, None]


def test_all_of_it_is_there(old: str) -> None:
    store = open_store(old)
    check(store)
    identity = store.identity()
    store.close()
    store = open_store(old)
    check(store)
    assert store.identity() == identity
    store.close()


def test_whoever_held_a_shard_is_fenced_and_the_work_goes_on(old: str) -> None:
    store = open_store(old)
    _, running = store.shards(JOB, 2)
    before = json_util.loads((DUMPS / "1.json").read_text())["shards"][1]
    assert running.epoch > before["epoch"]
    taken = store.claim_shard(JOB, 2, "pod-2", 200.0, index=1)
    assert taken
    store.flush(
        batch(taken, 7, 10).__class__(**_fields(batch(taken, 7, 10)) | {"attempt": 2}), 201.0
    )
    assert store.job_counts(JOB, 2)[0].completed == 9
    with pytest.raises(FencedError):
        store.finish_shard(running, ShardState.SUCCEEDED, 202.0)
    store.close()


def _fields(found: Any) -> dict[str, Any]:
    return {name: getattr(found, name) for name in found.__slots__}


@pytest.mark.parametrize("writes", range(1, 9))
def test_a_migration_that_was_killed_is_done_by_the_next(
    old_mongodb: str, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many writes; SQLite migrates in one transaction."""
    left = [writes]

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def write(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return real(*arguments, **options)

        return write

    for name in ("update_one", "bulk_write", "delete_many"):
        monkeypatch.setattr(Collection, name, dying(getattr(Collection, name)))
    with pytest.raises(Killed):
        open_store(old_mongodb)
    monkeypatch.undo()
    store = open_store(old_mongodb)
    check(store)
    store.close()


def test_a_migration_of_sqlite_that_was_killed_changed_nothing(
    old_sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fpj_core.store import sqlite_connection
    from fpj_core.store.sqlite_schema import MIGRATIONS

    broken = {1: MIGRATIONS[1] + ";\nSELECT * FROM nowhere"}
    monkeypatch.setattr(sqlite_connection, "MIGRATIONS", broken)
    with pytest.raises(StoreError):
        open_store(old_sqlite)
    monkeypatch.undo()
    store = open_store(old_sqlite)
    check(store)
    store.close()


def test_several_may_migrate_at_once(old: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        for store in threads.map(open_store, [old] * 4):
            store.close()
    store = open_store(old)
    check(store)
    store.close()


def test_a_newer_schema_is_refused_and_left_alone(old_mongodb: str, mongodb_server: str) -> None:
    open_store(old_mongodb).close()
    with MongoClient[dict[str, Any]](mongodb_server) as client:
        meta = client[old_mongodb.rpartition("/")[2]].meta
        meta.update_one({"_id": "store"}, {"$set": {"schema": 999}})
        with pytest.raises(StoreError, match=r"newer fpj.*schema 999"):
            open_store(old_mongodb)
        assert (meta.find_one() or {})["schema"] == 999


def test_a_newer_schema_of_sqlite_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    open_store(str(path)).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 999")
        with pytest.raises(StoreError, match=r"newer fpj.*schema 999"):
            open_store(str(path))
        assert db.execute("PRAGMA user_version").fetchone() == (999,)


def test_a_store_of_schema_4_is_migrated_and_keeps_all(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as db:
        db.executescript((DUMPS / "4.sql").read_text())
        assert db.execute("PRAGMA user_version").fetchone() == (4,)
    db.close()
    store = open_store(str(path))
    assert {each.captured_at for each in store.images(COLLECTION, 0, 99)} == {"2024-05-01T12:30:00"}
    assert [(each.name, each.layout, each.mirrored) for each in store.folders()] == [
        ("cache", Layout.HASHED, None)
    ]
    assert store.claim_names(COLLECTION, [("0" * 32, "image")]) == {"0" * 32: "image"}
    store.close()


def test_a_store_of_schema_5_is_migrated_and_keeps_all(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as db:
        db.executescript((DUMPS / "5.sql").read_text())
        assert db.execute("PRAGMA user_version").fetchone() == (5,)
    db.close()
    store = open_store(str(path))
    assert store.folders() == [
        Folder("cache", "/cache", 2, 10**9, 7, 63, 1, layout=Layout.HASHED, reach=None)
    ]
    store.upsert_folder(replace(store.folders()[0], reach="{}"))
    assert store.folders()[0].reach == "{}"
    store.close()


def test_a_folder_that_an_earlier_version_recorded_in_mongodb_is_hashed(old_mongodb: str) -> None:
    store = open_store(old_mongodb)
    assert [each.layout for each in store.folders()] == [Layout.HASHED]
    store.close()


def test_a_store_of_schema_2_is_migrated_and_keeps_all(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as db:
        db.executescript((DUMPS / "2.sql").read_text())
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
    db.close()
    store = open_store(str(path))
    check(store)
    store.record_source("album", "folder /album", 0)
    assert store.collection_source("album") == "folder /album"
    store.close()


def test_a_store_of_schema_3_is_migrated_and_records_times_of_capture(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as db:
        db.executescript((DUMPS / "3.sql").read_text())
        assert db.execute("PRAGMA user_version").fetchone() == (3,)
    db.close()
    store = open_store(str(path))
    assert store.collection_source("album") == "folder /album"
    before = store.images(COLLECTION, 0, 99)
    assert {each.captured_at for each in before} == {None}
    assert {each.width for each in before} > {None}, "what was known stays"
    store.upsert_images([replace(each, captured_at="2024-05-01T12:30:00") for each in before], 1)
    assert {each.captured_at for each in store.images(COLLECTION, 0, 99)} == {"2024-05-01T12:30:00"}
    store.close()


def test_the_dumps_are_of_schema_1() -> None:
    assert "PRAGMA user_version = 1" in (DUMPS / "1.sql").read_text()
    assert "meta" not in json.loads((DUMPS / "1.json").read_text())
