"""Room in folders, in SQLite: what is asked and what is granted is one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

from typing_extensions import override

from fpj_core.store.counters import Amount
from fpj_core.store.room import RESERVED_SECONDS, Content, Reservations, Room, room
from fpj_core.store.sqlite_removals import SQLiteRemovals

_WINDOW = 5_000


class SQLiteRoom(SQLiteRemovals, Reservations):
    """The reservations of a store."""

    @override
    def reserve(self, folder: str, holder: str, size: int) -> Room:
        now = self.now()
        since = now - RESERVED_SECONDS
        others = "reservations WHERE folder = ? AND holder <> ? AND at >= ?"
        with self._connection.write() as db:
            held = _bytes(db, "counters WHERE folder = ?", folder)
            held += _bytes(db, "removals WHERE folder = ?", folder)
            reserved = _bytes(db, others, folder, holder, since)
            record = db.execute("SELECT max_bytes FROM folders WHERE name = ?", (folder,))
            (limit,) = record.fetchone() or (None,)
            answer = room(limit, held, reserved, size)
            if answer.granted:
                db.execute("DELETE FROM reservations WHERE folder = ? AND at < ?", (folder, since))
                db.execute(
                    "DELETE FROM reservations WHERE folder = ? AND holder = ?", (folder, holder)
                )
            if answer.granted and size:
                mine = (folder, holder, size, now)
                db.execute("INSERT INTO reservations VALUES (?, ?, ?, ?)", mine)
        return answer

    @override
    def folder_amounts(self, folder: str) -> dict[tuple[str, str], Amount]:
        query = (
            "SELECT c.id, d.tier, d.files, d.bytes FROM counters d"
            " JOIN collections c ON c.number = d.collection WHERE d.folder = ? AND d.files > 0"
            " ORDER BY 1, 2"
        )
        with self._connection.read() as db:
            found = db.execute(query, (folder,)).fetchall()
        return {(collection, tier): (files, size) for collection, tier, files, size in found}

    @override
    def contents(
        self, folder: str, collection: str, on_step: Callable[[], None]
    ) -> Iterator[Content]:
        query = (
            "SELECT ordinal, tier, bytes, cost_ms, created_at, folder FROM derivatives"
            " WHERE collection = ? AND (ordinal, tier) > (?, ?) ORDER BY ordinal, tier LIMIT ?"
        )
        number, last = self._number(collection), (-1, "")
        while True:
            with self._connection.read() as db:
                rows = db.execute(query, (number, *last, _WINDOW)).fetchall()
            if not rows:
                return
            yield from (Content(*row[:5]) for row in rows if row[5] == folder)
            on_step()
            last = rows[-1][:2]


def _bytes(db: sqlite3.Connection, which: str, *given: object) -> int:
    (size,) = db.execute(f"SELECT coalesce(sum(bytes), 0) FROM {which}", given).fetchone()
    return int(size)
