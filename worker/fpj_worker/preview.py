"""What a run would do, found out without writing anything: no record, no lock, no file (`--dry-run`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from fpj_core.folders import CacheFolder
from fpj_core.model import Derivative, Format, ImageRecord, SourceEntry, TierSpec, tier_digests
from fpj_core.sources.base import Source
from fpj_core.sources.filters import Reason
from fpj_core.store.codec import batched, spans
from fpj_core.store.protocol import Store
from fpj_worker.indexer import listing_problem, name_nothing
from fpj_worker.memory import ReadOnlyMemory

_BATCH = 1_000
_BYTES_PER_PIXEL = {Format.PNG: 1.5, Format.WEBP: 0.15, Format.AVIF: 0.1}
_BYTES_PER_PIXEL_ELSE = 0.25
"""Of photographs at the default qualities (the samples, within a factor of two): an estimate for lack of records."""


class Why(StrEnum):
    """Why an image would be made."""

    NEW = "new"
    CHANGED = "changed"
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


class _Lost:
    """Which recorded files are not there: a bit for each."""

    def __init__(self) -> None:
        self._bits: dict[str, bytearray] = {}

    def add(self, ordinal: int, tier: str) -> None:
        bits = self._bits.setdefault(tier, bytearray())
        if len(bits) <= ordinal >> 3:
            bits.extend(bytes((ordinal >> 3) + 1 - len(bits)))
        bits[ordinal >> 3] |= 1 << (ordinal & 7)

    def has(self, ordinal: int, tier: str) -> bool:
        bits = self._bits.get(tier, b"")
        return ordinal >> 3 < len(bits) and bool(bits[ordinal >> 3] & (1 << (ordinal & 7)))


class Previewer:
    """Compares a source with what is recorded. ``on_image`` gets each image that would be made, by reason and key.

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
        self._sizes = self._bytes_per_file()
        self._lost: _Lost | None = None

    def compare(self, source: Source, on_step: Callable[[int], None]) -> Preview:
        """List the source. Raises `SourceError`, `CacheFolderError`, `StoreError`, and what ``on_step`` raises."""
        found = Preview()

        def stepped() -> None:
            source.problems.take()  # they are counted; nobody needs them here
            if len(source.left_out.untaken) >= _BATCH:
                self._on_left_out(source.left_out.take())
            on_step(found.total)

        self._lost = self._all_lost(stepped)
        memory = ReadOnlyMemory(self._store, self._wanted.collection, listing_problem)
        for batch in batched(source.list(stepped, memory), _BATCH):
            images = self._images(batch)
            made = self._derivatives(sorted(image.ordinal for image in images.values()))
            for entry in batch:
                image = images.get(entry.key)
                lacking = self._lacking(entry, image, made.get(image.ordinal, {}) if image else {})
                self._add(found, entry, lacking)
            found.total += len(batch)
            stepped()
        self._on_left_out(source.left_out.take())
        found.problems, found.left_out = source.problems.count, source.left_out.document()
        return found

    def _add(self, found: Preview, entry: SourceEntry, lacking: Mapping[str, Why]) -> None:
        if not lacking:
            return
        why = min(lacking.values(), key=list(Why).index)
        found.reasons[why] += 1
        found.need_bytes += sum(self._sizes[tier] for tier in lacking)
        self._on_image(why, entry.key)

    def _lacking(self, entry: SourceEntry, image: ImageRecord | None, made: Mapping[str, Derivative]) -> dict[str, Why]:
        """By tier, why its file would be made."""
        reasons = {tier: self._why(entry, image, made.get(tier)) for tier in self._digests}
        return {tier: why for tier, why in reasons.items() if why}

    def _why(self, entry: SourceEntry, image: ImageRecord | None, made: Derivative | None) -> Why | None:
        if self._wanted.force:
            return Why.FORCED
        if image is None:
            return Why.NEW
        if made is None:
            return Why.CHANGED if image.version != entry.version else Why.NEW
        if made.source_version != entry.version:
            return Why.CHANGED
        if made.digest != self._digests[made.tier]:
            return Why.SETTINGS_CHANGED
        elsewhere = made.folder != self._wanted.folder_name
        lost = self._wanted.check_files and (elsewhere or self._is_lost(made))
        return Why.FILE_LOST if lost else None

    def _is_lost(self, made: Derivative) -> bool:
        if self._lost is not None:
            return self._lost.has(made.ordinal, made.tier)
        return self._folder.size(made.path) != made.bytes

    def _all_lost(self, on_step: Callable[[], None]) -> _Lost | None:
        """All files that are not there, found at once; None where they are better asked about one by one."""
        if self._folder.answers_at_once or not self._wanted.check_files or self._wanted.force:
            return None
        files = self._store.derivative_files(self._wanted.collection, list(self._digests), on_step)
        expected = (
            (path, size, (ordinal, tier))
            for ordinal, tier, folder, path, size in files
            if folder == self._wanted.folder_name
        )
        lost = _Lost()
        for ordinal, tier in self._folder.lacking(expected, on_step):
            lost.add(ordinal, tier)
        return lost

    def _images(self, batch: Sequence[SourceEntry]) -> dict[str, ImageRecord]:
        return self._store.images_by_key(self._wanted.collection, [entry.key for entry in batch])

    def _derivatives(self, ordinals: Sequence[int]) -> dict[int, dict[str, Derivative]]:
        made: dict[int, dict[str, Derivative]] = {}
        for start, stop in spans(ordinals):
            for each in self._store.derivatives(self._wanted.collection, start, stop, list(self._digests)):
                made.setdefault(each.ordinal, {})[each.tier] = each
        return made

    def _bytes_per_file(self) -> dict[str, int]:
        """By tier: as large as those on record; else a guess by its box."""
        known = self._store.statistics(self._wanted.collection)
        by_tier = known[0].by_tier if known else {}
        sizes = {}
        for tier in self._wanted.tiers:
            files, size = by_tier.get(tier.name, (0, 0))
            guess = tier.width * tier.height * _BYTES_PER_PIXEL.get(tier.format, _BYTES_PER_PIXEL_ELSE)
            sizes[tier.name] = size // files if files else round(guess)
        return sizes
