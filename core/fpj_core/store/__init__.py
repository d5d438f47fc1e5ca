"""The store: jobs, shards, images and derivatives, in SQLite or MongoDB behind one protocol."""

from __future__ import annotations

import re
from pathlib import Path

from fpj_core.errors import StoreError
from fpj_core.store.protocol import Store

__all__ = ["Store", "open_store"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:(//)?)")
_MONGODB = ("mongodb://", "mongodb+srv://")
_SQLITE = "sqlite:///"


def open_store(url: str) -> Store:
    """The store at ``mongodb://…``, ``sqlite:///path`` or a plain path. Raises `StoreError`."""
    if url.startswith(_MONGODB):
        from fpj_core.store.mongodb import MongoStore  # noqa: PLC0415 - importing pymongo takes 0.3 s

        return MongoStore(url)
    if not url.startswith(_SQLITE) and (scheme := _SCHEME.match(url)):  # the rest may hold a password
        raise StoreError(
            f"cannot use {scheme[1]} as a store; use a file (./{scheme[1]}… if it is named so) or mongodb://…"
        )
    from fpj_core.store.sqlite import SQLiteStore  # noqa: PLC0415 - the operator never needs SQLite's library: 1 MB

    return SQLiteStore(Path(url.removeprefix(_SQLITE)).expanduser())
