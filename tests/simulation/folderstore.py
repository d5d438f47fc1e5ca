"""What may be recorded of cache folders, checked by a ledger of our own.

A record may go only for a reason that the policy of the time allows, or because its file has gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from fpj_core.kube.names import eviction_lease_name, store_collection
from fpj_core.kube.records import folder_name
from fpj_core.model import Lease, Removal, RemovalReason
from simulation.apiserver import Document
from simulation.storechecks import StoreChecks

if TYPE_CHECKING:
    from simulation.folderworld import FolderWorld
    from simulation.storeserver import StoreServer

FOLDER = folder_name("team", "cache")
Ref = tuple[str, int, str]
"""Collection, ordinal, tier."""
_EVICTED = frozenset(
    {
        RemovalReason.EXPIRED,
        RemovalReason.OVER_QUOTA,
        RemovalReason.OVER_TIER_QUOTA,
        RemovalReason.OVER_COLLECTION_QUOTA,
    }
)
_TOLD_SECONDS = 60.0
"""For which an operator may act on a spec that it has read."""


@dataclass(frozen=True, slots=True)
class Record:
    """A derivative as it is recorded."""

    path: str
    bytes: int
    created_at: float
    key: str


@dataclass(slots=True)
class Eviction:
    """One eviction, from when it got the folder's lease."""

    sender: str
    used: Counter[str] = field(default_factory=Counter)
    """The most that the folder, by "", and each collection would hold had it removed nothing."""
    removed: Counter[str] = field(default_factory=Counter)

    def sees(self, used: Counter[str]) -> None:
        """Others may have made more meanwhile."""
        for name, size in used.items():
            self.used[name] = max(self.used[name], size + self.removed[name])


class FolderStoreChecks(StoreChecks):
    """See the module."""

    checked = StoreChecks.checked | {"end_removals", "delete_derivatives", "release_lease"}
    world: FolderWorld

    def __init__(self, server: StoreServer) -> None:
        super().__init__(server)
        self.kept: dict[Ref, Record] = {}
        """The ledger: what is recorded, as far as each call was right."""
        self.paths: set[str] = set()
        """Of the ledger."""
        self.removed_at: dict[str, float] = {}
        """By path, when the removal of a file ended."""
        self.evicted = 0
        """Files, by all evictions so far."""
        self.eviction: Eviction | None = None
        """Whose the folder's lease is."""

    # Facts ----------------------------------------------------------------------------------------

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return self._real._connection._sqlite.execute(query).fetchall()

    def recorded(self) -> dict[Ref, Record]:
        """What the store has recorded."""
        rows = self._rows(
            "SELECT c.id, d.ordinal, d.tier, d.path, d.bytes, d.created_at, i.key"
            " FROM derivatives d JOIN collections c ON c.number = d.collection"
            " LEFT JOIN images i ON i.collection = d.collection AND i.ordinal = d.ordinal"
        )
        return {row[:3]: Record(*row[3:]) for row in rows}

    def removals(self) -> set[str]:
        """Paths of what is being removed."""
        return {path for (path,) in self._rows("SELECT path FROM removals")}

    def used(self) -> Counter[str]:
        """Bytes of the ledger: by collection, and in all by ""."""
        found: Counter[str] = Counter()
        for (collection, *_), record in self.kept.items():
            found[collection] += record.bytes
            found[""] += record.bytes
        return found

    def compare(self) -> None:
        """The ledger is what the store has, and counters are its sums."""
        recorded = self.recorded()
        if recorded != self.kept:
            lost = sorted(set(self.kept) - set(recorded))
            strange = sorted(set(recorded) - set(self.kept))
            self._found(f"records were lost: {lost}; appeared: {strange}")
        counted = {
            row[:2]: row[2:]
            for row in self._rows(
                "SELECT c.id, d.tier, sum(d.files), sum(d.bytes) FROM counters d"
                " JOIN collections c ON c.number = d.collection"
                " GROUP BY 1, 2 HAVING sum(d.files) <> 0 OR sum(d.bytes) <> 0"
            )
        }
        truth: dict[tuple[str, str], tuple[int, int]] = {}
        for (collection, _, tier), record in recorded.items():
            files, size = truth.get((collection, tier), (0, 0))
            truth[collection, tier] = (files + 1, size + record.bytes)
        if counted != truth:
            self._found(f"the counters say {counted}, and there are {truth}")

    def _keep(self, refs: Sequence[Ref]) -> None:
        recorded = self.recorded()
        for ref in refs:
            self.kept.pop(ref, None)
            if ref in recorded:
                self.kept[ref] = recorded[ref]
        self.paths = {each.path for each in self.kept.values()}

    # Calls ----------------------------------------------------------------------------------------

    @override
    def flush(self, batch: Any, now: float) -> None:
        super().flush(batch, now)
        self._keep([(each.collection, each.ordinal, each.tier) for each in batch.derivatives])
        if self.eviction is not None:
            self.eviction.sees(self.used())

    @override
    def acquire_lease(
        self, name: str, holder: str, ttl: float, now: float, above: int = 0
    ) -> Lease:
        lease = super().acquire_lease(name, holder, ttl, now, above)
        if name == eviction_lease_name(FOLDER):
            self.eviction = Eviction(self.sender)
            self.eviction.sees(self.used())
        return lease

    def release_lease(self, lease: Lease) -> None:
        self._real.release_lease(lease)
        mine = self.eviction is not None and self.eviction.sender == self.sender
        if lease.name == eviction_lease_name(FOLDER) and mine:
            self.eviction = None

    @override
    def start_removals(
        self, collection: str, refs: Sequence[tuple[int, str]], reason: RemovalReason, fence: int
    ) -> None:
        super().start_removals(collection, refs, reason, fence)
        mine: list[Ref] = [(collection, *ref) for ref in refs]
        if reason in _EVICTED:
            self._check_evicted(mine, reason)
        keeps = [store_collection("team", each) for each, kept in self.world.keeps.items() if kept]
        if reason is RemovalReason.VANISHED and collection in keeps:
            self._found(f"what was made of vanished images of {collection} is to stay: {refs}")
        self._keep(mine)

    def end_removals(self, removals: Sequence[Removal]) -> None:
        self._real.end_removals(removals)
        disk = self.world.disk
        for each in removals:
            if each.path in self.paths:
                continue
            if each.path in disk.files:
                self._found(f"the removal of {each.path} is over, and the file is there")
            if each.path in disk.unsynced_removals:
                self._found(f"the removal of {each.path} is over, and a power cut brings it back")
            self.removed_at[each.path] = self.world.kernel.wall()

    def delete_derivatives(
        self, collection: str, refs: Sequence[tuple[int, str]], fence: int | None = None
    ) -> None:
        self._real.delete_derivatives(collection, refs, *(() if fence is None else (fence,)))
        mine: list[Ref] = [(collection, *ref) for ref in refs]
        for ref in mine:
            record = self.kept.get(ref)
            there = self.world.disk.files.get(record.path) if record else None
            if record is not None and there is not None and there[0] == record.bytes:
                self._found(f"{record.path} is there, and its record is forgotten")
        self._keep(mine)

    # Evictions ------------------------------------------------------------------------------------

    def _check_evicted(self, refs: Sequence[Ref], reason: RemovalReason) -> None:
        eviction = self.eviction
        if eviction is None or eviction.sender != self.sender:
            holder = eviction.sender if eviction else "nobody"
            self._found(f"{self.sender} evicts, and the folder's lease is held by {holder}")
            return
        now = self.world.kernel.wall(self._server.skew)
        for ref in refs:
            record = self.kept.get(ref)
            if record is None:
                continue
            whys = [
                _why_not(spec, ref[0], record, reason, eviction, now)
                for spec in self.world.checks.specs_for(self.sender)
            ]
            if all(whys):
                self._found(f"{record.key} was evicted as {reason.value}: {whys[-1]}")
            for name in ("", ref[0]):
                eviction.removed[name] += record.bytes
            self.evicted += 1


def _why_not(
    spec: Document,
    collection: str,
    record: Record,
    reason: RemovalReason,
    eviction: Eviction,
    now: float,
) -> str:
    """Why such a spec lets nothing like that go; empty where it does."""
    policy = spec.get("policy") or {}
    own: Document = next(
        (
            each
            for each in policy.get("collections", ())
            if store_collection("team", each["id"]) == collection
        ),
        {},
    )
    if own.get("pinned") or record.key in own.get("pinnedImages", ()):
        return "it is pinned"
    age = now - record.created_at
    if reason is RemovalReason.EXPIRED:
        ttl = policy.get("ttl")
        return "" if ttl is not None and age >= ttl else f"it is {age:.0f} s old, ttl is {ttl}"
    if age < policy.get("minimumAgeSeconds", 0):
        return f"it is only {age:.0f} s old"
    if reason is RemovalReason.OVER_COLLECTION_QUOTA:
        left = eviction.used[collection] - eviction.removed[collection]
        over = "maxBytes" in own and left > own["maxBytes"]
        return "" if over else f"its collection holds {left} of {own.get('maxBytes')}"
    most = spec["maxBytes"] / 100
    high, low = policy.get("highWatermark", 90) * most, policy.get("lowWatermark", 80) * most
    left = eviction.used[""] - eviction.removed[""]
    if eviction.used[""] < high - 1:
        return f"the folder held {eviction.used['']}, below its high watermark of {high:.0f}"
    return "" if left > low - 1 else f"the folder holds {left}, below its low watermark {low:.0f}"
