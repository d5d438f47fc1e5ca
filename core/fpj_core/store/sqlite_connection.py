"""Opening SQLite, transactions, and its errors as ours."""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fpj_core.errors import ReadOnlyStoreError, StoreError, StoreUnavailableError
from fpj_core.scratch import Scratch
from fpj_core.store.sqlite_readonly import copied, is_read_only, readable_url
from fpj_core.store.sqlite_schema import MIGRATIONS, SCHEMA, SCHEMA_VERSION

_BUSY_SECONDS = 30.0
_PASSING = ("locked", "busy", "disk i/o", "full")


class Connection:
    """One connection, shared by the threads of a process under a lock; each process opens its own.

    WAL lets readers go on while one writes. synchronous=FULL: what was acknowledged survives a
    power cut.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read_only = False
        """Whether it cannot be written: see `fpj_core.store.sqlite_readonly`."""
        self._lock = threading.RLock()
        self._scratch: Scratch | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailableError(
                f"cannot make the store's folder {path.parent}: {error.strerror}"
            ) from error
        with self._translated():
            if is_read_only(path):
                self._open_to_read()
            else:
                self._open(str(path))

    def close(self) -> None:
        """Close it; the file is complete without its WAL afterwards, unless others have it open."""
        with self._lock:
            self._sqlite.close()
            if self._scratch is not None:
                self._scratch.cleanup()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Run queries. Raises `StoreError`."""
        with self._lock, self._translated():
            yield self._sqlite

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction, committed at the end or undone on an error.

        BEGIN IMMEDIATE queues writers fairly; upgrading a read transaction would starve some of
        them. Raises `ReadOnlyStoreError` where nothing can be written.
        """
        if self.read_only:
            raise ReadOnlyStoreError(str(self.path))
        with self._lock, self._translated():
            self._sqlite.execute("BEGIN IMMEDIATE")
            try:
                yield self._sqlite
                self._sqlite.execute("COMMIT")
            except BaseException:
                # A full disk has undone it already, and must be what is reported.
                if self._sqlite.in_transaction:
                    self._sqlite.execute("ROLLBACK")
                raise

    def _open_to_read(self) -> None:
        url = readable_url(self.path)
        if url is not None:
            self._sqlite = self._connected(url, uri=True)
        else:
            copy, self._scratch = copied(self.path)
            self._open(str(copy))
        self.read_only = True

    def _open(self, path: str) -> None:
        self._sqlite = self._connected(path)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _connected(path: str, *, uri: bool = False) -> sqlite3.Connection:
        return sqlite3.connect(
            path,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
            uri=uri,
        )

    def _prepare(self) -> None:
        self._sqlite.execute("PRAGMA journal_mode = WAL")
        self._sqlite.execute("PRAGMA synchronous = FULL")
        self._sqlite.execute("PRAGMA cache_size = -16384")
        # Asking takes no lock: whoever only reads need not wait for a writer, nor be able to write.
        if self._sqlite.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,):
            return
        with self.write() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise StoreError(
                    f"{self.path} was written by a newer fpj (schema {version},"
                    f" known: {SCHEMA_VERSION})"
                )
            if version == 0:
                if db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
                    raise StoreError(f"{self.path} is a database, but not one of fpj's")
                _run(db, SCHEMA)
            for step in range(max(version, 1), SCHEMA_VERSION):
                if version:
                    _run(db, MIGRATIONS[step])
            db.execute("INSERT OR IGNORE INTO meta VALUES ('identity', ?)", (uuid.uuid4().hex,))
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            passing = any(word in str(error).lower() for word in _PASSING)
            kind = (
                StoreUnavailableError if passing or "unable to open" in str(error) else StoreError
            )
            raise kind(f"{self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path}: {error}") from error


def _run(db: sqlite3.Connection, script: str) -> None:
    """Statements within the transaction; executescript would commit it."""
    for statement in script.split(";"):
        db.execute(statement)
