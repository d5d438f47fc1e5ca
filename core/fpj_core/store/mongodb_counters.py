"""Counters in MongoDB, changed right after what they count.

What a write changed is known from the records before it and from the server's answer. A writer that
dies between the two leaves a batch uncounted, which `repair_counters` finds. An increment that
failed is owed, and made with the next.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from pymongo import InsertOne, ReplaceOne, UpdateOne
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import BulkWriteError, DuplicateKeyError
from typing_extensions import override

from fpj_core.errors import StoreError
from fpj_core.model import Folder, Layout
from fpj_core.store.counters import IMAGES, Amount, Counted, CounterCheck, Place, add, check
from fpj_core.store.mongodb_connection import Document, translated, unacknowledged
from fpj_core.store.protocol import CollectionStatistics, FolderShares, Statistics, nothing

_DUPLICATE_KEY = 11000
_ANSWER_MS = 10_000
_FOLDER_FIELDS = frozenset(field.name for field in fields(Folder)) - {"name"}
_TRIES = 5


class MongoCounters(Statistics, Counted):
    """The counters of a store."""

    def __init__(self, database: Database[Document]) -> None:
        self._db = database
        self._owed: dict[str, dict[Place, Amount]] = {}
        self._owed_lock = threading.Lock()

    @override
    def folder_totals(self, name: str) -> tuple[int, int, int]:
        pipeline: list[Any] = [
            {"$match": {"folder": name, "files": {"$gt": 0}}},
            {
                "$group": {
                    "_id": "$collection",
                    "files": {"$sum": "$files"},
                    "bytes": {"$sum": "$bytes"},
                }
            },
            {
                "$group": {
                    "_id": None,
                    "files": {"$sum": "$files"},
                    "bytes": {"$sum": "$bytes"},
                    "collections": {"$sum": 1},
                }
            },
        ]
        with translated():
            found = list(self._db.counters.aggregate(pipeline, maxTimeMS=_ANSWER_MS))
        return (
            (found[0]["files"], found[0]["bytes"], found[0]["collections"]) if found else (0, 0, 0)
        )

    @override
    def folder_shares(self, name: str, most: int) -> FolderShares:
        return FolderShares(
            self._shares(name, most, "$tier"), self._shares(name, most, "$collection")
        )

    def _shares(self, folder: str, most: int, group: str) -> dict[str, Amount]:
        sums = {"files": {"$sum": "$files"}, "bytes": {"$sum": "$bytes"}}
        pipeline: list[Any] = [
            {"$match": {"folder": folder, "files": {"$gt": 0}}},
            {"$group": {"_id": group} | sums},
            {"$sort": {"bytes": -1, "_id": 1}},
            {"$limit": most},
        ]
        with translated():
            found = self._db.counters.aggregate(pipeline, maxTimeMS=_ANSWER_MS)
            return {each["_id"]: (each["files"], each["bytes"]) for each in found}

    @override
    def refresh_folder(self, name: str) -> Folder:
        files, size, collections = self.folder_totals(name)
        totals = {"files": files, "bytes": size, "collections": collections}
        with translated():
            self._db.folders.update_one({"_id": name}, {"$set": totals})
            document = self._db.folders.find_one({"_id": name})
        if document is None:
            raise StoreError(f"folder {name} is not recorded")
        return folder_of(document)

    @override
    def statistics(
        self, collection: str | None = None, namespace: str | None = None
    ) -> list[CollectionStatistics]:
        chosen: Any = {"$gt": ""}
        if collection is not None:
            chosen = collection
        elif namespace is not None:
            chosen = {"$gte": f"{namespace}.", "$lt": f"{namespace}/"}
        by_tier: dict[str, dict[Place, Amount]] = {}
        with translated():
            for each in self._db.counters.find({"collection": chosen}).max_time_ms(_ANSWER_MS):
                if each["files"] > 0:
                    tiers = by_tier.setdefault(each["collection"], {})
                    add(tiers, {("", each["tier"]): (each["files"], each["bytes"])})
            images = list(
                self._db.image_counters.find({"_id": chosen}).sort("_id", 1).max_time_ms(_ANSWER_MS)
            )
        return [
            CollectionStatistics(
                each["_id"],
                each["files"],
                each["bytes"],
                {
                    tier: amount
                    for (_, tier), amount in sorted(by_tier.get(each["_id"], {}).items())
                },
            )
            for each in images
            if each["files"] > 0
        ]

    @override
    def verify_counters(
        self, collection: str | None = None, on_step: Callable[[], None] = nothing
    ) -> Iterator[CounterCheck]:
        return check(self, collection, on_step, repair=False)

    @override
    def repair_counters(
        self, collection: str | None = None, on_step: Callable[[], None] = nothing
    ) -> Iterator[CounterCheck]:
        return check(self, collection, on_step, repair=True)

    # What is counted ------------------------------------------------------------------------------

    @override
    def counted_collections(self) -> list[str]:
        with translated():
            found = {
                *self._db.images.distinct("collection"),
                *self._db.derivatives.distinct("collection"),
                *self._db.counters.distinct("collection"),
                *self._db.image_counters.distinct("_id"),
            }
        return sorted(found)

    @override
    def recorded_amounts(self, collection: str) -> dict[Place, Amount]:
        with translated():
            found = {
                (each["folder"], each["tier"]): (each["files"], each["bytes"])
                for each in self._db.counters.find({"collection": collection})
            }
            images = self._db.image_counters.find_one({"_id": collection})
        return found | ({IMAGES: (images["files"], images["bytes"])} if images else {})

    @override
    def last_ordinal(self, collection: str) -> int:
        with translated():
            last = [
                each.find_one({"collection": collection}, {"ordinal": 1}, sort=[("ordinal", -1)])
                for each in (self._db.images, self._db.derivatives)
            ]
        return max(document["ordinal"] if document else -1 for document in last)

    @override
    def count_window(self, collection: str, start: int, stop: int) -> dict[Place, Amount]:
        within: Document = {"collection": collection, "ordinal": {"$gte": start, "$lt": stop}}
        grouped: list[Any] = [
            {"$match": within},
            {
                "$group": {
                    "_id": {"folder": "$folder", "tier": "$tier"},
                    "files": {"$sum": 1},
                    "bytes": {"$sum": "$bytes"},
                }
            },
        ]
        with translated():
            counted = {
                (each["_id"]["folder"], each["_id"]["tier"]): (each["files"], each["bytes"])
                for each in self._db.derivatives.aggregate(grouped)
            }
            live = {IMAGES: _sum(self._db.images.find(within, {"size": 1, "deleted": 1}))}
        return counted | (live if live[IMAGES] != (0, 0) else {})

    @override
    def set_amount(self, collection: str, place: Place, recorded: Amount, counted: Amount) -> bool:
        counters, key, fixed = self._counter(collection, place)
        change: Document = {"$set": {"files": counted[0], "bytes": counted[1]}}
        change |= {"$setOnInsert": fixed} if fixed else {}
        query = {"_id": key, "files": recorded[0], "bytes": recorded[1]}
        with translated():
            try:  # a counter of zeros may not be there yet
                result = counters.update_one(query, change, upsert=recorded == (0, 0))
            except DuplicateKeyError:
                return False
        return bool(result.matched_count or result.upserted_id)

    # Counting -------------------------------------------------------------------------------------

    def _count(self, collection: str, change: Mapping[Place, Amount]) -> None:
        """Change counters by so much, and by what is owed."""
        with self._owed_lock:
            owed = self._owed.setdefault(collection, {})
            add(owed, change)
            for place, (files, size) in list(owed.items()):
                if (files, size) != (0, 0):
                    self._increment(collection, place, files, size)
                del owed[place]

    def _increment(self, collection: str, place: Place, files: int, size: int) -> None:
        counters, key, fixed = self._counter(collection, place)
        change: Document = {"$inc": {"files": files, "bytes": size}} | (
            {"$setOnInsert": fixed} if fixed else {}
        )
        for attempt in range(_TRIES):
            try:
                counters.update_one({"_id": key}, change, upsert=True)
            except DuplicateKeyError:  # another process made it at the same moment
                if attempt == _TRIES - 1:
                    raise
            else:
                return

    def _counter(self, collection: str, place: Place) -> tuple[Collection[Document], str, Document]:
        if place == IMAGES:
            return self._db.image_counters, collection, {}
        folder, tier = place
        key = json.dumps([folder, collection, tier])
        return self._db.counters, key, {"folder": folder, "collection": collection, "tier": tier}


def upserted(
    collection: Collection[Document],
    upserts: Sequence[UpdateOne | ReplaceOne[Document] | InsertOne[Document]],
) -> tuple[set[int], set[int]]:
    """Write upserts whose filters want an older fence or epoch.

    Gives the places of those that were inserted, and of those that found a newer record, which
    stays. An upsert that finds only a newer record tries to insert and collides.
    """
    try:
        result = collection.bulk_write(upserts, ordered=False)
    except BulkWriteError as error:
        failed = error.details["writeErrors"]
        if any(each["code"] != _DUPLICATE_KEY for each in failed) or unacknowledged(error):
            raise
        return {each["index"] for each in error.details["upserted"]}, {
            each["index"] for each in failed
        }
    return set(result.upserted_ids or ()), set()


def folder_of(document: Document) -> Folder:
    """A folder's record; earlier versions wrote none of a layout."""
    known = {name: document[name] for name in _FOLDER_FIELDS if name in document}
    return Folder(
        name=document["_id"], **known | {"layout": Layout(document.get("layout", Layout.HASHED))}
    )


def _sum(images: Iterator[Mapping[str, Any]] | Any) -> Amount:
    files = size = 0
    for image in images:
        if not image["deleted"]:
            files += 1
            size += image["size"]
    return files, size
