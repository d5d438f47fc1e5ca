"""Room in folders, in MongoDB.

A reservation is written first, and then taken back if it does not fit with all the others: of two
that ask at the same time at least one sees the other's. No document is written by all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from pymongo import ReturnDocument
from pymongo.collection import Collection
from typing_extensions import override

from fpj_core.store.counters import Amount
from fpj_core.store.mongodb_connection import Document, translated
from fpj_core.store.mongodb_removals import MongoRemovals
from fpj_core.store.room import RESERVED_SECONDS, Content, Reservations, Room, room

_WINDOW = 5_000
_ANSWER_MS = 10_000
_CONTENT = {"ordinal": 1, "tier": 1, "bytes": 1, "cost_ms": 1, "created_at": 1, "folder": 1}


class MongoRoom(MongoRemovals, Reservations):
    """The reservations of a store."""

    @override
    def reserve(self, folder: str, holder: str, size: int) -> Room:
        key, now = json.dumps([folder, holder]), self.now()
        wish = {"$set": {"folder": folder, "holder": holder, "bytes": size, "at": now}}
        reservations = self._db.reservations
        with translated():
            before = reservations.find_one_and_update(
                {"_id": key}, wish, upsert=True, return_document=ReturnDocument.BEFORE
            )
            others = {"folder": folder, "_id": {"$ne": key}, "at": {"$gte": now - RESERVED_SECONDS}}
            # What others have reserved is read before what is recorded: a batch that is recorded
            # in between counts twice rather than not at all.
            reserved = _bytes(reservations, others)
            used = self.folder_totals(folder)[1] + _bytes(self._db.removals, {"folder": folder})
            record = self._db.folders.find_one({"_id": folder}, {"max_bytes": 1}) or {}
            answer = room(record.get("max_bytes"), used, reserved, size)
            if not answer.granted and before:
                reservations.update_one({"_id": key}, {"$set": {"bytes": before["bytes"]}})
            elif not (answer.granted and size):
                reservations.delete_one({"_id": key})
        return answer

    @override
    def folder_amounts(self, folder: str) -> dict[tuple[str, str], Amount]:
        query = {"folder": folder, "files": {"$gt": 0}}
        with translated():
            found = self._db.counters.find(query).max_time_ms(_ANSWER_MS)
            amounts = {(c["collection"], c["tier"]): (c["files"], c["bytes"]) for c in found}
        return dict(sorted(amounts.items()))

    @override
    def contents(
        self, folder: str, collection: str, on_step: Callable[[], None]
    ) -> Iterator[Content]:
        with translated():
            last = self._db.derivatives.find_one(
                {"collection": collection}, {"ordinal": 1}, sort=[("ordinal", -1)]
            )
        for start in range(0, last["ordinal"] + 1 if last else 0, _WINDOW):
            within = {"collection": collection, "ordinal": {"$gte": start, "$lt": start + _WINDOW}}
            with translated():
                found = list(
                    self._db.derivatives.find(within, _CONTENT).sort([("ordinal", 1), ("tier", 1)])
                )
            yield from (_content(each) for each in found if each["folder"] == folder)
            on_step()


def _content(document: Document) -> Content:
    cost = document.get("cost_ms", 0)  # earlier versions recorded none
    where = document["ordinal"], document["tier"]
    return Content(*where, document["bytes"], cost, document["created_at"])


def _bytes(collection: Collection[Document], query: Document) -> int:
    pipeline: list[Any] = [
        {"$match": query},
        {"$group": {"_id": None, "bytes": {"$sum": "$bytes"}}},
    ]
    found = list(collection.aggregate(pipeline, maxTimeMS=_ANSWER_MS))
    return int(found[0]["bytes"]) if found else 0
