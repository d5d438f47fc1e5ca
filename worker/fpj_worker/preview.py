"""What a run would do, found out without writing anything: no record, no lock,
no file (`--dry-run`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from fpj_core.folders.base import CacheFolder
from fpj_core.model import Derivative, ImageRecord, SourceEntry, TierSpec, tier_digests
from fpj_core.ordinals import Ordinals
from fpj_core.sources.base import Source
from fpj_core.sources.filters import Reason
from fpj_core.store.codec import batched, spans
from fpj_core.store.protocol import Store
from fpj_worker.indexer import listing_problem, name_nothing
from fpj_worker.memory import ReadOnlyMemory
from fpj_worker.removal import Cleanup, Removed
from fpj_worker.removalpreview import RemovalPreview
from fpj_worker.room import bytes_per_file

_BATCH = 1_000
_MOST_OF_SOURCE = 2
"""So many times its source a file may take: by the boxes alone, small pictures seem huge."""
_UNKNOWN = 2**62
_EARLIER_JOBS = 5
"""One that was interrupted knows only some of the images that fail."""


class Why(StrEnum):
    """Why an image would be made."""

    NEW = "new"
    CHANGED = "changed"
    FAILED_BEFORE = "failedBefore"
    FILE_LOST = "fileLost"
    SETTINGS_CHANGED = "settingsChanged"
    FORCED = "forced"


@dataclass(slots=True)
class Preview:
    """What a run would do, in images; ``need_bytes`` is roughly what its files would take."""

    total: int = 0
    problems: int = 0
    need_bytes: int = 0
    reasons: dict[Why, int] = field(default_factory=lambda: dict.fromkeys(Why, 0))
    removed: Removed = field(default_factory=Removed)
    """What would be removed, but for what the run would replace."""
    left_out: dict[str, int] = field(default_factory=dict)
    """By reason, as in `fpj_worker.indexer.IndexResult`."""

    @property
    def pending(self) -> int:
        """Images that would be made."""
        return sum(self.reasons.values())


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a job decides what has to be done."""

    collection: str
    tiers: Sequence[TierSpec]
    folder_name: str
    check_files: bool
    force: bool
    asked: Mapping[str, Sequence[str]] = field(default_factory=dict)
    vanished_grace: float | None = None
    """As in `fpj_worker.removal.Cleanup`."""


class Previewer:
    """Compares a source with what is recorded.

    ``on_image`` gets each image that would be made, by reason and key.

    ``on_left_out`` gets what is left out, some at a time.
    """

    def __init__(
        self,
        store: Store,
        folder: CacheFolder,
        wanted: Wanted,
        on_image: Callable[[Why, str], None] | None = None,
        on_left_out: Callable[[Sequence[tuple[Reason, str]]], None] = name_nothing,
    ) -> None:
        self._store = store
        self._folder = folder
        self._wanted = wanted
        self._on_image = on_image or (lambda _why, _key: None)
        self._on_left_out = on_left_out
        self._digests = tier_digests(wanted.tiers)
        self._sizes = bytes_per_file(store, wanted.collection, wanted.tiers)
        self._lost: dict[str, Ordinals] | None = None
        self._failed = Ordinals()
        self._seen = Ordinals()

    def compare(self, source: Source, on_step: Callable[[int], None]) -> Preview:
        """List the source.

        Raises `SourceError`, `CacheFolderError`, `StoreError`, and what ``on_step`` raises.
        """
        found = Preview()

        def stepped() -> None:
            source.problems.take()  # they are counted; nobody needs them here
            if len(source.left_out.untaken) >= _BATCH:
                self._on_left_out(source.left_out.take())
            on_step(found.total)

        self._lost = self._all_lost(stepped)
        self._failed = self._all_failed(stepped)
        memory = ReadOnlyMemory(self._store, self._wanted.collection, listing_problem)
        for batch in batched(source.list(stepped, memory), _BATCH):
            images = self._images(batch)
            self._seen.add(image.ordinal for image in images.values())
            made = self._derivatives(sorted(image.ordinal for image in images.values()))
            for entry in batch:
                image = images.get(entry.key)
                lacking = self._lacking(entry, image, made.get(image.ordinal, {}) if image else {})
                self._add(found, entry, lacking)
            found.total += len(batch)
            stepped()
        self._on_left_out(source.left_out.take())
        found.problems, found.left_out = source.problems.count, source.left_out.document()
        found.removed = self._removed(source, stepped)
        return found

    def _removed(self, source: Source, on_step: Callable[[], None]) -> Removed:
        """What lies behind a trouble of the listing has not vanished."""
        wanted = self._wanted
        cleanup = Cleanup(wanted.asked, wanted.vanished_grace, source.leaves_out)
        preview = RemovalPreview(self._store, wanted.collection, wanted.folder_name, on_step)
        return preview.of(cleanup, None if source.problems.count else self._seen)

    def _add(self, found: Preview, entry: SourceEntry, lacking: Mapping[str, Why]) -> None:
        if not lacking:
            return
        why = min(lacking.values(), key=list(Why).index)
        found.reasons[why] += 1
        most = _MOST_OF_SOURCE * entry.size or _UNKNOWN
        found.need_bytes += sum(min(self._sizes[tier], most) for tier in lacking)
        self._on_image(why, entry.key)

    def _lacking(
        self, entry: SourceEntry, image: ImageRecord | None, made: Mapping[str, Derivative]
    ) -> dict[str, Why]:
        """By tier, why its file would be made."""
        if image is None or self._wanted.force:
            return dict.fromkeys(self._digests, Why.FORCED if self._wanted.force else Why.NEW)
        unmade = self._why_unmade(entry, image, made)
        reasons = {
            tier: self._why(entry, made[tier]) if tier in made else unmade for tier in self._digests
        }
        return {tier: why for tier, why in reasons.items() if why}

    def _why_unmade(
        self, entry: SourceEntry, image: ImageRecord, made: Mapping[str, Derivative]
    ) -> Why:
        """Of a tier that has no file. An image that failed has none in any tier."""
        if image.version != entry.version:
            return Why.CHANGED
        return Why.FAILED_BEFORE if not made and image.ordinal in self._failed else Why.NEW

    def _why(self, entry: SourceEntry, made: Derivative) -> Why | None:
        if made.source_version != entry.version:
            return Why.CHANGED
        if made.digest != self._digests[made.tier]:
            return Why.SETTINGS_CHANGED
        elsewhere = made.folder != self._wanted.folder_name
        lost = self._wanted.check_files and (elsewhere or self._is_lost(made))
        return Why.FILE_LOST if lost else None

    def _is_lost(self, made: Derivative) -> bool:
        if self._lost is not None:
            return made.ordinal in self._lost.get(made.tier, ())
        return self._folder.size(made.path) != made.bytes

    def _all_failed(self, on_step: Callable[[], None]) -> Ordinals:
        """What failed in the latest jobs of the collection.

        What a later one made of it has files.
        """
        failed = Ordinals()
        for job in self._store.jobs(collection=self._wanted.collection, limit=_EARLIER_JOBS):
            after = -1
            while found := self._store.failures(job.id, after=after, limit=_BATCH):
                on_step()
                after = found[-1].ordinal
                failed.add(each.ordinal for each in found)
        return failed

    def _all_lost(self, on_step: Callable[[], None]) -> dict[str, Ordinals] | None:
        """All files that are not there, found at once.

        None where they are better asked about one by one.
        """
        if self._folder.answers_at_once or not self._wanted.check_files or self._wanted.force:
            return None
        files = self._store.derivative_files(self._wanted.collection, list(self._digests), on_step)
        expected = (
            (path, size, (ordinal, tier))
            for ordinal, tier, folder, path, size in files
            if folder == self._wanted.folder_name
        )
        lost: dict[str, Ordinals] = {}
        for ordinal, tier in self._folder.lacking(expected, on_step):
            lost.setdefault(tier, Ordinals()).add((ordinal,))
        return lost

    def _images(self, batch: Sequence[SourceEntry]) -> dict[str, ImageRecord]:
        return self._store.images_by_key(self._wanted.collection, [entry.key for entry in batch])

    def _derivatives(self, ordinals: Sequence[int]) -> dict[int, dict[str, Derivative]]:
        made: dict[int, dict[str, Derivative]] = {}
        for start, stop in spans(ordinals):
            for each in self._store.derivatives(
                self._wanted.collection, start, stop, list(self._digests)
            ):
                made.setdefault(each.ordinal, {})[each.tier] = each
        return made
