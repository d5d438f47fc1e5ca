"""Check and plan: what of an indexed collection has to be done, cut into shards. For `fpj run` and index pods alike."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from fpj_core.folders import CacheFolder
from fpj_core.model import Counts, Job, Shard, TierSpec
from fpj_core.planning import cut_shards
from fpj_core.store.protocol import Store
from fpj_worker.verify import forget_all, forget_missing_files

_TICK_ITEMS = 5_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What of a job decides what has to be done."""

    tiers: tuple[TierSpec, ...]
    folder_name: str
    shard_size: Callable[[int], int]
    """From the number of images to process to images per shard."""
    check_files: bool
    force: bool


@dataclass(frozen=True, slots=True)
class Planned:
    """What was planned. ``base`` counts the images that no shard covers."""

    total: int
    shards: int
    base: Counts


class Planner:
    """Plans jobs over one collection, which must have been indexed and be locked.

    ``on_stage`` is told when a stage begins, Check or Plan; ``on_tick`` is called at least every few thousand images,
    and what it raises ends the planning. Whoever plans again starts over and comes to the same.
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
        self._digests = {tier.name: tier.digest() for tier in settings.tiers}

    def count_pending(self) -> int:
        """Images to process, after the recorded files were checked."""
        settings = self._settings
        if settings.force:
            return self._store.count_images(self._collection, on_step=self._on_tick)
        if settings.check_files:
            self._on_stage("Check")
            forget_missing_files(
                self._store, self._collection, self._tier_names, settings.folder_name, self._folder, self._on_tick
            )
        self._on_stage("Plan")
        return sum(1 for _ in self._pending())

    def plan(self, job: Job, attempt: int, *, resumed: bool) -> Planned:
        """Put the shards of ``attempt``; those of earlier ones stay, for whoever records the plan to delete.

        ``resumed`` says that an earlier attempt may have made something: that counts as completed, and with
        ``force`` it is what need not be made again.
        """
        store = self._store
        if self._settings.force and not (resumed and any(True for _ in store.made_by(job))):
            forget_all(store, self._collection, self._tier_names, self._on_tick)
        pending = self.count_pending()
        total = store.count_images(self._collection, on_step=self._on_tick)
        ordinals = self._pending() if pending else ()
        shards = list(cut_shards(job.id, attempt, self._collection, ordinals, self._settings.shard_size(pending)))
        store.put_shards(job.id, attempt, shards)
        store.delete_failures(job.id, self._on_tick)
        in_shards = sum(store.count_images(self._collection, s.start, s.stop) for s in self._ticking(shards))
        made = self._made_outside(job, shards) if resumed else Counts()
        return Planned(total, len(shards), replace(made, skipped=total - in_shards - made.completed))

    def _pending(self) -> Iterator[int]:
        return self._ticking(self._store.pending_ordinals(self._collection, self._digests))

    def _made_outside(self, job: Job, shards: list[Shard]) -> Counts:
        """What earlier attempts of this job finished and no shard covers again."""
        starts = [shard.start for shard in shards]
        completed = bytes_written = 0
        for ordinal, size in self._ticking(self._store.made_by(job)):
            place = bisect_right(starts, ordinal)
            if not place or ordinal >= shards[place - 1].stop:
                completed += 1
                bytes_written += size
        return Counts(completed=completed, bytes_written=bytes_written)

    def _ticking(self, items: Iterable[T]) -> Iterator[T]:
        for number, item in enumerate(items, 1):
            yield item
            if number % _TICK_ITEMS == 0:
                self._on_tick()
