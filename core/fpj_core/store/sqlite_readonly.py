"""Reading a store that this process cannot write: on a read-only file system, or of another user.

SQLite must write even to read a database with a write-ahead log: it keeps that log's index beside
it. Where another process has made that index, it is shared; without a log there is nothing to
share; else the files are copied.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from fpj_core.errors import StoreUnavailableError
from fpj_core.scratch import Scratch
from fpj_core.store.sqlite_schema import SCHEMA_VERSION


def is_read_only(path: Path) -> bool:
    """Whether there is a file that cannot be written, or nothing can be put beside it."""
    return path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def readable_url(path: Path) -> str | None:
    """How SQLite can read the store where it is; None if only a copy can be read."""
    log = path.with_name(f"{path.name}-wal")
    shared = f"file:{quote(str(path))}?mode=ro"
    if path.with_name(f"{path.name}-shm").exists() and _is_current(shared):
        return shared
    with suppress(FileNotFoundError):
        if log.stat().st_size:
            return None
    unshared = f"file:{quote(str(path))}?immutable=1"
    return unshared if _is_current(unshared) else None


def copied(path: Path) -> tuple[Path, Scratch]:
    """(the store, with its log, in a temporary folder; that folder).

    Raises `StoreUnavailableError`.
    """
    try:
        scratch = Scratch("fpj-store-")
        copy = Path(scratch.name, path.name)
        for end in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{path}{end}", f"{copy}{end}")
    except OSError as error:
        text = f"{path} cannot be written, and not be copied to read the copy: {error.strerror}"
        raise StoreUnavailableError(text) from error
    return copy, scratch


def _is_current(url: str) -> bool:
    """Whether it can be read so, and needs no migration.

    Other errors are for whoever reads the copy.
    """
    try:
        connection = sqlite3.connect(url, uri=True)
    except sqlite3.Error:
        return False
    try:
        return connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,) and bool(
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        )
    except sqlite3.Error:
        return False
    finally:
        connection.close()
