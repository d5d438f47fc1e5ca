"""Check and plan: what of an indexed collection has to be done, cut into shards.

For `fpj run` and index pods alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from fpj_core.folders.base import CacheFolder
from fpj_core.model import Counts, Job, Layout, Shard, TierSpec, tier_digests
from fpj_core.ordinals import Ordinals
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

    ``done`` are all images that need nothing, within shards' ranges too; ``made_before`` of them
    are completed, not skipped, because earlier attempts made them.
    """

    total: int
    shards: int
    base: Counts
    done: int
    made_before: int


class Planner:
    """Plans jobs over one collection, which must have been indexed and be locked.

    ``on_stage`` is called when a stage begins, Check or Plan; ``on_tick`` for each file that is
    checked, every few thousand images and for each shard, and what it raises ends the planning.
    Planning again starts over, with the same result.
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
        """Put the shards of ``attempt``; those of earlier ones stay,
        for whoever records the plan to delete.

        ``resumed`` says that an earlier attempt may have made something: that counts as completed.
        With ``force``, only what this job made by these settings need not be made again, whoever
        made the rest.
        """
        store = self._store
        if self._settings.force:
            forget_made_by_others(store, self._collection, self._tier_names, job.id, self._on_tick)
        live, pending = self._checked()
        shards = cut_shards(
            job.id, attempt, self._collection, pending, self._settings.shard_size(len(pending))
        )
        cut = _Cut(
            shards,
            live,
            pending,
            self._made_before(job, pending) if resumed else iter(()),
            self._on_tick,
        )
        number = store.put_shards(job.id, attempt, cut, job.planner)
        store.delete_failures(job.id, self._on_tick)
        base = replace(cut.outside, skipped=len(live) - cut.covered - cut.outside.completed)
        made_before = cut.outside.completed + cut.within
        return Planned(
            len(live), number, base, done=len(live) - len(pending), made_before=made_before
        )

    def _checked(self) -> tuple[Ordinals, Ordinals]:
        """Images, and those to process by the records, of which those without their files are
        forgotten first.

        Each record is read once: there may be 50 million.
        """
        settings = self._settings
        if settings.check_files:
            self._on_stage("Check")
            forget_missing_files(
                self._store,
                self._collection,
                self._tier_names,
                settings.folder_name,
                self._folder,
                self._on_tick,
            )
        self._on_stage("Plan")
        live, pending = Ordinals(), Ordinals()
        for some, lacking in self._store.live_and_pending(
            self._collection, self._digests, self._on_tick
        ):
            live.add(some)
            pending.add(lacking)
        if settings.layout is Layout.MIRROR:
            self._name(pending)
        return live, pending

    def _name(self, pending: Ordinals) -> None:
        """The images get their names here, in this order, and keep them wherever they are made."""
        naming = MirrorNames(self._store, self._collection)
        for ordinals in batched(pending, _NAMED):
            wanted = set(ordinals)
            for start, stop in spans(ordinals):
                images = self._store.images(self._collection, start, stop)
                naming.of([image for image in images if image.ordinal in wanted])
            self._on_tick()

    def _made_before(self, job: Job, pending: Ordinals) -> Iterator[tuple[int, int]]:
        """(ordinal, bytes) of what earlier attempts of this job finished."""
        return (made for made in self._store.made_by(job, self._on_tick) if made[0] not in pending)


class _Cut:
    """Shards as they are cut, one at a time, each with the counts of what is done within its range.

    Once all have been taken: ``covered`` images lie within their ranges, of which earlier attempts
    made ``within``; ``outside`` counts what those made elsewhere.
    """

    def __init__(
        self,
        shards: Iterator[Shard],
        live: Ordinals,
        pending: Ordinals,
        made: Iterator[tuple[int, int]],
        on_shard: Callable[[], None],
    ) -> None:
        self._shards = shards
        self._live = live
        self._pending = pending
        self._made = made
        self._ahead = next(made, None)
        self._on_shard = on_shard
        self.covered = self.within = 0
        self.outside = Counts()

    def __iter__(self) -> Iterator[Shard]:
        for shard in self._shards:
            self._on_shard()
            self.outside += self._made_below(shard.start)
            counts = self._made_below(shard.stop)
            images = self._live.count(shard.start, shard.stop)
            to_do = self._pending.count(shard.start, shard.stop)
            self.covered += images
            self.within += counts.completed
            yield replace(
                shard, counts=replace(counts, skipped=max(images - to_do - counts.completed, 0))
            )
        self.outside += self._made_below(math.inf)

    def _made_below(self, stop: float) -> Counts:
        """What is not taken yet of what was made, up to an ordinal."""
        completed = size = 0
        while self._ahead is not None and self._ahead[0] < stop:
            completed += 1
            size += self._ahead[1]
            self._ahead = next(self._made, None)
        return Counts(completed=completed, bytes_written=size)
