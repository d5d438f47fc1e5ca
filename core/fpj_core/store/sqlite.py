"""The embedded store: one SQLite file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import override

from fpj_core.errors import ReadOnlyStoreError
from fpj_core.model import Derivative, Folder, ImageRecord, Job
from fpj_core.store.codec import after_prefix, files_recorded, windows
from fpj_core.store.counters import IMAGES, Amount, Place, add
from fpj_core.store.protocol import nothing
from fpj_core.store.sqlite_connection import Connection
from fpj_core.store.sqlite_counters import FOLDER, count, folder_of, images_among
from fpj_core.store.sqlite_jobs import SQLiteJobs
from fpj_core.store.sqlite_removals import check_fence

_WINDOW = 5_000
_UNKNOWN = -1
_IMAGE = (
    "ordinal, id, key, size, version, deleted, width, height, format, thumbhash, dominant_color,"
    " warning, captured_at"
)
_DERIVATIVE = (
    "image, tier, ordinal, digest, source_version, folder, path, width, height, bytes, job,"
    " created_at, cost_ms"
)


class SQLiteStore(SQLiteJobs):
    """See `fpj_core.store.protocol.Store`.

    This class keeps images and derivatives, its base jobs and shards.
    """

    def __init__(self, path: Path, *, to_write: bool = False) -> None:
        """Raises `StoreError`; `ReadOnlyStoreError`, too,
        where it is ``to_write`` and cannot be.
        """
        connection = Connection(path)
        if to_write and connection.read_only:
            connection.close()
            raise ReadOnlyStoreError(str(path))
        super().__init__(connection)
        self._numbers: dict[str, int] = {}

    @property
    @override
    def location(self) -> str:
        """The file."""
        return str(self._connection.path)

    @override
    def identity(self) -> str:
        with self._connection.read() as db:
            (identity,) = db.execute("SELECT value FROM meta WHERE name = 'identity'").fetchone()
        return str(identity)

    @override
    def now(self) -> float:
        """This host's: its processes alone use the file."""
        return time.time()

    @override
    def close(self) -> None:
        self._connection.close()

    # Sources --------------------------------------------------------------------------------------

    @override
    def collection_source(self, collection: str) -> str | None:
        with self._connection.read() as db:
            row = db.execute(
                "SELECT source FROM collections WHERE id = ?", (collection,)
            ).fetchone()
        return row[0] if row else None

    @override
    def record_source(self, collection: str, source: str, fence: int) -> None:
        query = (
            "INSERT INTO collections (id, source) VALUES (?, ?) ON CONFLICT (id) DO UPDATE"
            " SET source = excluded.source"
        )
        with self._connection.write() as db:
            check_fence(db, collection, fence)
            db.execute(query, (collection, source))

    # Collections ----------------------------------------------------------------------------------

    @override
    def collections(self) -> list[str]:
        """One that was forgotten keeps its row: processes remember its number."""
        known = " OR ".join(
            f"EXISTS (SELECT 1 FROM {table} t WHERE t.collection = c.number{more})"
            for table, more in (
                ("images", ""),
                ("names", ""),
                ("derivatives", ""),
                ("removals", ""),
                ("counters", " AND t.files <> 0"),
            )
        )
        query = (
            f"SELECT c.id FROM collections c WHERE c.source IS NOT NULL OR c.requested IS NOT NULL"
            f" OR {known} ORDER BY c.id"
        )
        with self._connection.read() as db:
            return [name for (name,) in db.execute(query).fetchall()]

    @override
    def forget_collection(
        self, collection: str, fence: int, on_step: Callable[[], None] = nothing
    ) -> None:
        number = self._number(collection)
        some = "(SELECT {0} FROM {1} WHERE collection = :number ORDER BY {0} LIMIT :most)"
        given = {"number": number, "most": _WINDOW}
        for table, key in (("images", "ordinal"), ("names", "name")):
            within = some.format(key, table)
            query = f"DELETE FROM {table} WHERE collection = :number AND {key} IN {within}"
            deleted = True
            while deleted:
                with self._connection.write() as db:
                    _check_forgettable(db, collection, number, fence)
                    if table == "images":
                        files, size = db.execute(
                            "SELECT count(*), coalesce(sum(size), 0) FROM images WHERE collection"
                            f" = :number AND NOT deleted AND ordinal IN {within}",
                            given,
                        ).fetchone()
                        count(db, number, {IMAGES: (-files, -size)})
                    deleted = db.execute(query, given).rowcount > 0
                on_step()
        with self._connection.write() as db:
            _check_forgettable(db, collection, number, fence)
            for table in ("counters", "image_counters"):
                db.execute(f"DELETE FROM {table} WHERE collection = ?", (number,))
            db.execute(
                "UPDATE collections SET source = NULL, requested = NULL WHERE number = ?",
                (number,),
            )

    # Images ---------------------------------------------------------------------------------------

    @override
    def next_ordinal(self, collection: str) -> int:
        query = "SELECT max(ordinal) FROM images WHERE collection = ?"
        with self._connection.read() as db:
            (highest,) = db.execute(query, (self._number(collection),)).fetchone()
        return 0 if highest is None else highest + 1

    @override
    def images_by_key(self, collection: str, keys: Sequence[str]) -> dict[str, ImageRecord]:
        marks = ",".join("?" * len(keys))
        # Left to itself, SQLite without statistics scans the whole collection for a long list of
        # keys.
        query = (
            f"SELECT {_IMAGE} FROM images INDEXED BY images_by_key"
            f" WHERE collection = ? AND key IN ({marks})"
        )
        with self._connection.read() as db:
            rows = db.execute(query, (self._number(collection), *keys)).fetchall()
        return {row[2]: _image(collection, row) for row in rows}

    @override
    def image_keys(self, collection: str, ordinals: Sequence[int]) -> dict[int, str]:
        marks = ",".join("?" * len(ordinals))
        query = f"SELECT ordinal, key FROM images WHERE collection = ? AND ordinal IN ({marks})"
        with self._connection.read() as db:
            rows = db.execute(query, (self._number(collection), *ordinals)).fetchall()
        return dict(rows)

    @override
    def images_below(self, collection: str, prefix: str) -> Iterator[ImageRecord]:
        query = (
            f"SELECT {_IMAGE} FROM images INDEXED BY images_by_key"
            " WHERE collection = ? AND key > ? AND key < ? AND NOT deleted ORDER BY key LIMIT ?"
        )
        last, end = prefix, after_prefix(prefix)
        while True:
            with self._connection.read() as db:
                rows = db.execute(query, (self._number(collection), last, end, _WINDOW)).fetchall()
            yield from (_image(collection, row) for row in rows)
            if len(rows) < _WINDOW:
                return
            last = rows[-1][2]

    @override
    def upsert_images(self, images: Sequence[ImageRecord], fence: int) -> None:
        query = f"INSERT OR REPLACE INTO images (collection, {_IMAGE}) VALUES (?{', ?' * 13})"
        rows = [
            (self._given_number(i.collection), i.ordinal, i.id, i.key, i.size, i.version, i.deleted)
            + (i.width, i.height, i.format, i.thumbhash, i.dominant_color, i.warning, i.captured_at)
            for i in images
        ]
        with self._connection.write() as db:
            for collection in {image.collection for image in images}:
                check_fence(db, collection, fence)
            for number, those in _by_collection(rows).items():
                before = images_among(db, number, [row[1] for row in those])
                live = [row for row in those if not row[6]]
                now = (len(live), sum(row[4] for row in live))
                count(db, number, {IMAGES: (now[0] - before[0], now[1] - before[1])})
            db.executemany(query, rows)

    @override
    def mark_deleted(self, collection: str, ordinals: Sequence[int], fence: int) -> None:
        number, now = self._number(collection), self.now()
        with self._connection.write() as db:
            check_fence(db, collection, fence)
            if ordinals:
                files, size = images_among(db, number, ordinals)
                count(db, number, {IMAGES: (-files, -size)})
            db.executemany(
                "UPDATE images SET deleted = 1,"
                " deleted_at = CASE WHEN deleted THEN deleted_at ELSE ? END"
                " WHERE collection = ? AND ordinal = ?",
                [(now, number, o) for o in ordinals],
            )

    @override
    def live_ordinals(self, collection: str) -> Iterator[int]:
        query = (
            "SELECT ordinal FROM images"
            " WHERE collection = ? AND ordinal > ? AND NOT deleted ORDER BY ordinal LIMIT ?"
        )
        number = self._number(collection)
        last = -1
        while True:
            with self._connection.read() as db:
                rows = db.execute(query, (number, last, _WINDOW)).fetchall()
            yield from (ordinal for (ordinal,) in rows)
            if len(rows) < _WINDOW:
                return
            last = rows[-1][0]

    @override
    def images(self, collection: str, start: int, stop: int) -> list[ImageRecord]:
        query = (
            f"SELECT {_IMAGE} FROM images WHERE collection = ? AND ordinal >= ?"
            " AND ordinal < ? AND NOT deleted"
            " ORDER BY ordinal"
        )
        with self._connection.read() as db:
            rows = db.execute(query, (self._number(collection), start, stop)).fetchall()
        return [_image(collection, row) for row in rows]

    @override
    def count_images(
        self,
        collection: str,
        start: int = 0,
        stop: int | None = None,
        on_step: Callable[[], None] = nothing,
    ) -> int:
        query = (
            "SELECT count(*) FROM images"
            " WHERE collection = ? AND ordinal >= ? AND ordinal < ? AND NOT deleted"
        )
        number = self._number(collection)
        images = 0
        for first, end in windows(start, self.next_ordinal(collection) if stop is None else stop):
            with self._connection.read() as db:
                images += int(db.execute(query, (number, first, end)).fetchone()[0])
            on_step()
        return images

    # Names ----------------------------------------------------------------------------------------

    @override
    def claim_names(self, collection: str, wanted: Sequence[tuple[str, str]]) -> dict[str, str]:
        """Once all are owned, nothing is written."""
        number = self._given_number(collection)
        with self._connection.read() as db:
            owners = _owners(db, number, [name for name, _ in wanted])
        if free := [(number, name, image) for name, image in wanted if name not in owners]:
            with self._connection.write() as db:
                db.executemany(
                    "INSERT OR IGNORE INTO names (collection, name, image) VALUES (?, ?, ?)", free
                )
                owners |= _owners(db, number, [name for _, name, _ in free])
        return owners

    @override
    def name_owners(self, collection: str, names: Sequence[str]) -> dict[str, str]:
        with self._connection.read() as db:
            return _owners(db, self._number(collection), names)

    # Derivatives ----------------------------------------------------------------------------------

    @override
    def derivatives(
        self, collection: str, start: int, stop: int, tiers: Sequence[str]
    ) -> list[Derivative]:
        query = (
            f"SELECT {_DERIVATIVE} FROM derivatives"
            " WHERE collection = ? AND ordinal >= ? AND ordinal < ? ORDER BY ordinal, tier"
        )
        with self._connection.read() as db:
            rows = db.execute(query, (self._number(collection), start, stop)).fetchall()
        return [_derivative(collection, row) for row in rows if row[1] in tiers]

    @override
    def derivative_files(
        self, collection: str, tiers: Sequence[str] | None, on_step: Callable[[], None] = nothing
    ) -> Iterator[tuple[int, str, str, str, int]]:
        query = (
            "SELECT ordinal, tier, folder, path, bytes FROM derivatives"
            " WHERE collection = ? AND (ordinal, tier) > (?, ?) ORDER BY ordinal, tier LIMIT ?"
        )
        number = self._number(collection)
        last = (-1, "")
        while True:
            with self._connection.read() as db:
                rows = db.execute(query, (number, *last, _WINDOW)).fetchall()
            if not rows:
                return
            yield from (row for row in rows if tiers is None or row[1] in tiers)
            on_step()
            last = rows[-1][:2]

    @override
    def delete_derivatives(
        self, collection: str, refs: Sequence[tuple[int, str]], fence: int | None = None
    ) -> None:
        number = self._number(collection)
        query = (
            "DELETE FROM derivatives WHERE collection = ? AND ordinal = ? AND tier = ?"
            " RETURNING folder, tier, bytes"
        )
        gone: dict[Place, Amount] = {}
        with self._connection.write() as db:
            if fence is not None:
                check_fence(db, collection, fence)
            for ref in refs:
                for folder, tier, size in db.execute(query, (number, *ref)).fetchall():
                    add(gone, {(folder, tier): (-1, -size)})
            count(db, number, gone)

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
        wanted = " OR ".join(
            f"(d.tier = :tier{at} AND d.digest = :digest{at})" for at in range(len(digests))
        )
        query = (
            "SELECT i.ordinal, (SELECT count(*) FROM derivatives d"
            " WHERE d.collection = i.collection"
            " AND d.ordinal = i.ordinal AND d.source_version = i.version"
            f" AND ({wanted})) < {len(digests)}"
            " FROM images i WHERE i.collection = :collection AND i.ordinal >= :start"
            " AND i.ordinal < :end"
            " AND NOT i.deleted ORDER BY i.ordinal"
        )
        arguments: dict[str, str] = {}
        for at, (tier, digest) in enumerate(digests.items()):
            arguments |= {f"tier{at}": tier, f"digest{at}": digest}
        for rows in self._in_ranges(query, collection, arguments, on_step):
            yield [ordinal for ordinal, _ in rows], [ordinal for ordinal, lacks in rows if lacks]

    @override
    def made_by(self, job: Job, on_step: Callable[[], None] = nothing) -> Iterator[tuple[int, int]]:
        query = (
            "SELECT d.ordinal, sum(d.bytes) FROM derivatives d"
            " JOIN images i ON i.collection = d.collection AND i.ordinal = d.ordinal"
            " WHERE d.collection = :collection AND d.ordinal >= :start AND d.ordinal < :end"
            " AND d.job = :job"
            " AND NOT i.deleted GROUP BY d.ordinal ORDER BY d.ordinal"
        )
        for rows in self._in_ranges(query, job.collection, {"job": job.id}, on_step):
            yield from rows

    # Folders and statistics -----------------------------------------------------------------------

    @override
    def upsert_folder(self, folder: Folder) -> None:
        query = (
            "INSERT INTO folders"
            " (name, location, priority, max_bytes, layout, mirrored, reach, policy)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET location = excluded.location,"
            " priority = excluded.priority,"
            " max_bytes = excluded.max_bytes, layout = excluded.layout,"
            " mirrored = excluded.mirrored,"
            " reach = excluded.reach, policy = excluded.policy"
        )
        how = (folder.layout.value, folder.mirrored, folder.reach, folder.policy)
        row = (folder.name, folder.location, folder.priority, folder.max_bytes, *how)
        with self._connection.write() as db:
            db.execute(query, row)

    @override
    def folders(self) -> list[Folder]:
        with self._connection.read() as db:
            return [
                folder_of(row) for row in db.execute(f"SELECT {FOLDER} FROM folders ORDER BY name")
            ]

    # Helpers --------------------------------------------------------------------------------------

    def _in_ranges(
        self, query: str, collection: str, arguments: Mapping[str, str], on_step: Callable[[], None]
    ) -> Iterator[list[Any]]:
        """Rows that ``query`` selects by ``:collection``, ``:start`` and ``:end``,
        range by range of ordinals.

        No long read transaction is held, and however few rows there are, none takes long.
        """
        number = self._number(collection)
        for start in range(0, self.next_ordinal(collection), _WINDOW):
            with self._connection.read() as db:
                bounds = {"collection": number, "start": start, "end": start + _WINDOW}
                rows = db.execute(query, {**bounds, **arguments}).fetchall()
            yield rows
            on_step()

    @override
    def _number(self, collection: str) -> int:
        """The collection's number; one that nothing has where it has none:
        to ask must write nothing.
        """
        if collection not in self._numbers:
            with self._connection.read() as db:
                row = db.execute(
                    "SELECT number FROM collections WHERE id = ?", (collection,)
                ).fetchone()
            if row is None:
                return _UNKNOWN
            self._numbers[collection] = row[0]
        return self._numbers[collection]

    @override
    def _given_number(self, collection: str) -> int:
        if self._number(collection) == _UNKNOWN:
            with self._connection.write() as db:
                db.execute("INSERT OR IGNORE INTO collections (id) VALUES (?)", (collection,))
        return self._number(collection)


def _check_forgettable(db: sqlite3.Connection, collection: str, number: int, fence: int) -> None:
    """Raise `FencedError`, or `StoreError` where files of the collection are recorded."""
    check_fence(db, collection, fence)
    for table in ("derivatives", "removals"):
        query = f"SELECT 1 FROM {table} WHERE collection = ? LIMIT 1"
        if db.execute(query, (number,)).fetchone():
            raise files_recorded(collection)


def _by_collection(rows: Sequence[tuple[Any, ...]]) -> dict[int, list[tuple[Any, ...]]]:
    found: dict[int, list[tuple[Any, ...]]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(row)
    return found


def _owners(db: sqlite3.Connection, number: int, names: Sequence[str]) -> dict[str, str]:
    marks = ",".join("?" * len(names))
    query = f"SELECT name, image FROM names WHERE collection = ? AND name IN ({marks})"
    return dict(db.execute(query, (number, *names)).fetchall())


def _image(collection: str, row: tuple[object, ...]) -> ImageRecord:
    ordinal, image_id, key, size, version, deleted, *facts = row
    return ImageRecord(collection, ordinal, image_id, key, size, version, bool(deleted), *facts)  # type: ignore[arg-type]


def _derivative(collection: str, row: tuple[object, ...]) -> Derivative:
    image, tier, *rest = row
    return Derivative(image, tier, collection, *rest)  # type: ignore[arg-type]
