"""How processes end: worker pods, for ``podFailurePolicy`` and the operator, and the `fpj` command,
for scripts.

The worker writes its codes and termination message, the operator reads them; here is what both
agree on.
"""

from __future__ import annotations

import json
from enum import IntEnum, StrEnum

_MOST_BYTES = 4096
"""Of a termination message, by Kubernetes."""


class ExitCode(IntEnum):
    """What the Job controller should do: nothing, try again, or give the index up at once."""

    DONE = 0
    MAY_HEAL = 1
    PERMANENT = 40
    FENCED = 41
    ENVIRONMENT = 42
    """Source or cache folder do not work now: the shard is handed back, no image is charged,
    and no try is used up.
    """
    TERMINATED = 143
    """After SIGTERM: what was finished is recorded, and the shard handed back."""


class CommandExit(IntEnum):
    """How the `fpj` command ends. Scripts rely on these: add, never change."""

    DONE = 0
    INCOMPLETE = 1
    """Images failed, the job was given up, or the answer is no."""
    BAD_INPUT = 2
    HELD = 3
    """Another run holds the collection."""
    STORE = 4
    """The store, the network or the cluster failed or refused."""
    ENVIRONMENT = 5
    """A fault of this machine: a disk that is full, unreadable, read-only or not mounted,
    or worker processes that cannot be started or ended.
    """
    SUSPENDED = 6
    """The source or the cache folder stopped working and did not heal in time: nothing is lost,
    run again to go on.
    """
    TIMED_OUT = 124
    """As of timeout(1)."""
    INTERRUPTED = 130


class Reason(StrEnum):
    """Why a pod ended early, as a condition's reason. The set is closed."""

    INVALID_MANIFEST = "InvalidManifest"
    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_UNREADABLE = "SourceUnreadable"
    SOURCE_SHRANK = "SourceShrank"
    """Most of a known collection is not in its source any more."""
    SOURCE_CHANGED = "SourceChanged"
    """The collection's images are of another source."""
    CACHE_FOLDER_UNUSABLE = "CacheFolderUnusable"
    ENVIRONMENT_FAULT = "EnvironmentFault"
    """Source or cache folder have stopped working while images were made."""
    CACHE_FOLDER_FULL = "CacheFolderFull"
    """The cache folder may hold no more, and nothing could be evicted."""
    STORE_UNAVAILABLE = "StoreUnavailable"
    STORE_REFUSED = "StoreRefused"
    WORKERS_FAILED = "WorkersFailed"
    """Child processes cannot be started."""
    SHARD_HELD = "ShardHeld"
    """Another pod is working on the shard, and has been for very long."""
    FENCED = "Fenced"
    INTERNAL = "Internal"


def termination_message(reason: Reason, message: str) -> str:
    """``{"reason": …, "message": …}``, the message cut so that all of it is 4,096 bytes at most."""
    while True:
        text = json.dumps({"reason": reason.value, "message": message})
        if len(text) <= _MOST_BYTES:  # json.dumps escapes everything beyond ASCII
            return text
        # A character takes 12 bytes at most (a surrogate pair), so this many are surely too many.
        message = message[: len(message) - max((len(text) - _MOST_BYTES) // 12, 1)]


def parse_termination_message(text: str) -> tuple[Reason, str] | None:
    """The reverse of `termination_message`; None for anything else, such as the end of a log."""
    try:
        document = json.loads(text)
        return Reason(document["reason"]), str(document["message"])
    except (ValueError, KeyError, TypeError):
        return None
