"""Removals in MongoDB.

A removal is written before the record of its derivative is deleted. A writer that dies in between
leaves both, and the removal says so (`Removal.recorded`): the file stays, and whoever wanted to
remove it finds its derivative again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields

from pymongo import UpdateOne
from typing_extensions import override

from fpj_core.kube.names import lease_name
from fpj_core.model import Derivative, Removal, RemovalReason
from fpj_core.store.codec import lock_lost, windows
from fpj_core.store.counters import Amount, Place, add
from fpj_core.store.mongodb_connection import Document, translated
from fpj_core.store.mongodb_counters import MongoCounters
from fpj_core.store.removals import Removals

_WINDOW = 5_000
_FIELDS = frozenset(field.name for field in fields(Removal)) - {"recorded"}
_FILE = {"ordinal": 1, "tier": 1, "folder": 1, "path": 1, "bytes": 1}


class MongoRemovals(MongoCounters, Removals):
    """The removals of a store."""

    def now(self) -> float:
        """See `fpj_core.store.protocol.Store`."""
        raise NotImplementedError

    @override
    def vanished(
        self, collection: str, until: float, on_step: Callable[[], None]
    ) -> Iterator[tuple[int, str, str]]:
        last = 0.0
        known: set[int] = set()  # of those marked at that moment, at most as many as one call marks
        while True:
            query = {"collection": collection, "deleted_at": {"$gte": last, "$lte": until}}
            with translated():
                images = list(
                    self._db.images.find(query, {"_id": 0, "ordinal": 1, "key": 1, "deleted_at": 1})
                    .sort("deleted_at", 1)
                    .limit(_WINDOW)
                )
                keys = {i["ordinal"]: i["key"] for i in images if i["ordinal"] not in known}
                if not keys:
                    return
                files = self._db.derivatives.find(
                    {"collection": collection, "ordinal": {"$in": sorted(keys)}},
                    {"_id": 0, "ordinal": 1, "tier": 1},
                )
                found = [(f["ordinal"], f["tier"], keys[f["ordinal"]]) for f in files]
            yield from found
            on_step()
            last = images[-1]["deleted_at"]
            known = {each["ordinal"] for each in images if each["deleted_at"] == last}

    @override
    def start_removals(
        self, collection: str, refs: Sequence[tuple[int, str]], reason: RemovalReason, fence: int
    ) -> None:
        by_tier: dict[str, list[int]] = {}
        for ordinal, tier in refs:
            by_tier.setdefault(tier, []).append(ordinal)
        with translated():
            self._check_fence(collection, fence)
            for tier, ordinals in by_tier.items():
                query = {"collection": collection, "ordinal": {"$in": ordinals}, "tier": tier}
                found = list(self._db.derivatives.find(query, _FILE))
                self._put_removals(collection, found, reason, self.now())
                self._take(collection, found, fence)

    def _take(self, collection: str, found: Sequence[Document], fence: int) -> None:
        """Delete the records of derivatives, but those that a later fence has written since."""
        ids = [each["_id"] for each in found]
        mine = {"collection": collection, "_id": {"$in": ids}}
        self._db.derivatives.delete_many(mine | {"fence": {"$lte": fence}})
        left = {each["_id"] for each in self._db.derivatives.find(mine, {"_id": 1})}
        gone: dict[Place, Amount] = {}
        for each in found:
            if each["_id"] not in left:
                add(gone, {(each["folder"], each["tier"]): (-1, -each["bytes"])})
        self._count(collection, gone)

    def _supersede(
        self,
        collection: str,
        derivatives: Mapping[str, Derivative],
        before: Mapping[str, Document],
        now: float,
    ) -> None:
        """Make removals of what derivatives, by record id and yet to be recorded, replace under
        other names.
        """
        replaced = [
            old
            for key, old in before.items()
            if (old["folder"], old["path"]) != (derivatives[key].folder, derivatives[key].path)
        ]
        self._put_removals(collection, replaced, RemovalReason.SUPERSEDED, now)

    def _put_removals(
        self, collection: str, found: Sequence[Document], reason: RemovalReason, now: float
    ) -> None:
        upserts = [
            UpdateOne(
                {"_id": _key(collection, each)},
                {
                    "$set": {name: each[name] for name in _FILE}
                    | {"collection": collection, "reason": reason.value, "started_at": now}
                },
                upsert=True,
            )
            for each in found
        ]
        if upserts:
            self._db.removals.bulk_write(upserts, ordered=False)

    @override
    def removals(
        self, collection: str, folder: str, start: int = 0, stop: int | None = None
    ) -> Iterator[Removal]:
        for first, end in windows(start, self._end_of_removals(collection, stop)):
            within: Document = {"collection": collection, "ordinal": {"$gte": first, "$lt": end}}
            with translated():
                order = [("ordinal", 1), ("tier", 1), ("path", 1)]
                found = [
                    each
                    for each in self._db.removals.find(within).sort(order)
                    if each["folder"] == folder
                ]
                recorded = self._recorded(collection, folder, found)
            yield from (_removal(each, _key(collection, each) in recorded) for each in found)

    def _end_of_removals(self, collection: str, stop: int | None) -> int:
        with translated():
            last = self._db.removals.find_one(
                {"collection": collection}, {"ordinal": 1}, sort=[("ordinal", -1)]
            )
        end = last["ordinal"] + 1 if last else 0
        return end if stop is None else min(end, stop)

    def _recorded(self, collection: str, folder: str, found: Sequence[Document]) -> set[str]:
        """Keys of those whose file is a derivative's (again): in the folder, or in another at the
        same place.
        """
        if not found:
            return set()
        record = self._db.folders.find_one({"_id": folder}, {"location": 1})
        same = {"location": record["location"]} if record else {"_id": folder}
        names = {each["_id"] for each in self._db.folders.find(same, {"_id": 1})} | {folder}
        ordinals = sorted({each["ordinal"] for each in found})
        query = {"collection": collection, "ordinal": {"$in": ordinals}}
        return {
            _key(collection, each | {"folder": folder})
            for each in self._db.derivatives.find(query, _FILE)
            if each["folder"] in names
        }

    @override
    def removing_from(self, folder: str) -> list[str]:
        with translated():
            return sorted(self._db.removals.distinct("collection", {"folder": folder}))

    @override
    def end_removals(self, removals: Sequence[Removal]) -> None:
        keys = [_key(each.collection, asdict(each)) for each in removals]
        with translated():
            self._db.removals.delete_many({"_id": {"$in": keys}})

    @override
    def requested_tiers(self, collection: str) -> Mapping[str, Sequence[str]]:
        with translated():
            found = self._db.collections.find_one({"_id": collection}, {"requested": 1})
        return {each["job"]: each["tiers"] for each in (found or {}).get("requested", ())}

    @override
    def record_requested_tiers(
        self, collection: str, job: str, tiers: Sequence[str], fence: int
    ) -> None:
        """A list, since a job's name may hold what no field's name may."""
        requested = {**self.requested_tiers(collection), job: list(tiers)}
        pairs = [{"job": name, "tiers": list(names)} for name, names in requested.items()]
        with translated():
            self._check_fence(collection, fence)
            self._db.collections.update_one(
                {"_id": collection}, {"$set": {"requested": pairs}}, upsert=True
            )

    def _check_fence(self, collection: str, fence: int) -> None:
        lease = self._db.leases.find_one({"_id": lease_name(collection)}, {"fence": 1})
        if fence != (lease["fence"] if lease else 0):
            raise lock_lost(collection)


def _removal(document: Document, recorded: bool) -> Removal:
    known = {name: document[name] for name in _FIELDS}
    return Removal(**known | {"reason": RemovalReason(known["reason"])}, recorded=recorded)


def _key(collection: str, file: Mapping[str, object]) -> str:
    """Of a removal: paths may be longer than keys may be."""
    parts = [collection, *(str(file[name]) for name in ("ordinal", "tier", "folder", "path"))]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
