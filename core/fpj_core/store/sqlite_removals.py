"""Removals in SQLite: a derivative's record becomes a removal's in one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from typing_extensions import override

from fpj_core.kube.names import lease_name
from fpj_core.model import Derivative, Removal, RemovalReason
from fpj_core.store.codec import lock_lost
from fpj_core.store.counters import Amount, Place, add
from fpj_core.store.removals import Removals
from fpj_core.store.sqlite_counters import SQLiteCounters, count

_WINDOW = 5_000
_END = 2**62
_KEY = "collection = ? AND ordinal = ? AND tier = ?"


class SQLiteRemovals(SQLiteCounters, Removals):
    """The removals of a store."""

    def now(self) -> float:
        """See `fpj_core.store.protocol.Store`."""
        raise NotImplementedError

    @override
    def vanished(
        self, collection: str, until: float, on_step: Callable[[], None]
    ) -> Iterator[tuple[int, str, str]]:
        gone = (
            "FROM images i INDEXED BY images_deleted {} WHERE i.collection = ? AND i.ordinal > ?"
            " AND i.deleted AND coalesce(i.deleted_at, 0) <= ?"
        )
        window = f"SELECT i.ordinal {gone.format('')} ORDER BY i.ordinal LIMIT {_WINDOW}"
        joined = "CROSS JOIN derivatives d ON d.collection = i.collection AND d.ordinal = i.ordinal"
        files = (
            f"SELECT d.ordinal, d.tier, i.key {gone.format(joined)} AND i.ordinal <= ?"
            " ORDER BY d.ordinal, d.tier"
        )
        number, last = self._number(collection), -1
        while True:
            with self._connection.read() as db:
                ordinals = db.execute(window, (number, last, until)).fetchall()
                if not ordinals:
                    return
                end = ordinals[-1][0]
                found = db.execute(files, (number, last, until, end)).fetchall()
            yield from found
            on_step()
            last = end

    @override
    def start_removals(
        self, collection: str, refs: Sequence[tuple[int, str]], reason: RemovalReason, fence: int
    ) -> None:
        number = self._number(collection)
        copied = (
            "INSERT OR REPLACE INTO removals SELECT collection, ordinal, tier, folder, path, bytes,"
            f" ?, ? FROM derivatives WHERE {_KEY}"
        )
        taken = f"DELETE FROM derivatives WHERE {_KEY} RETURNING folder, tier, bytes"
        gone: dict[Place, Amount] = {}
        now = self.now()
        with self._connection.write() as db:
            check_fence(db, collection, fence)
            for ref in refs:
                db.execute(copied, (reason.value, now, number, *ref))
                for folder, tier, size in db.execute(taken, (number, *ref)).fetchall():
                    add(gone, {(folder, tier): (-1, -size)})
            count(db, number, gone)

    @override
    def removals(
        self, collection: str, folder: str, start: int = 0, stop: int | None = None
    ) -> Iterator[Removal]:
        query = (
            "SELECT r.ordinal, r.tier, r.folder, r.path, r.bytes, r.reason, r.started_at,"
            " d.path IS NOT NULL FROM removals r LEFT JOIN derivatives d"
            " ON d.collection = r.collection AND d.ordinal = r.ordinal AND d.tier = r.tier"
            " AND d.path = r.path AND (d.folder = r.folder"
            " OR (SELECT location FROM folders WHERE name = d.folder)"
            " = (SELECT location FROM folders WHERE name = r.folder))"
            " WHERE r.collection = ? AND (r.ordinal, r.tier, r.folder, r.path) > (?, ?, ?, ?)"
            " AND r.ordinal < ? AND r.folder = ?"
            " ORDER BY r.ordinal, r.tier, r.folder, r.path LIMIT ?"
        )
        number, last = self._number(collection), (start, "", "", "")
        end = _END if stop is None else stop
        while True:
            with self._connection.read() as db:
                rows = db.execute(query, (number, *last, end, folder, _WINDOW)).fetchall()
            yield from (_removal(collection, row) for row in rows)
            if len(rows) < _WINDOW:
                return
            last = tuple(rows[-1][:4])

    @override
    def removing_from(self, folder: str) -> list[str]:
        query = (
            "SELECT DISTINCT c.id FROM removals r JOIN collections c ON c.number = r.collection"
            " WHERE r.folder = ? ORDER BY 1"
        )
        with self._connection.read() as db:
            return [collection for (collection,) in db.execute(query, (folder,)).fetchall()]

    @override
    def end_removals(self, removals: Sequence[Removal]) -> None:
        query = f"DELETE FROM removals WHERE {_KEY} AND folder = ? AND path = ?"
        rows = [
            (self._number(each.collection), each.ordinal, each.tier, each.folder, each.path)
            for each in removals
        ]
        with self._connection.write() as db:
            db.executemany(query, rows)

    @override
    def requested_tiers(self, collection: str) -> Mapping[str, Sequence[str]]:
        with self._connection.read() as db:
            return _requested(db, collection)

    @override
    def record_requested_tiers(
        self, collection: str, job: str, tiers: Sequence[str], fence: int
    ) -> None:
        query = (
            "INSERT INTO collections (id, requested) VALUES (?, ?) ON CONFLICT (id) DO UPDATE"
            " SET requested = excluded.requested"
        )
        with self._connection.write() as db:
            check_fence(db, collection, fence)
            requested = _requested(db, collection) | {job: list(tiers)}
            db.execute(query, (collection, json.dumps(requested)))


def supersede(
    db: sqlite3.Connection,
    collection: int,
    derivatives: Sequence[Derivative],
    fence: int,
    now: float,
) -> None:
    """Make removals of what these derivatives, yet to be recorded, replace under other names."""
    query = (
        "INSERT OR REPLACE INTO removals SELECT collection, ordinal, tier, folder, path, bytes,"
        f" '{RemovalReason.SUPERSEDED}', ? FROM derivatives"
        f" WHERE {_KEY} AND fence <= ? AND (folder, path) <> (?, ?)"
    )
    db.executemany(
        query,
        [(now, collection, d.ordinal, d.tier, fence, d.folder, d.path) for d in derivatives],
    )


def check_fence(db: sqlite3.Connection, collection: str, fence: int) -> None:
    """Raise `FencedError` if the collection's lease has another fence."""
    row = db.execute(
        "SELECT fence FROM leases WHERE name = ?", (lease_name(collection),)
    ).fetchone()
    if fence != (row[0] if row else 0):
        raise lock_lost(collection)


def _removal(collection: str, row: tuple[Any, ...]) -> Removal:
    ordinal, tier, folder, path, size, reason, at, recorded = row
    return Removal(
        collection, ordinal, tier, folder, path, size, RemovalReason(reason), at, bool(recorded)
    )


def _requested(db: sqlite3.Connection, collection: str) -> dict[str, list[str]]:
    row = db.execute("SELECT requested FROM collections WHERE id = ?", (collection,)).fetchone()
    return dict(json.loads(row[0])) if row and row[0] else {}
