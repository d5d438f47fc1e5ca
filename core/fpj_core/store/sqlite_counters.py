"""Counters in SQLite, changed in the transaction that changes what they count."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from typing_extensions import override

from fpj_core.errors import StoreError
from fpj_core.model import Folder, Layout
from fpj_core.store.counters import IMAGES, Amount, Counted, CounterCheck, Place, check
from fpj_core.store.protocol import CollectionStatistics, FolderShares, Statistics, nothing
from fpj_core.store.sqlite_connection import Connection

FOLDER = (
    "name, location, priority, max_bytes, files, bytes, collections, layout, mirrored, reach,"
    " policy"
)
"""Columns of a folder, as `folder_of` takes them."""


class SQLiteCounters(Statistics, Counted):
    """The counters of a store."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _number(self, collection: str) -> int:
        raise NotImplementedError

    def _given_number(self, collection: str) -> int:
        raise NotImplementedError

    @override
    def folder_totals(self, name: str) -> tuple[int, int, int]:
        query = (
            "SELECT coalesce(sum(files), 0), coalesce(sum(bytes), 0),"
            " count(DISTINCT collection) FROM counters"
            " WHERE folder = ? AND files > 0"
        )
        with self._connection.read() as db:
            files, size, collections = db.execute(query, (name,)).fetchone()
        return files, size, collections

    @override
    def folder_shares(self, name: str, most: int) -> FolderShares:
        return FolderShares(
            self._shares(name, most, "tier", ""),
            self._shares(name, most, "c.id", " JOIN collections c ON c.number = d.collection"),
        )

    def _shares(self, folder: str, most: int, group: str, join: str) -> dict[str, Amount]:
        query = (
            f"SELECT {group}, sum(d.files), sum(d.bytes) FROM counters d{join}"
            f" WHERE d.folder = ? AND d.files > 0 GROUP BY {group} ORDER BY 3 DESC, 1 LIMIT ?"
        )
        with self._connection.read() as db:
            found = db.execute(query, (folder, most))
            return {key: (files, size) for key, files, size in found}

    @override
    def refresh_folder(self, name: str) -> Folder:
        totals = self.folder_totals(name)
        with self._connection.write() as db:
            db.execute(
                "UPDATE folders SET files = ?, bytes = ?, collections = ? WHERE name = ?",
                (*totals, name),
            )
            row = db.execute(f"SELECT {FOLDER} FROM folders WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise StoreError(f"folder {name} is not recorded")
        return folder_of(row)

    @override
    def statistics(
        self, collection: str | None = None, namespace: str | None = None
    ) -> list[CollectionStatistics]:
        where = ""
        given: tuple[str, ...] = ()
        if collection is not None:
            where, given = " AND c.id = ?", (collection,)
        elif namespace is not None:
            where, given = " AND c.id >= ? AND c.id < ?", (f"{namespace}.", f"{namespace}/")
        images = (
            "SELECT c.id, i.files, i.bytes FROM image_counters i"
            " JOIN collections c ON c.number = i.collection"
            f" WHERE i.files > 0{where} ORDER BY c.id"
        )
        derivatives = (
            "SELECT c.id, d.tier, sum(d.files), sum(d.bytes) FROM counters d"
            f" JOIN collections c ON c.number = d.collection WHERE d.files > 0{where}"
            " GROUP BY c.id, d.tier"
        )
        with self._connection.read() as db:
            by_tier: dict[str, dict[str, Amount]] = {}
            for name, tier, files, size in db.execute(derivatives, given):
                by_tier.setdefault(name, {})[tier] = (files, size)
            return [
                CollectionStatistics(name, count, size, by_tier.get(name, {}))
                for name, count, size in db.execute(images, given)
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
        with self._connection.read() as db:
            return [
                name for (name,) in db.execute("SELECT id FROM collections ORDER BY id").fetchall()
            ]

    @override
    def recorded_amounts(self, collection: str) -> dict[Place, Amount]:
        number = self._number(collection)
        with self._connection.read() as db:
            found = db.execute(
                "SELECT folder, tier, files, bytes FROM counters WHERE collection = ?", (number,)
            )
            amounts: dict[Place, Amount] = {
                (folder, tier): (files, size) for folder, tier, files, size in found
            }
            row = db.execute(
                "SELECT files, bytes FROM image_counters WHERE collection = ?", (number,)
            ).fetchone()
        return amounts | ({IMAGES: row} if row else {})

    @override
    def last_ordinal(self, collection: str) -> int:
        number = self._number(collection)
        with self._connection.read() as db:
            highest = [
                db.execute(
                    f"SELECT max(ordinal) FROM {table} WHERE collection = ?", (number,)
                ).fetchone()[0]
                for table in ("images", "derivatives")
            ]
        return max(-1 if each is None else int(each) for each in highest)

    @override
    def count_window(self, collection: str, start: int, stop: int) -> dict[Place, Amount]:
        number = self._number(collection)
        query = (
            "SELECT count(*), coalesce(sum(size), 0) FROM images"
            " WHERE collection = ? AND ordinal >= ? AND ordinal < ? AND NOT deleted"
        )
        with self._connection.read() as db:
            images = db.execute(query, (number, start, stop)).fetchone()
            return derivatives_between(db, number, start, stop) | (
                {IMAGES: images} if images[0] else {}
            )

    @override
    def set_amount(self, collection: str, place: Place, recorded: Amount, counted: Amount) -> bool:
        number = self._number(collection)
        with self._connection.write() as db:
            if self.recorded_amounts(collection).get(place, (0, 0)) != recorded:
                return False
            count(db, number, {place: (counted[0] - recorded[0], counted[1] - recorded[1])})
        return True


def derivatives_between(
    db: sqlite3.Connection, collection: int, start: int, stop: int
) -> dict[Place, Amount]:
    """Derivatives with ``start <= ordinal < stop``, by folder and tier."""
    query = (
        "SELECT folder, tier, count(*), sum(bytes) FROM derivatives"
        " WHERE collection = ? AND ordinal >= ? AND ordinal < ? GROUP BY folder, tier"
    )
    found = db.execute(query, (collection, start, stop))
    return {(folder, tier): (files, size) for folder, tier, files, size in found}


def images_among(db: sqlite3.Connection, collection: int, ordinals: Sequence[int]) -> Amount:
    """Images among ``ordinals`` that are not deleted."""
    (highest,) = db.execute(
        "SELECT max(ordinal) FROM images WHERE collection = ?", (collection,)
    ).fetchone()
    if highest is None or min(ordinals) > highest:
        return 0, 0
    query = (
        "SELECT count(*), coalesce(sum(size), 0) FROM images"
        f" WHERE collection = ? AND ordinal IN ({','.join('?' * len(ordinals))}) AND NOT deleted"
    )
    files, size = db.execute(query, (collection, *ordinals)).fetchone()
    return files, size


def count(db: sqlite3.Connection, collection: int, change: Mapping[Place, Amount]) -> None:
    """Change counters by so much."""
    for (folder, tier), (files, size) in change.items():
        if (files, size) == (0, 0):
            continue
        if (folder, tier) == IMAGES:
            table = "image_counters (collection, files, bytes)"
            key: tuple[object, ...] = (collection,)
        else:
            table = "counters (folder, collection, tier, files, bytes)"
            key = (folder, collection, tier)
        db.execute(
            f"INSERT INTO {table} VALUES ({'?, ' * len(key)}?, ?) ON CONFLICT DO UPDATE"
            " SET files = files + excluded.files, bytes = bytes + excluded.bytes",
            (*key, files, size),
        )


def folder_of(row: tuple[Any, ...]) -> Folder:
    """A folder's record."""
    name, location, priority, most, files, size, collections, layout, *how = row
    return Folder(name, location, priority, most, files, size, collections, Layout(layout), *how)
