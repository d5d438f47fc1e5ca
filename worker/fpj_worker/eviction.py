"""Evicting from a cache folder by its policy: plan, make removals of the victims, remove the files.

Who evicts holds the folder's eviction lease, and, for the victims of a collection, that
collection's lock. So nobody makes the same files at the time; what is made of a collection while a
job holds its lock is busy, and never a victim.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from fpj_core.errors import LeaseHeldError
from fpj_core.folderplans import Spares, plan_folder, spares_none
from fpj_core.folders.base import CacheFolder
from fpj_core.kube.names import eviction_lease_name
from fpj_core.model import Folder, RemovalReason
from fpj_core.policies import policy_of
from fpj_core.policy import EvictionPlan, Policy, Shortfall, Victim
from fpj_core.store.codec import batched
from fpj_core.store.protocol import Store
from fpj_worker.locking import Lock, locked
from fpj_worker.removal import TOGETHER, Removed, Remover

_CHUNK = 100_000
"""Victims that are sorted by collection at a time: each collection is locked once for them."""
_REASONS = frozenset(
    {
        RemovalReason.EXPIRED,
        RemovalReason.OVER_COLLECTION_QUOTA,
        RemovalReason.OVER_TIER_QUOTA,
        RemovalReason.OVER_QUOTA,
    }
)


@dataclass(frozen=True, slots=True)
class Evicted:
    """What an eviction did. Sizes are bytes, by the folder's records.

    ``shortfalls`` are the limits that are exceeded even now, and why. ``busy`` are collections that
    a job holds: what is due of those goes later.
    """

    removed: Removed
    used_before: int
    used_after: int
    high: int | None
    shortfalls: tuple[Shortfall, ...] = ()
    busy: tuple[str, ...] = ()


class Evictor:
    """Evicts from one folder, by its recorded policy unless one is given.

    What ``spares`` names, by collection and tier, stays as if it were pinned.

    ``on_step`` is called every few thousand derivatives; what it raises ends the eviction, and the
    next one goes on from there. Methods raise `PolicyError`, `CacheFolderError`, `ImageError` and
    `StoreError`.
    """

    def __init__(
        self,
        store: Store,
        folder: CacheFolder,
        record: Folder,
        on_step: Callable[[], None],
        policy: Policy | None = None,
        spares: Spares = spares_none,
    ) -> None:
        self._store = store
        self._folder = folder
        self._record = record
        self._on_step = on_step
        self._given = policy
        self._spares = spares
        self._mine: Lock | None = None
        self._busy: set[str] = set()

    def needed(self) -> bool:
        """Whether the folder is above its high watermark. Costs little."""
        high = self._policy().high
        return high is not None and self._used() > high

    def plan(self) -> EvictionPlan:
        """What would go now. Changes nothing."""
        planned, busy = plan_folder(
            self._store, self._record.name, self._policy(), self._step, self._spares
        )
        self._busy = set(busy)
        return planned

    @property
    def busy(self) -> tuple[str, ...]:
        """Collections that the last plan, or its removal, found held by a job."""
        return tuple(sorted(self._busy))

    def run(self) -> Evicted:
        """Evict. Raises `LeaseHeldError` while another process evicts from the folder."""
        name = self._record.name
        who = f"evict-{uuid.uuid4()}"
        with locked(self._store, name, who, eviction_lease_name) as self._mine:
            self._folder.require_marker()
            before = self._used()
            removed = self._finish_earlier(who)
            planned = self.plan()
            victims = planned.victims()
            while chunk := list(islice(victims, _CHUNK)):
                removed += self._remove(chunk, who)
            if removed.files:
                self._store.refresh_folder(name)
        high = self._policy().high
        return Evicted(removed, before, self._used(), high, planned.shortfalls, self.busy)

    def _step(self) -> None:
        self._on_step()
        if self._mine:
            self._mine.renew()

    def _used(self) -> int:
        return self._store.folder_totals(self._record.name)[1]

    def _policy(self) -> Policy:
        return self._given or policy_of(self._record, self._store)

    def _remove(self, victims: Sequence[Victim], who: str) -> Removed:
        by_collection: dict[str, list[Victim]] = {}
        for victim in victims:
            by_collection.setdefault(victim.collection, []).append(victim)
        removed = Removed()
        for collection, some in by_collection.items():
            try:
                with locked(self._store, collection, who) as lock:
                    removed += self._remove_of(collection, some, lock)
            except LeaseHeldError:
                self._busy.add(collection)
        return removed

    def _remove_of(self, collection: str, victims: Sequence[Victim], lock: Lock) -> Removed:
        remover, removed = self._remover(collection, lock), Removed()
        for some in batched(victims, TOGETHER):
            for reason in sorted({each.reason for each in some}):
                refs = [(each.ordinal, each.tier) for each in some if each.reason is reason]
                why = RemovalReason(reason.value)
                self._store.start_removals(collection, refs, why, lock.fence)
            # At once: until a file is gone, its bytes are nobody's to use.
            removed += remover.finish(reasons=tuple(_REASONS))
        return removed

    def _finish_earlier(self, who: str) -> Removed:
        """What an eviction that ended early has left."""
        removed = Removed()
        for collection in self._store.removing_from(self._record.name):
            try:
                with locked(self._store, collection, who) as lock:
                    removed += self._remover(collection, lock).finish()
            except LeaseHeldError:
                continue  # its job removes them
        return removed

    def _remover(self, collection: str, lock: Lock) -> Remover:
        def on_step() -> None:
            self._step()
            lock.renew()

        return Remover(self._store, self._folder, self._record.name, collection, on_step)


def current(store: Store, record: Folder) -> Folder:
    """The folder as it is recorded now, its limit and policy above all; else as given."""
    return next((each for each in store.folders() if each.name == record.name), record)
