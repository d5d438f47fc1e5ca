"""The store: jobs, shards, images and derivatives, in SQLite or MongoDB behind one protocol."""

from __future__ import annotations

import re
from pathlib import Path

from fpj_core.errors import NoStoreError, StoreError, StoreUnavailableError
from fpj_core.store.protocol import Store

__all__ = ["Store", "open_store"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:(//)?)")
_MONGODB = ("mongodb://", "mongodb+srv://")
_SQLITE = "sqlite:///"


def open_store(url: str, *, make: bool = True) -> Store:
    """The store at ``mongodb://…``, ``sqlite:///path`` or a plain path. Raises `StoreError`.

    Raises `NoStoreError` and writes nothing where there is none and ``make`` is false: then one
    that can only be read will do, too. Raises `ReadOnlyStoreError` for such a one else.
    """
    path = file_of(url)
    if path is None:
        from fpj_core.store.mongodb import MongoStore  # noqa: PLC0415 - importing pymongo takes 0.3 s

        return MongoStore(url, make=make)
    # The rest may hold a password.
    if not url.startswith(_SQLITE) and (scheme := _SCHEME.match(url)):
        raise StoreError(
            f"cannot use {scheme[1]} as a store; use a file (./{scheme[1]}… if it is named so) or mongodb://…"
        )
    from fpj_core.store.sqlite import SQLiteStore  # noqa: PLC0415 - the operator never needs SQLite's library: 1 MB

    if not (make or _holds_something(path)):
        raise NoStoreError(str(path))
    return SQLiteStore(path, to_write=make)


def file_of(url: str) -> Path | None:
    """The SQLite file that a store is in; None where it is in MongoDB."""
    return None if url.startswith(_MONGODB) else Path(url.removeprefix(_SQLITE)).expanduser()


def _holds_something(path: Path) -> bool:
    """Whether there is anything but an empty file. Opening tells whether it is a store."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StoreUnavailableError(f"{path}: {error.strerror}") from error
    return found.st_size > 0
