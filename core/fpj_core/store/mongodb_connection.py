"""Connecting to MongoDB: bounds, durability, indexes, and its errors as ours."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel, MongoClient, ReturnDocument
from pymongo.database import Database
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    ConnectionFailure,
    DuplicateKeyError,
    InvalidURI,
    PyMongoError,
)

from fpj_core.errors import StoreError, StoreUnavailableError

Document = dict[str, Any]

_DATABASE = "fpj"
_SELECT_MS = 10_000
_ANSWER_MS = 60_000
_TRIES = 5

INDEXES: dict[str, list[IndexModel]] = {
    "images": [
        IndexModel([("collection", ASCENDING), ("ordinal", ASCENDING)], unique=True),
        IndexModel([("collection", ASCENDING), ("key", ASCENDING)], unique=True),
    ],
    "derivatives": [
        IndexModel([("collection", ASCENDING), ("ordinal", ASCENDING), ("tier", ASCENDING)]),
        IndexModel([("folder", ASCENDING), ("collection", ASCENDING)]),
    ],
    "jobs": [
        IndexModel([("created_at", DESCENDING)]),
        IndexModel([("collection", ASCENDING), ("created_at", DESCENDING)]),
    ],
    "job_shards": [IndexModel([("job", ASCENDING), ("attempt", ASCENDING), ("index", ASCENDING)], unique=True)],
    "failures": [
        IndexModel([("job", ASCENDING), ("ordinal", ASCENDING)], unique=True),
        IndexModel([("job", ASCENDING), ("error_type", ASCENDING), ("ordinal", ASCENDING)]),
    ],
}
"""Per collection. Leases, folders, job states and what the store says of itself are found by ``_id`` alone.

Before schema 2 shards were in ``shards``: under another name, pods of earlier versions can change nothing of these.
"""


def connect(url: str, *, max_pool_size: int) -> tuple[MongoClient[Document], Database[Document]]:
    """The client and the database (the URL's, else ``fpj``), with every index there. Raises `StoreError`."""
    with translated():
        client: MongoClient[Document] = MongoClient(
            url,
            appname="fpj",
            maxPoolSize=max_pool_size,
            serverSelectionTimeoutMS=_SELECT_MS,
            socketTimeoutMS=_ANSWER_MS,
            w="majority",
            journal=True,
        )
        try:
            database = client.get_default_database(_DATABASE)
            for name, indexes in INDEXES.items():
                database[name].create_indexes(indexes)
        except BaseException:
            client.close()
            raise
    return client, database


@contextmanager
def translated() -> Iterator[None]:
    """Run driver calls; their errors become `StoreError` or `StoreUnavailableError`."""
    try:
        yield
    except (InvalidURI, ConfigurationError, ValueError) as error:
        raise StoreError(f"the store's URL cannot be used: {error}") from error
    except (AutoReconnect, ConnectionFailure) as error:
        raise StoreUnavailableError(f"MongoDB cannot be reached: {_cause(error)}") from error
    except PyMongoError as error:
        raise StoreError(f"MongoDB refused: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    """What the driver says, without its settings, its view of the servers and their clock.

    Those differ from one time to the next, and a condition's message that changed would be another write of the status.
    """
    said = str(error)
    for besides in (" (configured timeouts", ", Timeout: ", ", full error: "):
        said = said.partition(besides)[0]
    return said[:300]


def identity_of(database: Database[Document]) -> str:
    """What tells this store from others, made when it is first asked for: a store that was emptied gets another."""
    made = {"$setOnInsert": {"identity": uuid.uuid4().hex}}
    for _ in range(_TRIES):
        with suppress(DuplicateKeyError):  # another process was first
            found = database.meta.find_one_and_update(
                {"_id": "store"}, made, upsert=True, return_document=ReturnDocument.AFTER
            )
            return str((found or {})["identity"])
    raise StoreError("MongoDB refused: the store's identity cannot be recorded")
