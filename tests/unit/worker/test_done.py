"""Done, as people see it, over attempts that are cut short: it never falls,
and is exact at the end.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from unit.worker.fakes import (
    COLLECTION,
    FULL,
    THUMBNAIL,
    ListSource,
    MemoryFolder,
    ScriptedPool,
    entries,
    job,
)

from fpj_core.errors import FpjError
from fpj_core.model import Counts, ImageLimits, Job
from fpj_core.progress import measure
from fpj_core.store import open_store
from fpj_core.store.protocol import Store
from fpj_worker.indexer import index_collection
from fpj_worker.planner import Planner, PlanSettings
from fpj_worker.shard import JobContext, Pool, ShardProcessor

TIERS = (FULL, THUMBNAIL)
IMAGES = 60


class StoppedError(FpjError):
    """The attempt is ended from outside."""


class KilledError(BaseException):
    """The process is gone."""


class History:
    """One collection, worked on by attempts of jobs; ``shown`` is what each look at the present job
    gave.
    """

    def __init__(self, store: Store, chance: random.Random) -> None:
        self.store = store
        self.chance = chance
        self.folder = MemoryFolder()
        self.shown: list[int] = []
        self.now = time.time()

    def plan(self, stored: Job, attempt: int) -> Job:
        planner = Planner(
            self.store,
            self.folder,
            COLLECTION,
            PlanSettings(TIERS, "main", lambda _pending: 13, True, False),
        )
        planned = planner.plan(stored, attempt, resumed=attempt > 1)
        return self.store.update_job(
            replace(
                stored,
                total=planned.total,
                base=planned.base,
                made_before=planned.made_before,
                planning_attempt=attempt,
                planned_attempt=attempt,
                planned_shards=planned.shards,
                active_seconds=1.0,
            )
        )

    def counts(self, stored: Job) -> Counts:
        return stored.base + self.store.job_counts(stored.id, stored.planned_attempt)[0]

    def show(self, stored: Job) -> None:
        self.shown.append(self.counts(stored).done)

    def attempt(
        self, stored: Job, *, ticks: int | None, error: type[BaseException] = StoppedError
    ) -> None:
        """Work on all shards, or be stopped after so many ticks."""
        left = ticks
        # The cursor waits for them, others are recorded beyond it.
        slowest = set(self.chance.sample(range(IMAGES), 6))
        pool = ScriptedPool(self.folder, chance=self.chance, slowest=slowest, room=12)

        def tick() -> None:
            nonlocal left
            self.show(stored)
            if left is not None:
                left -= 1
                if left < 0:
                    raise error

        context = JobContext(
            stored.id, COLLECTION, TIERS, ImageLimits(), "main", fence=0, batch_size=4
        )
        self.now += 1_000  # whoever held a shard before is silent
        now = self.now
        try:
            with pool:
                processor = ShardProcessor(
                    self.store, cast("Pool", pool), self.folder, context, tick
                )
                for index in self.chance.sample(
                    range(stored.planned_shards), stored.planned_shards
                ):
                    if shard := self.store.claim_shard(
                        stored.id, stored.planned_attempt, "pod", now, index=index
                    ):
                        processor.complete(shard, lambda: 1.0)
        except (StoppedError, KilledError):
            pass
        self.show(stored)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(str(tmp_path / "fpj.db"))) as opened:
        yield opened


@pytest.mark.parametrize("seed", range(20))
def test_done_never_falls_and_is_exact_at_the_end(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    history = History(store, chance)
    index_collection(store, ListSource(entries(IMAGES)), COLLECTION, fence=0)
    other = store.create_job(job("other"))
    history.attempt(history.plan(other, 1), ticks=chance.randint(1, 12))
    skipped = sum(1 for _ in store.made_by(other))
    history.shown.clear()

    stored = store.create_job(job("ours"))
    attempt = 0
    for attempt in range(1, chance.randint(3, 5)):
        stored = history.plan(stored, attempt)
        history.show(stored)
        speed = measure(stored, store.job_counts(stored.id, attempt)[0]).images_per_second
        assert speed == 0, "nothing has been made in this attempt yet"
        for _ in range(chance.randint(1, 4)):  # the later ones rescue what the earlier held
            history.attempt(
                stored,
                ticks=chance.randint(2, 12),
                error=chance.choice([StoppedError, KilledError]),
            )
    stored = history.plan(stored, attempt + 1)
    history.attempt(stored, ticks=None)
    assert history.shown == sorted(history.shown), "it never falls"
    counts = history.counts(stored)
    assert (counts.completed, counts.skipped, counts.failed) == (IMAGES - skipped, skipped, 0)
    assert counts.bytes_written == sum(size for _, size in store.made_by(stored))
    final = measure(stored, store.job_counts(stored.id, stored.planned_attempt)[0])
    assert final.percent == 100
    assert final.images_per_second <= counts.completed - stored.made_before, (
        "what was found done does not count as speed"
    )


def test_a_file_that_goes_between_plan_and_pass_is_made_again_and_counted_once(
    store: Store,
) -> None:
    history = History(store, random.Random(1))
    index_collection(store, ListSource(entries(IMAGES)), COLLECTION, fence=0)
    ours = history.plan(store.create_job(job("ours")), 1)
    history.attempt(ours, ticks=None)
    for ordinal in (2, 9):
        for made in store.derivatives(COLLECTION, ordinal, ordinal + 1, ["full", "thumbnail"]):
            del history.folder.files[made.path]
    ours = history.plan(ours, 2)
    (shard,) = store.shards("ours", 2)
    assert (shard.start, shard.stop, shard.counts.completed) == (2, 10, 6)
    path = store.derivatives(COLLECTION, 5, 6, ["full"])[0].path
    del history.folder.files[path]
    history.shown.clear()
    history.attempt(ours, ticks=None)
    assert path in history.folder.files
    counts = history.counts(ours)
    assert (counts.completed, counts.skipped, counts.failed) == (IMAGES, 0, 0)
    assert counts.bytes_written == sum(size for _, size in store.made_by(ours))
    assert history.shown == sorted(history.shown)
