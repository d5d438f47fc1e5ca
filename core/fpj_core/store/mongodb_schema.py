"""The schema of a MongoDB store: its version, and the way from one version to the next.

Each migration may be killed anywhere and started again, and may run in several processes at a time:
every step of it sets what is not set yet. The version is raised last.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from pymongo import ReturnDocument, UpdateOne
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from fpj_core.errors import StoreError
from fpj_core.store.mongodb_connection import INDEXES, Document

SCHEMA_VERSION = 3
_FIRST = 1
"""Of stores that say nothing of their version."""
_WINDOW = 1_000
_TRIES = 5
_STORE = {"_id": "store"}


def prepare(database: Database[Document]) -> None:
    """Bring the store to the version that this code knows. Raises `StoreError` for a newer one."""
    found = database.meta.find_one(_STORE) or {}
    version = int(found.get("schema", _FIRST))
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"the store was written by a newer fpj (schema {version},"
            f" known: {SCHEMA_VERSION}): use that version, or"
            " restore an earlier backup"
        )
    for name, indexes in INDEXES.items():
        database[name].create_indexes(indexes)
    for step in range(version, SCHEMA_VERSION):
        MIGRATIONS[step](database)
        _raise_to(database, step + 1)


def is_empty(database: Database[Document]) -> bool:
    """Whether nothing was ever kept in it."""
    return not database.list_collection_names()


def identity_of(database: Database[Document]) -> str:
    """What tells this store from others, made when it is first asked for:
    a store that was emptied gets another.
    """
    made = {"$setOnInsert": {"identity": uuid.uuid4().hex, "schema": SCHEMA_VERSION}}
    for _ in range(_TRIES):
        with suppress(DuplicateKeyError):  # another process was first
            found = database.meta.find_one_and_update(
                _STORE, made, upsert=True, return_document=ReturnDocument.AFTER
            )
            return str((found or {})["identity"])
    raise StoreError("MongoDB refused: the store's identity cannot be recorded")


def _raise_to(database: Database[Document], version: int) -> None:
    new = {"$setOnInsert": {"identity": uuid.uuid4().hex}, "$max": {"schema": version}}
    for _ in range(_TRIES):
        with suppress(DuplicateKeyError):
            database.meta.update_one(_STORE, new, upsert=True)
            return
    raise StoreError("MongoDB refused: the store's schema cannot be recorded")


# 1 to 2 -------------------------------------------------------------------------------------------


def _to_2(database: Database[Document]) -> None:
    """Shards belong to an attempt and lie in ``job_shards``; records are counted."""
    for window in _windows(database.jobs, {"planned_shards": {"$exists": False}}):
        for each in window:
            shards = database.shards.count_documents({"job": each["_id"]})
            database.jobs.update_one(
                {"_id": each["_id"], "planned_shards": {"$exists": False}},
                {"$set": {"planned_shards": shards}, "$inc": {"version": 1}},
            )
    for window in _windows(database.shards, {}):
        attempts = _attempts(database, {each["job"] for each in window})
        database.job_shards.bulk_write(
            [_moved(each, attempts.get(each["job"], 0)) for each in window], ordered=False
        )
        database.shards.delete_many({"_id": {"$in": [each["_id"] for each in window]}})
    from fpj_core.store.mongodb_counters import MongoCounters  # noqa: PLC0415 - which needs the connection's module

    for _ in MongoCounters(database).repair_counters():
        pass


def _attempts(database: Database[Document], jobs: set[str]) -> dict[str, int]:
    found = database.jobs.find({"_id": {"$in": sorted(jobs)}}, {"planned_attempt": 1})
    return {each["_id"]: each.get("planned_attempt", 0) for each in found}


def _moved(shard: Mapping[str, object], attempt: int) -> UpdateOne:
    """A shard at its new place, its holder fenced; one that is there already has gone on since."""
    key = f"{shard['job']}:{attempt}:{shard['index']}"
    fields = {name: value for name, value in shard.items() if name != "_id"}
    fields |= {"attempt": attempt, "epoch": int(str(shard["epoch"])) + 1}
    return UpdateOne({"_id": key}, {"$setOnInsert": fields}, upsert=True)


def _windows(collection: Collection[Document], query: Document) -> Iterator[list[Document]]:
    """Documents that match, by ``_id``, a thousand at a time."""
    last: Document = {"_id": {"$gt": ""}}
    while window := list(collection.find(query | last).sort("_id", 1).limit(_WINDOW)):
        yield window
        last = {"_id": {"$gt": window[-1]["_id"]}}


# 2 to 3 -------------------------------------------------------------------------------------------


def _to_3(database: Database[Document]) -> None:
    """Images that vanished say when: those that vanished before, at this moment."""
    for window in _windows(database.images, {"deleted": True, "deleted_at": {"$exists": False}}):
        database.images.update_many(
            {"_id": {"$in": [each["_id"] for each in window]}, "deleted": True},
            {"$set": {"deleted_at": time.time()}},
        )


MIGRATIONS: Mapping[int, Callable[[Database[Document]], None]] = {1: _to_2, 2: _to_3}
"""By version, what leads to the next."""
