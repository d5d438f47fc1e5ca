"""The cluster's store: MongoDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from urllib.parse import urlsplit

from pymongo import InsertOne, ReplaceOne
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError
from typing_extensions import override

from fpj_core.errors import NoStoreError
from fpj_core.model import Derivative, Folder, ImageRecord, Job
from fpj_core.store.codec import after_prefix, files_recorded, lock_lost, windows
from fpj_core.store.counters import IMAGES, Amount, Place, add
from fpj_core.store.mongodb_connection import Document, connect, translated
from fpj_core.store.mongodb_counters import folder_of, upserted
from fpj_core.store.mongodb_jobs import MongoJobs
from fpj_core.store.mongodb_schema import identity_of, is_empty, prepare
from fpj_core.store.protocol import nothing
from fpj_core.store.serverclock import ServerClock

_WINDOW = 5_000
_IMAGE_FIELDS = frozenset(field.name for field in fields(ImageRecord)) - {"id"}
_DERIVATIVE_FIELDS = frozenset(field.name for field in fields(Derivative))


class MongoStore(MongoJobs):
    """See `fpj_core.store.protocol.Store`.

    This class keeps images and derivatives, its base jobs and shards.

    ``max_pool_size`` bounds the connections of this process.
    """

    def __init__(self, url: str, *, max_pool_size: int = 10, make: bool = True) -> None:
        def ready(database: Database[Document]) -> None:
            if not make and is_empty(database):
                raise NoStoreError(_location(url, database.name))
            prepare(database)

        self._client, database = connect(url, max_pool_size=max_pool_size, prepare=ready)
        super().__init__(database)
        self._url = url
        self._clock = ServerClock(self._server_time)

    @property
    @override
    def location(self) -> str:
        """The URL without user and password."""
        return _location(self._url, self._db.name)

    @override
    def identity(self) -> str:
        with translated():
            return identity_of(self._db)

    @override
    def now(self) -> float:
        return self._clock.now()

    def _server_time(self) -> float:
        """Of the primary, in whole milliseconds."""
        with translated():
            server_time: datetime = self._db.command("hello")["localTime"]
        return server_time.replace(tzinfo=UTC).timestamp()

    @override
    def close(self) -> None:
        self._client.close()

    # Sources --------------------------------------------------------------------------------------

    @override
    def collection_source(self, collection: str) -> str | None:
        with translated():
            found = self._db.collections.find_one({"_id": collection}, {"source": 1})
        return found["source"] if found else None

    @override
    def record_source(self, collection: str, source: str, fence: int) -> None:
        query = {"_id": collection, "fence": {"$not": {"$gt": fence}}}
        with translated():
            self._check_fence(collection, fence)
            try:
                self._db.collections.update_one(
                    query, {"$set": {"source": source, "fence": fence}}, upsert=True
                )
            except DuplicateKeyError as error:  # a later fence wrote it
                raise lock_lost(collection) from error

    # Collections ----------------------------------------------------------------------------------

    @override
    def collections(self) -> list[str]:
        with translated():
            found = {
                *self._db.images.distinct("collection"),
                *self._db.derivatives.distinct("collection"),
                *self._db.removals.distinct("collection"),
                *self._db.counters.distinct("collection"),
                *self._db.image_counters.distinct("_id"),
                *self._db.collections.distinct("_id"),
            }
        return sorted(found)

    @override
    def forget_collection(
        self, collection: str, fence: int, on_step: Callable[[], None] = nothing
    ) -> None:
        """Names first, and the collection's own record last: it says that there is more to do."""
        mine = {"collection": collection}
        names = {"_id": {"$gte": f"{collection}/", "$lt": after_prefix(f"{collection}/")}}
        for kept, query in ((self._db.names, names), (self._db.images, mine)):
            while True:
                with translated():
                    self._check_forgettable(collection, fence)
                    some = list(kept.find(query, {"size": 1, "deleted": 1}).limit(_WINDOW))
                    if not some:
                        break
                    kept.delete_many({"_id": {"$in": [each["_id"] for each in some]}})
                    live = [each["size"] for each in some if each.get("deleted") is False]
                    self._count(collection, {IMAGES: (-len(live), -sum(live))})
                on_step()
        with translated():
            self._check_forgettable(collection, fence)
            self._db.counters.delete_many(mine)
            self._db.image_counters.delete_one({"_id": collection})
            self._db.collections.delete_one({"_id": collection})

    def _check_forgettable(self, collection: str, fence: int) -> None:
        self._check_fence(collection, fence)
        for files in (self._db.derivatives, self._db.removals):
            if files.find_one({"collection": collection}, {"_id": 1}):
                raise files_recorded(collection)

    # Images ---------------------------------------------------------------------------------------

    @override
    def next_ordinal(self, collection: str) -> int:
        with translated():
            last = self._db.images.find_one(
                {"collection": collection}, {"ordinal": 1}, sort=[("ordinal", -1)]
            )
        return last["ordinal"] + 1 if last else 0

    @override
    def images_by_key(self, collection: str, keys: Sequence[str]) -> dict[str, ImageRecord]:
        with translated():
            found = self._db.images.find({"collection": collection, "key": {"$in": list(keys)}})
            return {document["key"]: _image(document) for document in found}

    @override
    def image_keys(self, collection: str, ordinals: Sequence[int]) -> dict[int, str]:
        query = {"collection": collection, "ordinal": {"$in": list(ordinals)}}
        with translated():
            found = self._db.images.find(query, {"ordinal": 1, "key": 1})
            return {document["ordinal"]: document["key"] for document in found}

    @override
    def images_below(self, collection: str, prefix: str) -> Iterator[ImageRecord]:
        last, end = prefix, after_prefix(prefix)
        while True:
            query = {"collection": collection, "key": {"$gt": last, "$lt": end}, "deleted": False}
            with translated():
                found = list(self._db.images.find(query).sort("key", 1).limit(_WINDOW))
            yield from map(_image, found)
            if len(found) < _WINDOW:
                return
            last = found[-1]["key"]

    @override
    def upsert_images(self, images: Sequence[ImageRecord], fence: int) -> None:
        """Each image carries its fence, for the case that the lock is lost after it was checked."""
        for collection in sorted({image.collection for image in images}):
            with translated():
                self._put_images(
                    collection, [image for image in images if image.collection == collection], fence
                )

    @override
    def mark_deleted(self, collection: str, ordinals: Sequence[int], fence: int) -> None:
        if not ordinals:
            return
        query = {
            "collection": collection,
            "ordinal": {"$in": list(ordinals)},
            "fence": {"$not": {"$gt": fence}},
        }
        with translated():
            self._check_fence(collection, fence)
            live = list(self._db.images.find(query | {"deleted": False}, {"size": 1}))
            when = {"$set": {"deleted_at": self.now()}}
            self._db.images.update_many(query | {"deleted": False}, when)
            self._db.images.update_many(query, {"$set": {"deleted": True, "fence": fence}})
            self._count(collection, {IMAGES: (-len(live), -sum(each["size"] for each in live))})

    @override
    def live_ordinals(self, collection: str) -> Iterator[int]:
        yield from (
            ordinal for _, _, window in self._live_windows(collection) for ordinal, _ in window
        )

    @override
    def images(self, collection: str, start: int, stop: int) -> list[ImageRecord]:
        query = {"collection": collection, "ordinal": {"$gte": start, "$lt": stop}}
        with translated():
            found = self._db.images.find(query).sort("ordinal", 1)
            return [_image(document) for document in found if not document["deleted"]]

    @override
    def count_images(
        self,
        collection: str,
        start: int = 0,
        stop: int | None = None,
        on_step: Callable[[], None] = nothing,
    ) -> int:
        images = 0
        for first, end in windows(start, self.next_ordinal(collection) if stop is None else stop):
            within = {"collection": collection, "ordinal": {"$gte": first, "$lt": end}}
            live: list[Document] = [
                {"$match": within},
                {"$match": {"deleted": False}},
                {"$count": "images"},
            ]
            with translated():
                images += sum(each["images"] for each in self._db.images.aggregate(live))
            on_step()
        return images

    # Names ----------------------------------------------------------------------------------------

    @override
    def claim_names(self, collection: str, wanted: Sequence[tuple[str, str]]) -> dict[str, str]:
        with translated():
            owners = self._owners(collection, [name for name, _ in wanted])
            first = {name: image for name, image in reversed(wanted) if name not in owners}
            if first:
                inserts = [
                    InsertOne({"_id": f"{collection}/{name}", "image": image})
                    for name, image in first.items()
                ]
                # Those that somebody claimed at this moment stay theirs.
                upserted(self._db.names, inserts)
                owners |= self._owners(collection, list(first))
        return owners

    @override
    def name_owners(self, collection: str, names: Sequence[str]) -> dict[str, str]:
        with translated():
            return self._owners(collection, names)

    # Derivatives ----------------------------------------------------------------------------------

    @override
    def derivatives(
        self, collection: str, start: int, stop: int, tiers: Sequence[str]
    ) -> list[Derivative]:
        query = {"collection": collection, "ordinal": {"$gte": start, "$lt": stop}}
        with translated():
            found = self._db.derivatives.find(query).sort([("ordinal", 1), ("tier", 1)])
            return [_derivative(document) for document in found if document["tier"] in tiers]

    @override
    def derivative_files(
        self, collection: str, tiers: Sequence[str] | None, on_step: Callable[[], None] = nothing
    ) -> Iterator[tuple[int, str, str, str, int]]:
        with translated():
            last = self._db.derivatives.find_one(
                {"collection": collection}, {"ordinal": 1}, sort=[("ordinal", -1)]
            )
        for start in range(0, last["ordinal"] + 1 if last else 0, _WINDOW):
            for d in self._raw_derivatives(
                collection, start, start + _WINDOW, ("folder", "path", "bytes")
            ):
                if tiers is None or d["tier"] in tiers:
                    yield d["ordinal"], d["tier"], d["folder"], d["path"], d["bytes"]
            on_step()

    @override
    def delete_derivatives(
        self, collection: str, refs: Sequence[tuple[int, str]], fence: int | None = None
    ) -> None:
        by_tier: dict[str, list[int]] = {}
        for ordinal, tier in refs:
            by_tier.setdefault(tier, []).append(ordinal)
        with translated():
            if fence is not None:
                self._check_fence(collection, fence)
            for tier, ordinals in by_tier.items():
                query = {"collection": collection, "ordinal": {"$in": ordinals}, "tier": tier}
                found = list(self._db.derivatives.find(query, {"folder": 1, "bytes": 1}))
                self._db.derivatives.delete_many(
                    {"collection": collection, "_id": {"$in": [d["_id"] for d in found]}}
                )
                gone: dict[Place, Amount] = {}
                for each in found:
                    add(gone, {(each["folder"], tier): (-1, -each["bytes"])})
                self._count(collection, gone)

    @override
    def pending_ordinals(
        self, collection: str, digests: Mapping[str, str], on_step: Callable[[], None] = nothing
    ) -> Iterator[int]:
        for _, pending in self.live_and_pending(collection, digests, on_step):
            yield from pending

    @override
    def live_and_pending(
        self, collection: str, digests: Mapping[str, str], on_step: Callable[[], None] = nothing
    ) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
        """Two ordered streams are merged, window by window."""
        start: int | None = 0
        end, dense = self.next_ordinal(collection), True
        while start is not None and start < end:
            stop = min(start + _WINDOW, end)
            live, pending = self._live_and_pending(collection, start, stop, digests, dense=dense)
            dense = len(live) == stop - start
            yield live, pending
            on_step()
            start = stop if live else self._ordinal_from(collection, stop)

    @override
    def made_by(self, job: Job, on_step: Callable[[], None] = nothing) -> Iterator[tuple[int, int]]:
        for start, stop, window in self._live_windows(job.collection):
            sizes: dict[int, int] = {}
            for d in self._raw_derivatives(job.collection, start, stop, ("job", "bytes")):
                if d["job"] == job.id:
                    sizes[d["ordinal"]] = sizes.get(d["ordinal"], 0) + d["bytes"]
            yield from ((ordinal, sizes[ordinal]) for ordinal, _ in window if ordinal in sizes)
            on_step()

    # Folders and statistics -----------------------------------------------------------------------

    @override
    def upsert_folder(self, folder: Folder) -> None:
        change = {
            "$set": {
                "location": folder.location,
                "priority": folder.priority,
                "max_bytes": folder.max_bytes,
                "layout": folder.layout.value,
                "mirrored": folder.mirrored,
                "reach": folder.reach,
                "policy": folder.policy,
            },
            "$setOnInsert": {"files": 0, "bytes": 0, "collections": 0},
        }
        with translated():
            self._db.folders.update_one({"_id": folder.name}, change, upsert=True)

    @override
    def folders(self) -> list[Folder]:
        with translated():
            return [folder_of(document) for document in self._db.folders.find().sort("_id", 1)]

    # Helpers --------------------------------------------------------------------------------------

    def _owners(self, collection: str, names: Sequence[str]) -> dict[str, str]:
        found = self._db.names.find({"_id": {"$in": [f"{collection}/{name}" for name in names]}})
        return {each["_id"].rpartition("/")[2]: each["image"] for each in found}

    def _put_images(self, collection: str, images: Sequence[ImageRecord], fence: int) -> None:
        self._check_fence(collection, fence)
        images = list({image.id: image for image in images}.values())
        ids = [image.id for image in images]
        found = self._db.images.find({"_id": {"$in": ids}}, {"size": 1, "deleted": 1})
        before = {each["_id"]: each for each in found}
        new = [image for image in images if image.id not in before]
        old = [image for image in images if image.id in before]
        if new:  # inserting costs half of what an upsert does
            inserts = [InsertOne(_image_document(each) | {"fence": fence}) for each in new]
            _, there = upserted(self._db.images, inserts)
            self._count(
                collection,
                {IMAGES: _live([each for number, each in enumerate(new) if number not in there])},
            )
            if there:
                raise lock_lost(collection)
        if old:
            older = {"fence": {"$not": {"$gt": fence}}}
            replacements = [
                ReplaceOne({"_id": each.id} | older, _image_document(each) | {"fence": fence})
                for each in old
            ]
            if self._db.images.bulk_write(replacements, ordered=False).matched_count < len(old):
                raise lock_lost(collection)
            was = [each for each in before.values() if not each["deleted"]]
            files, size = _live(old)
            self._count(
                collection, {IMAGES: (files - len(was), size - sum(each["size"] for each in was))}
            )

    def _live_windows(self, collection: str) -> Iterator[tuple[int, int, list[tuple[int, str]]]]:
        """Ranges of ordinals, and (ordinal, version) of the live images in each.

        Chosen by the index alone, as all that asks for images by ordinal: servers that look at each
        record of the collection as soon as a filter names another field take longer for each window
        the more windows there are.
        """
        start: int | None = 0
        while start is not None:
            stop = start + _WINDOW
            window = self._live_window(collection, start, stop)
            if window:
                yield start, stop, window
            start = stop if window else self._ordinal_from(collection, stop)

    def _live_window(self, collection: str, start: int, stop: int) -> list[tuple[int, str]]:
        """(ordinal, version) of the live images of a range that one query may ask for."""
        query = {"collection": collection, "ordinal": {"$gte": start, "$lt": stop}}
        with translated():
            found = self._db.images.find(
                query, {"_id": 0, "ordinal": 1, "version": 1, "deleted": 1}
            )
            return [
                (d["ordinal"], d["version"]) for d in found.sort("ordinal", 1) if not d["deleted"]
            ]

    def _live_and_pending(
        self, collection: str, start: int, stop: int, digests: Mapping[str, str], *, dense: bool
    ) -> tuple[Sequence[int], Sequence[int]]:
        """Those of one window. ``dense`` says that it is likely to have no gap.

        Where nothing was made of any image, and their number shows that none is missing, no record
        need be read.
        """
        done: dict[tuple[int, str], int] = {}
        made = self._raw_derivatives(collection, start, stop, ("digest", "source_version"))
        if not made and dense and self.count_images(collection, start, stop) == stop - start:
            return range(start, stop), range(start, stop)
        for each in made:
            if digests.get(each["tier"]) == each["digest"]:
                at = (each["ordinal"], each["source_version"])
                done[at] = done.get(at, 0) + 1
        window = self._live_window(collection, start, stop)
        live = [ordinal for ordinal, _ in window]
        return live, [
            ordinal for ordinal, version in window if done.get((ordinal, version), 0) < len(digests)
        ]

    def _ordinal_from(self, collection: str, start: int) -> int | None:
        """The first ordinal from ``start`` on that an image has.

        None at the end of the collection.
        """
        query = {"collection": collection, "ordinal": {"$gte": start}}
        with translated():
            found = self._db.images.find_one(query, {"_id": 0, "ordinal": 1}, sort=[("ordinal", 1)])
        return found["ordinal"] if found else None

    def _raw_derivatives(
        self, collection: str, start: int, stop: int, names: Sequence[str]
    ) -> list[Document]:
        query = {"collection": collection, "ordinal": {"$gte": start, "$lt": stop}}
        wanted = {"_id": 0, "ordinal": 1, "tier": 1} | dict.fromkeys(names, 1)
        with translated():
            return list(
                self._db.derivatives.find(query, wanted).sort([("ordinal", 1), ("tier", 1)])
            )


def _live(images: Sequence[ImageRecord]) -> Amount:
    """How many are not deleted, and their bytes."""
    sizes = [image.size for image in images if not image.deleted]
    return len(sizes), sum(sizes)


def _image_document(image: ImageRecord) -> Document:
    return {"_id": image.id} | {name: getattr(image, name) for name in _IMAGE_FIELDS}


def _image(document: Document) -> ImageRecord:
    return ImageRecord(
        id=document["_id"], **{name: document[name] for name in _IMAGE_FIELDS if name in document}
    )


def _derivative(document: Document) -> Derivative:
    known = _DERIVATIVE_FIELDS & document.keys()  # earlier versions recorded no cost
    return Derivative(**{name: document[name] for name in known})


def _location(url: str, database: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{database}"
