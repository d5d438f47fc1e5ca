"""Connecting to MongoDB: bounds, durability, indexes, and its errors as ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel, MongoClient, ReadPreference
from pymongo.database import Database
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidURI,
    PyMongoError,
    WriteConcernError,
)
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from fpj_core import faults
from fpj_core.errors import StoreError, StoreUnavailableError

Document = dict[str, Any]

_DATABASE = "fpj"
_SELECT_MS = 10_000
_ANSWER_MS = 60_000

INDEXES: dict[str, list[IndexModel]] = {
    "images": [
        IndexModel([("collection", ASCENDING), ("ordinal", ASCENDING)], unique=True),
        IndexModel([("collection", ASCENDING), ("key", ASCENDING)], unique=True),
        IndexModel(
            [("collection", ASCENDING), ("deleted_at", ASCENDING)],
            partialFilterExpression={"deleted_at": {"$exists": True}},
        ),
    ],
    "derivatives": [
        IndexModel([("collection", ASCENDING), ("ordinal", ASCENDING), ("tier", ASCENDING)]),
        IndexModel([("folder", ASCENDING), ("collection", ASCENDING)]),
    ],
    "removals": [
        IndexModel([("collection", ASCENDING), ("ordinal", ASCENDING)]),
        IndexModel([("folder", ASCENDING)]),
    ],
    "reservations": [IndexModel([("folder", ASCENDING)])],
    "counters": [IndexModel([("folder", ASCENDING)]), IndexModel([("collection", ASCENDING)])],
    "jobs": [
        IndexModel([("created_at", DESCENDING)]),
        IndexModel([("collection", ASCENDING), ("created_at", DESCENDING)]),
    ],
    "job_shards": [
        IndexModel([("job", ASCENDING), ("attempt", ASCENDING), ("index", ASCENDING)], unique=True)
    ],
    "failures": [
        IndexModel([("job", ASCENDING), ("ordinal", ASCENDING)], unique=True),
        IndexModel([("job", ASCENDING), ("error_type", ASCENDING), ("ordinal", ASCENDING)]),
    ],
}
"""Per collection.

Leases, folders, job states, collections, names, counters of images and ``meta`` have ``_id`` alone.

Before schema 2 shards were in ``shards``: under another name, pods of earlier versions can change
nothing of these.
"""


def connect(
    url: str, *, max_pool_size: int, prepare: Callable[[Database[Document]], None]
) -> tuple[MongoClient[Document], Database[Document]]:
    """The client and the database (the URL's, else ``fpj``), made ready by ``prepare``.

    Raises `StoreError`.

    Whatever the URL says of reading and writing: what decides is read from the primary, and is what
    a majority has written to disk. A secondary that lags would show a plan that is no more.
    """
    with translated(_secrets_of(url)):
        client: MongoClient[Document] = MongoClient(
            url,
            appname="fpj",
            maxPoolSize=max_pool_size,
            serverSelectionTimeoutMS=_SELECT_MS,
            socketTimeoutMS=_ANSWER_MS,
        )
        try:
            database = client.get_default_database(
                _DATABASE,
                read_preference=ReadPreference.PRIMARY,
                read_concern=ReadConcern("majority"),
                write_concern=WriteConcern("majority", j=True),
            )
            prepare(database)
        except BaseException:
            client.close()
            raise
    return client, database


@contextmanager
def translated(secrets: Sequence[str] = ()) -> Iterator[None]:
    """Run driver calls; their errors become `StoreError` or `StoreUnavailableError`.

    What the driver says of a URL is left out where one of ``secrets`` is in it.
    """
    try:
        yield
    except (InvalidURI, ConfigurationError, ValueError) as error:
        if any(secret in str(error) for secret in secrets):
            # No cause either: its text, which holds the secret, would be in a traceback.
            raise StoreError(
                "the store's URL cannot be used; in user and password,"
                " write % : / ? # [ ] @ as %25 %3A %2F …"
            ) from None
        raise StoreError(f"the store's URL cannot be used: {error}") from error
    except (AutoReconnect, ConnectionFailure) as error:
        raise StoreUnavailableError(f"MongoDB cannot be reached: {_cause(error)}") from error
    except (WriteConcernError, BulkWriteError) as error:
        if isinstance(error, WriteConcernError) or unacknowledged(error):
            raise StoreUnavailableError(
                f"MongoDB has not confirmed a write: {_cause(error)}"
            ) from error
        raise StoreError(f"MongoDB refused: {_cause(error)}") from error
    except ExecutionTimeout as error:
        raise StoreUnavailableError(f"MongoDB took too long: {_cause(error)}") from error
    except PyMongoError as error:
        if faults.of_mongodb_error(error).transient:
            raise StoreUnavailableError(f"MongoDB does not answer now: {_cause(error)}") from error
        raise StoreError(f"MongoDB refused: {_cause(error)}") from error


def _secrets_of(url: str) -> tuple[str, ...]:
    """The parts of user and password: a driver that took an unescaped one for something else may
    show only a piece.
    """
    user = url.partition("://")[2].rpartition("@")[0]
    return tuple(part for part in re.split(r"[/?#\[\]@:%]", user) if part)


def unacknowledged(error: BulkWriteError) -> bool:
    """Whether some of the writes were done, but not by a majority:
    a change of the primary may undo them.
    """
    return bool(error.details.get("writeConcernErrors"))


def _cause(error: Exception) -> str:
    """What the driver says, without its settings, its view of the servers and their clock.

    Those differ from one time to the next, and a condition's message that changed would be another
    write of the status.
    """
    said = str(error)
    for besides in (" (configured timeouts", ", Timeout: ", ", full error: "):
        said = said.partition(besides)[0]
    return said[:300]
