"""Comparing a cache folder with the store, and repairing what differs: `fpj verify`.

The records of a collection are sorted by path in temporary files, and merged with what is found in
the folder: memory does not grow with either. Repairs are made as differences are found, each in a
step that may be the last: whoever starts again finds what is left.

Nothing is concluded from an answer that did not come: only a file of which the file system says
that it is not there is missing, only in a folder with this store's marker, and only while nobody
else works on the collection.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from fpj_core.errors import CacheFolderError, ImageError, LeaseHeldError
from fpj_core.folders.base import BATCH, CacheFolder
from fpj_core.folders.comparing import Difference, Kind, Recorded, compare
from fpj_core.folders.mirror import claimed_name, names_told_apart
from fpj_core.folders.ownership import marker_trouble
from fpj_core.folders.walking import order_of
from fpj_core.leases import is_locked
from fpj_core.model import Folder, Layout
from fpj_core.paths import could_be_ours
from fpj_core.sources.natural import sorted_externally
from fpj_core.store.protocol import Store
from fpj_worker.locking import Lock, locked
from fpj_worker.removal import Remover

_YOUNG_SECONDS = 3_600.0
"""What was written since may be of a batch that is not recorded yet."""
_HASHED_DEPTH = 2
_MIRROR_DEPTH = 400
"""More than any output's name has folders (`fpj_core.folders.mirror.MOST_BYTES`)."""
_MOST_NAMES = 20
_MOST_TROUBLES = 10


@dataclass(slots=True)
class Tally:
    """How many there are of a kind.

    ``names`` are some of them; ``repaired`` is how many were.
    """

    files: int = 0
    bytes: int = 0
    repaired: int = 0
    names: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Inventory:
    """What came of one cache folder.

    ``marker`` says what is wrong with its marker; then nothing was compared. ``busy`` are
    collections that others worked on: what is said of them may be of a moment, and nothing was
    repaired there. ``young`` are files without a record that were written within the last hour.
    """

    folder: str
    location: str
    marker: str | None = None
    compared: int = 0
    young: int = 0
    kinds: dict[Kind, Tally] = field(default_factory=lambda: {kind: Tally() for kind in Kind})
    busy: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def add(self, found: Difference) -> None:
        """Count a difference."""
        tally = self.kinds[found.kind]
        tally.files += 1
        tally.bytes += found.size or 0
        if len(tally.names) < _MOST_NAMES:
            tally.names.append(found.path)

    def trouble(self, text: str) -> None:
        """Note what came in the way."""
        if len(self.troubles) < _MOST_TROUBLES:
            self.troubles.append(text)

    @property
    def left(self) -> int:
        """Differences that a repair would end, and that are there yet."""
        kinds = (Kind.MISSING, Kind.WRONG_SIZE, Kind.UNRECORDED)
        return sum(self.kinds[kind].files - self.kinds[kind].repaired for kind in kinds)


_Row = tuple[str, bool, bool, int, int, str]
"""A record while it is sorted: path, leaving, borrowed, size, ordinal, tier."""

OnFound = Callable[[Difference], None]
OnStep = Callable[[Inventory], None]


def ignored(_found: object) -> None:
    """For callers who need not know."""


def take_inventory(
    store: Store,
    folder: CacheFolder,
    folder_name: str,
    on_step: OnStep = ignored,
    *,
    repair: bool = False,
    collection: str | None = None,
    lock: Lock | None = None,
    on_found: OnFound = ignored,
) -> Inventory:
    """Compare the folder, or what one collection has in it, with the store.

    A repair takes each collection's lock, unless the caller holds that of the one: ``lock``.
    ``on_step`` is called every few thousand files with what is known so far; what it raises ends
    the comparison. Raises `StoreError`, and `CacheFolderError` for a folder that the store does not
    know.
    """
    record = next((each for each in store.folders() if each.name == folder_name), None)
    if record is None:
        raise CacheFolderError(f"the store knows no cache folder {folder_name!r}")
    taking = _Taking(store, folder, record, on_step, on_found, lock, repair=repair)
    return taking.run(collection)


class _Taking:
    """One inventory."""

    def __init__(
        self,
        store: Store,
        folder: CacheFolder,
        record: Folder,
        on_step: OnStep,
        on_found: OnFound,
        lock: Lock | None,
        *,
        repair: bool,
    ) -> None:
        self._store = store
        self._folder = folder
        self._record = record
        self._on_step = on_step
        self._on_found = on_found
        self._lock = lock
        self._repair = repair
        self._names = frozenset(
            each.name for each in store.folders() if _is_at(each, record.location)
        )
        self._found = Inventory(record.name, record.location)
        self._marker: bytes | None = None

    def run(self, collection: str | None) -> Inventory:
        """Compare all that is wanted; a folder that cannot be read is a trouble."""
        try:
            self._marker = self._folder.look().marker
            self._found.marker = marker_trouble(
                self._marker, self._store.identity(), self._record, self._names
            )
            wanted = [] if self._found.marker else self._collections(collection)
            for each in wanted:
                self._tick()
                self._compare(each)
        except CacheFolderError as error:
            self._found.trouble(str(error))
        if self._repair:
            self._store.refresh_folder(self._record.name)
        return self._found

    def _collections(self, wanted: str | None) -> Iterator[str]:
        """Those that have, or may have, files here.

        What is right in the folder and belongs to none of them is noted.
        """
        if self._record.layout is Layout.MIRROR:
            mirrored = self._record.mirrored
            if mirrored is None:
                self._note_foreign(set())
            elif wanted in (None, mirrored):
                yield mirrored
            return
        if wanted is not None:
            yield wanted
            return
        recorded = {
            collection for name in self._names for collection, _ in self._store.folder_amounts(name)
        }
        there = self._note_foreign({*self._store.collections(), *recorded})
        yield from sorted(recorded | there)

    def _note_foreign(self, known: set[str]) -> set[str]:
        """Which of the known collections have a folder here; the rest is foreign."""
        there = set()
        for each in self._folder.entries("", 0, self._tick):
            name = each.path.removesuffix("/")
            if each.trouble:
                self._note(Difference(Kind.UNREADABLE, each.path, None, trouble=each.trouble))
            elif each.path.endswith("/") and name in known:
                there.add(name)
            else:
                self._note(Difference(Kind.FOREIGN, each.path, each.size))
        return there

    def _compare(self, collection: str) -> None:
        try:
            with ExitStack() as stack:
                lock = self._lock
                if self._repair and lock is None:
                    lock = stack.enter_context(locked(self._store, collection, _who()))
                elif lock is None and is_locked(self._store, collection):
                    self._found.busy.append(collection)
                self._compare_locked(collection, lock if self._repair else None)
        except LeaseHeldError:
            self._found.busy.append(collection)
        except (CacheFolderError, ImageError) as error:
            self._found.trouble(f"{collection}: {error}")

    def _compare_locked(self, collection: str, lock: Lock | None) -> None:
        def tick() -> None:
            if lock is not None:
                lock.renew()
            self._tick()

        if lock is not None and len(self._names) == 1:  # what one name drops, another may have
            Remover(self._store, self._folder, self._record.name, collection, tick).finish()
        comparison = _Comparison(
            self._store, self._folder, self._record, self._names, collection, tick
        )
        repairs = None
        if lock is not None:
            repairs = _Repairs(comparison, self._found, lock, self._marker)
        for some in comparison.batches():
            self._found.compared += some.same
            for each in some.differences:
                self._note(each)
            if repairs is not None:
                repairs.make(some.differences)
            tick()

    def _note(self, found: Difference) -> None:
        self._found.add(found)
        if found.kind is Kind.UNREADABLE:
            self._found.trouble(f"{found.path or self._record.location}: {found.trouble}")
        self._on_found(found)

    def _tick(self) -> None:
        self._on_step(self._found)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Some of what was compared: how many files are as recorded, and the differences."""

    same: int
    differences: Sequence[Difference]


class _Comparison:
    """Of one collection in one folder; changes nothing."""

    def __init__(
        self,
        store: Store,
        folder: CacheFolder,
        record: Folder,
        names: frozenset[str],
        collection: str,
        tick: Callable[[], None],
    ) -> None:
        self.store = store
        self.folder = folder
        self.record = record
        self.collection = collection
        self._names = names
        self._tick = tick
        self._tiers: set[str] = set()

    def batches(self) -> Iterator[_Batch]:
        """Up to a thousand differences at a time; none is what only looked so."""
        same = 0
        differences: list[Difference] = []
        for each in self._compared():
            if each is None:
                same += 1
            else:
                differences.append(each)
            if len(differences) >= BATCH or same >= BATCH:
                yield _Batch(same, self._judged(differences))
                same, differences = 0, []
        yield _Batch(same, self._judged(differences))

    def _compared(self) -> Iterator[Difference | None]:
        rows = sorted_externally(self._rows(), key=_order_of, on_step=self._tick)
        recorded = (
            Recorded(path, size, ordinal, tier, leaving, borrowed)
            for path, leaving, borrowed, size, ordinal, tier in rows
        )
        mirror = self.record.layout is Layout.MIRROR
        below = "" if mirror else self.collection
        depth = _MIRROR_DEPTH if mirror else _HASHED_DEPTH
        yield from compare(recorded, self.folder.entries(below, depth, self._tick))

    def _rows(self) -> Iterator[_Row]:
        files = self.store.derivative_files(self.collection, None, self._tick)
        for number, (ordinal, tier, folder, path, size) in enumerate(files):
            if number % BATCH == 0:
                self._tick()
            if folder in self._names:
                self._tiers.add(tier)
                yield path, False, folder != self.record.name, size, ordinal, tier
        for name in self._names:
            for each in self.store.removals(self.collection, name):
                self._tiers.add(each.tier)
                yield each.path, True, False, each.bytes, each.ordinal, each.tier

    def _judged(self, differences: Sequence[Difference]) -> list[Difference]:
        """The same, asked for once more where something lacks, and with what fpj may have written
        apart from the rest.
        """
        doubtful = [each for each in differences if each.kind in (Kind.MISSING, Kind.WRONG_SIZE)]
        sizes = dict(
            zip(
                (each.path for each in doubtful),
                self.folder.sizes([each.path for each in doubtful]) if doubtful else (),
                strict=True,
            )
        )
        strange = [each for each in differences if each.kind is Kind.FOREIGN]
        ours = self._ours([each.path for each in strange if each.size is not None])
        judged = []
        for each in differences:
            record = each.record
            if each.path in sizes and record is not None:
                size = sizes[each.path]
                if size == record.size:
                    continue
                kind = Kind.MISSING if size is None else Kind.WRONG_SIZE
                judged.append(replace(each, kind=kind, size=record.size if size is None else size))
            elif each.kind is Kind.FOREIGN and each.path in ours:
                judged.append(replace(each, kind=Kind.UNRECORDED))
            else:
                judged.append(each)
        return judged

    def _ours(self, paths: Sequence[str]) -> set[str]:
        """Those that fpj may have written for this collection."""
        layout = self.record.layout
        candidates = [path for path in paths if could_be_ours(path, layout)]
        if layout is Layout.HASHED or not candidates:
            return set(candidates)
        asked = self.store.requested_tiers(self.collection).values()
        tiers = self._tiers.union(*asked)
        names = {
            path: [claimed_name(name) for name in names_told_apart(_name_in(path))]
            for path in candidates
            if path.partition("/")[0] in tiers
        }
        owners: dict[str, str] = {}
        wanted = sorted({each for claimed in names.values() for each in claimed})
        for start in range(0, len(wanted), BATCH):
            owners |= self.store.name_owners(self.collection, wanted[start : start + BATCH])
        return {path for path, claimed in names.items() if not owners.keys().isdisjoint(claimed)}


class _Repairs:
    """What is done about the differences of one collection, under its lock."""

    def __init__(
        self, comparison: _Comparison, found: Inventory, lock: Lock, marker: bytes | None
    ) -> None:
        self._store = comparison.store
        self._folder = comparison.folder
        self._collection = comparison.collection
        self._found = found
        self._lock = lock
        self._marker = marker
        self._now: float | None = None

    def make(self, differences: Sequence[Difference]) -> None:
        """Forget records that have no file, and remove files that have no record.

        A file of a wrong size is both, once its record is forgotten.
        """
        wrong = [each for each in differences if each.kind in (Kind.MISSING, Kind.WRONG_SIZE)]
        if wrong:
            self._forget(wrong)
        unrecorded = [
            each for each in differences if each.kind in (Kind.UNRECORDED, Kind.WRONG_SIZE)
        ]
        if unrecorded:
            self._remove(unrecorded)

    def _forget(self, wrong: Sequence[Difference]) -> None:
        self._require_ours()
        refs = [(each.record.ordinal, each.record.tier) for each in wrong if each.record]
        self._store.delete_derivatives(self._collection, refs, self._lock.fence)
        for each in wrong:
            self._found.kinds[each.kind].repaired += 1

    def _remove(self, unrecorded: Sequence[Difference]) -> None:
        if self._now is None:
            self._now = self._folder.now()
        old = [each for each in unrecorded if self._now - each.modified >= _YOUNG_SECONDS]
        young = [each for each in unrecorded if each not in old and each.kind is Kind.UNRECORDED]
        self._found.young += len(young)
        if not old:
            return
        self._require_ours()
        troubles = self._folder.remove_many([each.path for each in old])
        for path, why in troubles.items():
            self._found.trouble(f"{path}: {why}")
        tally = self._found.kinds[Kind.UNRECORDED]
        tally.repaired += sum(
            each.path not in troubles for each in old if each.kind is Kind.UNRECORDED
        )

    def _require_ours(self) -> None:
        """Raise unless the lock is still held, and the folder is still the one that was looked at.

        Raises `FencedError` and `CacheFolderError`.
        """
        self._lock.renew(at_once=True)
        if self._folder.look().marker != self._marker:
            raise CacheFolderError(
                "the cache folder's marker has changed while it was compared: is it still mounted?"
            )


def _order_of(row: _Row) -> tuple[bytes, bool, bool]:
    """As `Recorded.order`."""
    return order_of(row[0]), row[1], row[2]


def _name_in(path: str) -> str:
    """Of a file in a folder of the layout Mirror: without its tier and its extension."""
    return path.rpartition(".")[0].partition("/")[2]


def _is_at(folder: Folder, location: str) -> bool:
    return folder.location.rstrip("/") == location.rstrip("/")


def _who() -> str:
    return f"verify-{uuid.uuid4()}"
