"""What would be removed, found out for a request: bounded, and a few at a time.

These read every record of a folder, so that what is too large is left to `fpj` on a machine of its
own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TypeVar

from fpj_api.foldermodels import CleanupPlan, Part, PlannedFile, ShortLimit
from fpj_api.problems import TOO_LARGE_HERE, ProblemError, unavailable
from fpj_api.storage import Storage
from fpj_core import formatting
from fpj_core.errors import PlanRemovesEverythingError, PolicyError
from fpj_core.folderplans import plan_folder
from fpj_core.kube.records import folder_record
from fpj_core.model import Folder
from fpj_core.policies import has_policy, policy_of
from fpj_core.policy import EvictionPlan, Victim
from fpj_core.store.protocol import Store
from fpj_core.v1alpha1 import CacheFolder

T = TypeVar("T")
MOST_FILES = 200_000
MOST_SHOWN = 100
ADVICE = "use `fpj cleanup --dry-run` with the store's address, or see what a run reports"
_AT_ONCE = 2
_SECONDS = 12.0
"""Less than `Storage` waits, so that no plan goes on that nobody waits for."""
_NO_POLICY = "the folder has neither maxBytes nor a policy: nothing is ever evicted from it"


class DryRuns:
    """Asks the store; no more than `_AT_ONCE` of its threads are kept busy."""

    def __init__(self, storage: Storage) -> None:
        self._storage, self._turns = storage, threading.BoundedSemaphore(_AT_ONCE)

    async def cleanup(self, folder: CacheFolder) -> CleanupPlan:
        """What would be removed now. Raises a problem: 409 for a folder that is too large to be
        looked at here, 503 while others are.
        """
        record = folder_record(folder)
        namespace, name = folder.metadata.namespace or "", folder.metadata.name
        return await self.ask(
            lambda store, on_step: _cleanup(store, record, namespace, name, on_step)
        )

    async def ask(self, work: Callable[[Store, Callable[[], None]], T], advice: str = ADVICE) -> T:
        """What ``work`` finds, which calls its second argument every few thousand records.

        ``advice`` is for whoever asks about something that takes too long.
        """
        until = time.monotonic() + _SECONDS

        def on_step() -> None:
            if time.monotonic() > until:
                raise too_large("it takes too long to look at it here", advice)

        def in_turn(store: Store) -> T:
            # Taken and given back by the thread: it goes on when nobody waits for it any more.
            if not self._turns.acquire(blocking=False):
                raise unavailable("other dry runs are underway; try again")
            try:
                return work(store, on_step)
            finally:
                self._turns.release()

        return await self._storage.ask(in_turn)


def too_large(why: str, advice: str = ADVICE) -> ProblemError:
    """409: it is looked at by `fpj` only."""
    return ProblemError(409, f"{why}; {advice}", kind=TOO_LARGE_HERE)


def _cleanup(
    store: Store, record: Folder, namespace: str, name: str, on_step: Callable[[], None]
) -> CleanupPlan:
    files, used, _ = store.folder_totals(record.name)
    if files > MOST_FILES:
        raise too_large(
            f"the folder holds {formatting.count(files)} files, more than the"
            f" {formatting.count(MOST_FILES)} that can be planned for here"
        )
    nothing = CleanupPlan(
        namespace=namespace,
        name=name,
        used_bytes=used,
        files=0,
        bytes=0,
        by_reason=[],
        by_collection=[],
        by_tier=[],
        first=[],
        shortfalls=[],
        busy=[],
        refusal=_NO_POLICY,
    )
    if not has_policy(record):
        return nothing
    try:
        planned, busy = plan_folder(store, record.name, policy_of(record, store), on_step)
    except (PolicyError, PlanRemovesEverythingError) as error:
        return nothing.model_copy(update={"refusal": str(error)})
    prefix = f"{namespace}."
    return nothing.model_copy(
        update={
            "files": len(planned),
            "bytes": planned.freed,
            **_parts(planned, prefix),
            "first": [_file(store, each, prefix) for each in islice(planned.victims(), MOST_SHOWN)],
            "shortfalls": [
                ShortLimit(
                    limit=short.limit.value,
                    name=short.name.removeprefix(prefix),
                    short_by=short.short_by,
                    kept={why.value: size for why, size in short.kept.items()},
                )
                for short in planned.shortfalls[:MOST_SHOWN]
            ],
            "busy": [each.removeprefix(prefix) for each in sorted(busy)[:MOST_SHOWN]],
            "refusal": None,
        }
    )


def _parts(planned: EvictionPlan, prefix: str) -> dict[str, list[Part]]:
    found: dict[str, dict[str, tuple[int, int]]] = {
        "by_reason": {},
        "by_collection": {},
        "by_tier": {},
    }
    for victim in planned.victims():
        for part, name in (
            ("by_reason", victim.reason.value),
            ("by_collection", victim.collection.removeprefix(prefix)),
            ("by_tier", victim.tier),
        ):
            files, size = found[part].get(name, (0, 0))
            found[part][name] = files + 1, size + victim.bytes
    return {part: largest(amounts) for part, amounts in found.items()}


def largest(amounts: Mapping[str, tuple[int, int]]) -> list[Part]:
    """(files, bytes) by name as parts, the largest first, `MOST_SHOWN` at most."""
    ordered: Iterable[tuple[str, tuple[int, int]]] = sorted(
        amounts.items(), key=lambda each: (-each[1][1], each[0])
    )
    return [
        Part(name=name, files=files, bytes=size)
        for name, (files, size) in islice(ordered, MOST_SHOWN)
    ]


def _file(store: Store, victim: Victim, prefix: str) -> PlannedFile:
    span = victim.collection, victim.ordinal, victim.ordinal + 1
    image = next(iter(store.images(*span)), None)
    made = next(iter(store.derivatives(*span, (victim.tier,))), None)
    return PlannedFile(
        collection=victim.collection.removeprefix(prefix),
        tier=victim.tier,
        source=image.key if image else None,
        path=made.path if made else None,
        bytes=victim.bytes,
        reason=victim.reason.value,
    )
