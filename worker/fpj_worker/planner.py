"""Check and plan: what of an indexed collection has to be done, cut into shards. For `fpj run` and index pods alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from fpj_core.folders import CacheFolder
from fpj_core.model import Counts, Job, Layout, Shard, TierSpec, tier_digests
from fpj_core.planning import cut_shards
from fpj_core.store.codec import batched, spans
from fpj_core.store.protocol import Store
from fpj_worker.naming import MirrorNames
from fpj_worker.verify import forget_made_by_others, forget_missing_files

_NAMED = 1_000
"""Images that are named at a time."""


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What of a job decides what has to be done."""

    tiers: tuple[TierSpec, ...]
    folder_name: str
    shard_size: Callable[[int], int]
    """From the number of images to process to images per shard."""
    check_files: bool
    force: bool
    layout: Layout = Layout.HASHED


@dataclass(frozen=True, slots=True)
class Planned:
    """What was planned. ``base`` counts the images that no shard covers.

    ``done`` are all images that need nothing, within shards' ranges too; ``made_before`` of them are completed, not
    skipped, because earlier attempts made them.
    """

    total: int
    shards: int
    base: Counts
    done: int
    made_before: int


class Planner:
    """Plans jobs over one collection, which must have been indexed and be locked.

    ``on_stage`` is told when a stage begins, Check or Plan; ``on_tick`` is called for each file that is checked, every
    few thousand images and for each shard, and what it raises ends the planning. Whoever plans again starts over and
    comes to the same.
    """

    def __init__(
        self,
        store: Store,
        folder: CacheFolder,
        collection: str,
        settings: PlanSettings,
        on_stage: Callable[[str], None] = lambda _name: None,
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._folder = folder
        self._collection = collection
        self._settings = settings
        self._on_stage = on_stage
        self._on_tick = on_tick
        self._tier_names = [tier.name for tier in settings.tiers]
        self._digests = tier_digests(settings.tiers)

    def plan(self, job: Job, attempt: int, *, resumed: bool) -> Planned:
        """Put the shards of ``attempt``; those of earlier ones stay, for whoever records the plan to delete.

        ``resumed`` says that an earlier attempt may have made something: that counts as completed. With ``force``,
        only what this job made by these settings need not be made again, whoever made the rest.
        """
        store = self._store
        if self._settings.force:
            forget_made_by_others(store, self._collection, self._tier_names, job.id, self._on_tick)
        pending = self._checked()
        total = store.count_images(self._collection, on_step=self._on_tick)
        size = self._settings.shard_size(pending)
        lacking = _Counted(self._pending() if pending else ())
        shards = cut_shards(job.id, attempt, self._collection, lacking, size)
        cut = _Cut(shards, lacking, size, self._made_before(job) if resumed else iter(()), self._images_in)
        number = store.put_shards(job.id, attempt, cut)
        store.delete_failures(job.id, self._on_tick)
        base = replace(cut.outside, skipped=total - cut.covered - cut.outside.completed)
        made_before = cut.outside.completed + cut.within
        return Planned(total, number, base, done=total - lacking.count, made_before=made_before)

    def _checked(self) -> int:
        """Images to process by the records, of which those without their files are forgotten first."""
        settings = self._settings
        if settings.check_files:
            self._on_stage("Check")
            forget_missing_files(
                self._store, self._collection, self._tier_names, settings.folder_name, self._folder, self._on_tick
            )
        self._on_stage("Plan")
        pending = self._pending()
        return sum(1 for _ in (self._named(pending) if settings.layout is Layout.MIRROR else pending))

    def _named(self, pending: Iterator[int]) -> Iterator[int]:
        """The same ordinals. Their images get their names here, in this order, and keep them wherever they are made."""
        naming = MirrorNames(self._store, self._collection)
        for ordinals in batched(pending, _NAMED):
            wanted = set(ordinals)
            for start, stop in spans(ordinals):
                images = self._store.images(self._collection, start, stop)
                naming.of([image for image in images if image.ordinal in wanted])
            self._on_tick()
            yield from ordinals

    def _pending(self) -> Iterator[int]:
        return self._store.pending_ordinals(self._collection, self._digests, self._on_tick)

    def _made_before(self, job: Job) -> Iterator[tuple[int, int]]:
        """(ordinal, bytes) of what earlier attempts of this job finished."""
        return _without(self._store.made_by(job, self._on_tick), self._pending())

    def _images_in(self, start: int, stop: int) -> int:
        return self._store.count_images(self._collection, start, stop, self._on_tick)


class _Cut:
    """Shards as they are cut, one at a time, each with the counts of what is done within its range.

    Once all have been taken: ``covered`` images lie within their ranges, of which earlier attempts made ``within``;
    ``outside`` counts what those made elsewhere.
    """

    def __init__(
        self,
        shards: Iterator[Shard],
        lacking: _Counted,
        size: int,
        made: Iterator[tuple[int, int]],
        images_in: Callable[[int, int], int],
    ) -> None:
        self._shards = shards
        self._lacking = lacking
        self._size = size
        self._made = made
        self._ahead = next(made, None)
        self._images_in = images_in
        self.covered = self.within = 0
        self.outside = Counts()

    def __iter__(self) -> Iterator[Shard]:
        for place, shard in enumerate(self._shards):
            self.outside += self._made_below(shard.start)
            counts = self._made_below(shard.stop)
            images = self._images_in(shard.start, shard.stop)
            # A shard that is full was cut when the next one's first image came.
            to_do = min(self._lacking.count - self._size * place, self._size)
            self.covered += images
            self.within += counts.completed
            yield replace(shard, counts=replace(counts, skipped=max(images - to_do - counts.completed, 0)))
        self.outside += self._made_below(math.inf)

    def _made_below(self, stop: float) -> Counts:
        """What is not taken yet of what was made, up to an ordinal."""
        completed = size = 0
        while self._ahead is not None and self._ahead[0] < stop:
            completed += 1
            size += self._ahead[1]
            self._ahead = next(self._made, None)
        return Counts(completed=completed, bytes_written=size)


class _Counted:
    """Ordinals as they come; ``count`` of them have come so far."""

    def __init__(self, ordinals: Iterable[int]) -> None:
        self._ordinals = ordinals
        self.count = 0

    def __iter__(self) -> Iterator[int]:
        for ordinal in self._ordinals:
            self.count += 1
            yield ordinal


def _without(made: Iterable[tuple[int, int]], pending: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Of (ordinal, bytes), those that are not pending. Both are ascending."""
    ahead = next(pending, None)
    for ordinal, size in made:
        while ahead is not None and ahead < ordinal:
            ahead = next(pending, None)
        if ahead != ordinal:
            yield ordinal, size
