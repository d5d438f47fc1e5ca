"""A folder never holds more than it may, and what its policy says goes, and nothing else does."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from typing_extensions import override
from unit.worker.fakes import COLLECTION, MemoryFolder, size_of
from unit.worker.test_local import Bench, bench
from unit.worker.test_removal import KilledError, Killing

from fpj_cli.endings import code_of
from fpj_core.errors import (
    CacheFolderError,
    CacheFolderFullError,
    LeaseHeldError,
    PlanRemovesEverythingError,
    PolicyError,
)
from fpj_core.ids import image_id
from fpj_core.kube.exits import CommandExit
from fpj_core.kube.names import eviction_lease_name, lease_name
from fpj_core.leases import local_holder
from fpj_core.model import (
    Counts,
    Derivative,
    Folder,
    ImageRecord,
    Phase,
    RemovalReason,
    Shard,
    ShardBatch,
)
from fpj_core.policies import policy_of
from fpj_core.policy import Kept, Reason
from fpj_core.store.protocol import Store, nothing
from fpj_worker.eviction import Evictor
from fpj_worker.removal import Removed
from fpj_worker.room import Allowance

__all__ = ["bench"]  # a fixture

OTHER = "attic"
SIZE = 1_000
IMAGES = 40
NEED = sum(size_of(n, tier) for n in range(IMAGES) for tier in ("full", "thumbnail"))
"""Bytes of all that the job of the bench makes."""
BATCH = 5 * max(size_of(IMAGES, "full") + size_of(IMAGES, "thumbnail"), 1)


def put(
    store: Store,
    folder: MemoryFolder,
    count: int,
    collection: str = OTHER,
    tiers: Sequence[str] = ("full",),
    **changes: Any,
) -> list[Derivative]:
    """Have a finished job record derivatives, with their files; those of low ordinals are older."""
    made = []
    for n in range(count):
        image = image_id(collection, f"p{n}.jpg")
        store.upsert_images([ImageRecord(collection, n, image, f"p{n}.jpg", 9, "v1")], 0)
        for tier in tiers:
            path = f"{collection}/{tier}/{image[:2]}/{image}.jpg"
            first = Derivative(
                *(image, tier, collection, n, "d", "v1", "cache", path, 4, 3, SIZE, "before"),
                created_at=float(n + 1),
                cost_ms=10,
            )
            made.append(replace(first, **changes))
    job_id = f"of-{collection}"
    store.put_shards(job_id, 1, [Shard(job_id, 1, 0, collection, 0, count, 0)])
    claimed = store.claim_shard(job_id, 1, "me", 0.0)
    assert claimed
    store.flush(
        ShardBatch(job_id, 1, 0, collection, claimed.epoch, 0, 0, count, Counts(), tuple(made)),
        0.0,
    )
    folder.files |= {each.path: each.bytes for each in made}
    return made


def limited(max_bytes: int | None = None, **policy: Any) -> Folder:
    return Folder("cache", "memory", max_bytes=max_bytes, policy=json.dumps(policy))


def evictor(bench: Bench, record: Folder, on_step: Callable[[], None] = nothing) -> Evictor:
    bench.store.upsert_folder(record)
    return Evictor(bench.store, bench.folder, record, on_step)


def kept(store: Store, collection: str = OTHER) -> list[tuple[int, str]]:
    tiers = ("full", "thumbnail")
    return [(d.ordinal, d.tier) for d in store.derivatives(collection, 0, 10_000, tiers)]


def check_files(bench: Bench) -> None:
    """What is recorded is there, and nothing else is."""
    tiers = ("full", "thumbnail")
    recorded = {
        d.path: d.bytes
        for collection in (OTHER, COLLECTION, "third")
        for d in bench.store.derivatives(collection, 0, 10_000, tiers)
    }
    assert recorded == bench.folder.files
    assert bench.store.removing_from("cache") == []
    assert not any(check.drifts for check in bench.store.verify_counters())
    assert bench.store.folder_totals("cache")[1] == sum(recorded.values())


# By policy ----------------------------------------------------------------------------------------


def test_a_folder_above_its_high_watermark_is_brought_to_its_low_one(bench: Bench) -> None:
    put(bench.store, bench.folder, 10)
    by_age = evictor(bench, limited(10 * SIZE, eviction="LRU"))
    assert by_age.needed()
    evicted = by_age.run()
    assert (evicted.used_before, evicted.used_after, evicted.high) == (10_000, 8_000, 9_000)
    assert evicted.removed == Removed(2, 2_000, {RemovalReason.OVER_QUOTA: 2})
    assert kept(bench.store) == [(n, "full") for n in range(2, 10)]
    assert not by_age.needed()
    assert by_age.run().removed == Removed()
    check_files(bench)


def test_what_costs_least_for_its_bytes_goes_first_where_nothing_else_is_said(
    bench: Bench,
) -> None:
    put(bench.store, bench.folder, 4, cost_ms=50)
    put(bench.store, bench.folder, 6, "third", cost_ms=10)
    evictor(bench, limited(10 * SIZE)).run()
    assert len(kept(bench.store)) == 4
    assert len(kept(bench.store, "third")) == 4
    check_files(bench)


def test_what_has_expired_goes_without_a_limit(bench: Bench) -> None:
    put(bench.store, bench.folder, 10)
    bench.clock.now = 65.5
    evicted = evictor(bench, limited(ttl=60)).run()
    assert evicted.removed == Removed(5, 5_000, {RemovalReason.EXPIRED: 5})
    assert evicted.high is None
    assert kept(bench.store) == [(n, "full") for n in range(5, 10)]
    check_files(bench)


def test_quotas_pins_and_weights_of_collections_and_tiers(bench: Bench) -> None:
    put(bench.store, bench.folder, 10, tiers=("full", "thumbnail"))
    put(bench.store, bench.folder, 10, "third")
    policy: dict[str, Any] = {
        "collections": [
            {"id": "third", "maxBytes": 5 * SIZE, "pinnedImages": ["p0.jpg", "unknown"]}
        ],
        "tiers": [{"name": "thumbnail", "pinned": True, "maxBytes": SIZE}],
        "eviction": "LRU",
    }
    evicted = evictor(bench, limited(None, **policy)).run()
    assert evicted.removed.by_reason == {RemovalReason.OVER_COLLECTION_QUOTA: 5}
    assert kept(bench.store, "third") == [(0, "full"), *((n, "full") for n in range(6, 10))]
    assert len(kept(bench.store)) == 20
    (short,) = evicted.shortfalls
    assert (short.limit, short.name, short.kept) == (
        Reason.OVER_TIER_QUOTA,
        "thumbnail",
        {Kept.PINNED: 10_000},
    )
    check_files(bench)


def test_each_victim_goes_for_its_own_reason(bench: Bench) -> None:
    put(bench.store, bench.folder, 10)
    bench.clock.now = 62.5
    evicted = evictor(bench, limited(10 * SIZE, ttl=60, lowWatermark=40, highWatermark=50)).run()
    expected = {RemovalReason.EXPIRED: 2, RemovalReason.OVER_QUOTA: 4}
    assert evicted.removed.by_reason == expected
    check_files(bench)


def test_what_is_to_be_spared_stays(bench: Bench) -> None:
    put(bench.store, bench.folder, 10, tiers=("full", "thumbnail"))
    record = limited(ttl=60)
    bench.store.upsert_folder(record)
    spared = Evictor(
        bench.store,
        bench.folder,
        record,
        nothing,
        policy_of(record, bench.store),
        lambda collection, tier: (collection, tier) == (OTHER, "full"),
    )
    assert spared.run().removed.files == 10
    assert {tier for _, tier in kept(bench.store)} == {"full"}
    check_files(bench)


def test_a_plan_changes_nothing(bench: Bench) -> None:
    put(bench.store, bench.folder, 10)
    planned = evictor(bench, limited(5 * SIZE)).plan()
    assert (len(planned), planned.freed) == (6, 6_000)
    assert len(kept(bench.store)) == 10
    check_files(bench)


def test_a_policy_that_removes_everything_removes_nothing(bench: Bench) -> None:
    put(bench.store, bench.folder, 10)
    with pytest.raises(PlanRemovesEverythingError):
        evictor(bench, limited(ttl=60)).run()
    check_files(bench)
    assert len(kept(bench.store)) == 10
    assert evictor(bench, limited(ttl=60, allowEverything=True)).run().removed.files == 10
    check_files(bench)


def test_a_policy_of_a_later_version_evicts_nothing(bench: Bench) -> None:
    put(bench.store, bench.folder, 10)
    with pytest.raises(PolicyError, match="cannot be read"):
        evictor(bench, limited(SIZE, pinnedByMoon=True)).run()
    check_files(bench)


# Beside others ------------------------------------------------------------------------------------


def test_a_collection_with_an_active_job_is_left_alone(bench: Bench) -> None:
    put(bench.store, bench.folder, 10)
    put(bench.store, bench.folder, 10, "third")
    bench.store.acquire_lease(lease_name(OTHER), "a job", 60, bench.store.now())
    evicted = evictor(bench, limited(16 * SIZE)).run()
    assert evicted.busy == (OTHER,)
    assert len(kept(bench.store)) == 10
    assert len(kept(bench.store, "third")) == 2
    (short,) = evictor(bench, limited(5 * SIZE, allowEverything=True)).run().shortfalls
    assert short.kept == {Kept.BUSY: 10_000}


def test_a_job_that_starts_after_the_plan_keeps_its_files(bench: Bench) -> None:
    put(bench.store, bench.folder, 10)
    put(bench.store, bench.folder, 10, "third")

    class Late(Evictor):
        @override
        def plan(self) -> Any:
            planned = super().plan()
            bench.store.acquire_lease(lease_name(OTHER), "a job", 60, bench.store.now())
            return planned

    bench.store.upsert_folder(record := limited(10 * SIZE, eviction="LRU"))
    evicted = Late(bench.store, bench.folder, record, nothing).run()
    assert evicted.busy == (OTHER,)
    assert len(kept(bench.store)) == 10
    assert len(kept(bench.store, "third")) == 4
    check_files(bench)


def test_one_evicts_from_a_folder_at_a_time(bench: Bench) -> None:
    put(bench.store, bench.folder, 10)
    first = evictor(bench, limited(5 * SIZE))
    lease = eviction_lease_name("cache")
    bench.store.acquire_lease(lease, local_holder("another", 1), 60, bench.store.now())
    with pytest.raises(LeaseHeldError):
        first.run()
    check_files(bench)
    bench.store.break_lease(lease, local_holder("another", 1))
    assert first.run().removed.files == 6


def test_a_folder_that_is_not_there_loses_no_records(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bench.store, bench.folder, 10)

    def unmounted() -> None:
        raise CacheFolderError("no marker")

    monkeypatch.setattr(bench.folder, "require_marker", unmounted)
    with pytest.raises(CacheFolderError):
        evictor(bench, limited(5 * SIZE)).run()
    assert len(kept(bench.store)) == 10


def test_files_that_cannot_be_removed_are_tried_again(bench: Bench) -> None:
    put(bench.store, bench.folder, 10)
    bench.folder.refuses_removal = True
    evicted = evictor(bench, limited(5 * SIZE)).run()
    assert (evicted.removed.files, len(evicted.removed.troubles)) == (0, 6)
    assert not bench.store.reserve("cache", "a run", 1).granted, "the files are still there"
    bench.folder.refuses_removal = False
    assert evictor(bench, limited(5 * SIZE)).run().removed.files == 6
    check_files(bench)


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("steps", range(8))
def test_an_eviction_that_is_interrupted_is_finished_by_the_next(bench: Bench, steps: int) -> None:
    put(bench.store, bench.folder, 10)
    put(bench.store, bench.folder, 10, "third")
    left = iter(range(steps))

    def on_step() -> None:
        if next(left, None) is None:
            raise StoppedError

    record = limited(10 * SIZE)
    try:
        evictor(bench, record, on_step).run()
    except StoppedError:
        assert bench.store.lease(eviction_lease_name("cache")) is not None
    evictor(bench, record).run()
    check_files(bench)
    assert len(bench.folder.files) == 8


# Room for a run -----------------------------------------------------------------------------------


def test_a_run_with_room_reserves_no_more_than_it_needs(bench: Bench) -> None:
    done, counts = bench.run(folder_record=limited(NEED + BATCH))
    assert (done.phase, counts.completed) == (Phase.COMPLETED, IMAGES)
    assert bench.folder.most == NEED
    assert bench.store.reserve("cache", "another", BATCH).granted, "nothing stays reserved"
    check_files(bench)


def test_a_run_makes_room_by_evicting_other_collections(bench: Bench) -> None:
    put(bench.store, bench.folder, 50)
    limit = NEED + 20 * SIZE
    local = bench.prepare(folder_record=limited(limit))
    assert local.run().phase is Phase.COMPLETED
    assert local.progress()[1].completed == IMAGES
    assert local.removed.by_reason[RemovalReason.OVER_QUOTA] >= 30
    assert bench.folder.most <= limit + BATCH
    assert len(kept(bench.store, COLLECTION)) == 2 * IMAGES, "never what this run makes"
    check_files(bench)


def test_a_run_without_room_is_suspended_and_charges_nobody(bench: Bench) -> None:
    limit = NEED // 2
    local = bench.prepare(folder_record=limited(limit))
    with pytest.raises(CacheFolderFullError, match="cache folder cache is full") as full:
        local.run()
    assert code_of(full.value) is CommandExit.SUSPENDED
    assert (local.job.phase, local.job.reason) == (Phase.SUSPENDED, "CacheFolderFull")
    assert local.progress()[1].failed == 0
    assert limit - BATCH <= bench.folder.most <= limit + BATCH
    assert bench.watcher.waited
    check_files(bench)
    done, counts = bench.run(folder_record=limited(NEED + BATCH))
    assert (done.phase, counts.done) == (Phase.COMPLETED, IMAGES)
    check_files(bench)


def test_a_run_that_waits_goes_on_by_itself_once_there_is_room(bench: Bench) -> None:
    class Patient(type(bench.watcher)):  # type: ignore[misc]
        @override
        def waiting(self, why: str, left: float) -> None:
            super().waiting(why, left)
            assert "is full" in why
            if len(self.waited) == 5:
                bench.store.upsert_folder(limited(NEED + BATCH))

    local = bench.prepare(folder_record=limited(NEED // 2))
    local._observer = watcher = Patient()
    assert local.run().phase is Phase.COMPLETED
    assert len(watcher.waited) >= 5
    assert local.of_this_run().completed == IMAGES
    check_files(bench)


# Killed, and at the same time ---------------------------------------------------------------------


class Dying(Killing):
    """As `Killing`; a process that is gone releases no lease either."""

    @override
    def _step(self) -> None:
        self._calls[0] -= 1
        if self._calls[0] <= 0:
            raise KilledError


def two_collections(bench: Bench) -> Folder:
    put(bench.store, bench.folder, 6)
    put(bench.store, bench.folder, 6, "third")
    record = limited(8 * SIZE)
    bench.store.upsert_folder(record)
    return record


@pytest.mark.parametrize("calls", range(1, 60))
def test_killed_at_any_step_it_is_continued(bench: Bench, calls: int) -> None:
    """Nothing that is kept is lost, nothing that was removed comes back, no file is left over."""
    record, left = two_collections(bench), [calls]
    store, folder = Dying(bench.store, left), Dying(bench.folder, left)
    with suppress(KilledError):
        Evictor(store, folder, record, nothing).run()
    listed = [
        each
        for collection in (OTHER, "third")
        for each in bench.store.derivatives(collection, 0, 99, ["full"])
    ]
    assert {each.path for each in listed} <= set(bench.folder.files), "what is listed is there"
    bench.clock.now += 61  # its leases lapse
    Evictor(bench.store, bench.folder, record, nothing).run()
    assert len(bench.folder.files) == 6
    check_files(bench)


def test_the_kills_cover_every_step(bench: Bench) -> None:
    record, left = two_collections(bench), [10_000]
    Evictor(Dying(bench.store, left), Dying(bench.folder, left), record, nothing).run()
    assert 30 < 10_000 - left[0] < 60


SEEDS = int(os.environ.get("FPJ_KILL_SEEDS", "10"))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_killed_again_and_again_it_ends_all_the_same(bench: Bench, seed: int) -> None:
    """One is killed after another, each at any of its steps, until one ends."""
    chance = random.Random(seed)
    for collection in (OTHER, "third"):
        put(bench.store, bench.folder, chance.randint(2, 12), collection)
    record = limited(chance.randint(2, 8) * SIZE)
    bench.store.upsert_folder(record)
    for _ in range(chance.randint(1, 6)):
        left = [chance.randint(1, 60)]
        store, folder = Dying(bench.store, left), Dying(bench.folder, left)
        with suppress(KilledError, LeaseHeldError):
            Evictor(store, folder, record, nothing).run()
        listed = {*paths(bench, OTHER), *paths(bench, "third")}
        assert listed <= set(bench.folder.files), "what is listed is there"
        bench.clock.now += chance.choice((1, 61))
    bench.clock.now += 61
    evicted = Evictor(bench.store, bench.folder, record, nothing).run()
    assert evicted.high is not None and evicted.used_after <= evicted.high
    assert evicted.used_after == sum(bench.folder.files.values())
    check_files(bench)


def paths(bench: Bench, collection: str) -> set[str]:
    return {each.path for each in bench.store.derivatives(collection, 0, 99, ["full"])}


@dataclass
class Writer:
    """A job that makes one image after another, and evicts when it has no room."""

    bench: Bench
    record: Folder
    collection: str
    chance: random.Random
    hand: list[Derivative] = field(default_factory=list)
    made: int = 0

    def __post_init__(self) -> None:
        self.store, self.folder = self.bench.store, self.bench.folder
        self.lease = self.store.acquire_lease(
            lease_name(self.collection), self.collection, 1e9, self.store.now()
        )
        self.allowance = Allowance(self.store, "cache", self.collection, SIZE, 5)
        shard = Shard(self.collection, 1, 0, self.collection, 0, 1_000, 0)
        self.store.put_shards(self.collection, 1, [shard])
        claimed = self.store.claim_shard(self.collection, 1, "me", 0.0)
        assert claimed
        self.shard = claimed

    def step(self) -> None:
        if len(self.hand) >= self.chance.randint(1, 5) or not self.allowance.take():
            if not self.hand:
                Evictor(self.store, self.folder, self.record, nothing).run()
                self.bench.clock.now += 1
            self.flush()
            return
        image = image_id(self.collection, f"p{self.made}.jpg")
        size = self.chance.randint(*SIZES)
        path = f"{self.collection}/full/{image[:2]}/{image}.jpg"
        self.folder.write(path, bytes(size), token="t")
        self.allowance.settle(size)
        self.hand.append(
            Derivative(
                *(image, "full", self.collection, self.made, "d", "v1", "cache", path, 4, 3),
                *(size, "job", self.bench.clock.now, 10),
            )
        )
        self.made += 1

    def flush(self) -> None:
        made, self.hand = tuple(self.hand), []
        ends = (self.made - len(made), self.made)
        batch = ShardBatch(
            *(self.collection, 1, 0, self.collection, self.shard.epoch, self.lease.fence),
            *(*ends, Counts(completed=len(made)), made),
        )
        self.store.flush(batch, 0.0)
        self.allowance.recorded(sum(each.bytes for each in made))

    def end(self) -> None:
        self.flush()
        self.allowance.release()
        self.store.release_lease(self.lease)


SIZES = (900, 1_100)


@pytest.mark.parametrize("seed", range(10))
def test_ten_jobs_and_two_evictors_on_one_folder(bench: Bench, seed: int) -> None:
    """In any order of their steps: never more than the limit, and by how much each job's batch may
    be larger than its estimate.
    """
    chance = random.Random(seed)
    record = limited(60 * SIZE)
    bench.store.upsert_folder(record)
    writers = [Writer(bench, record, f"album-{n}", chance) for n in range(10)]
    for step in range(600):
        bench.clock.now += 0.1
        chance.choice(writers).step()
        if step % 40 in (0, 20):
            Evictor(bench.store, bench.folder, record, nothing).run()
        if step % 60 == 59:
            writers.pop(0).end()
            writers.append(Writer(bench, record, f"album-{10 + step}", chance))
    for each in writers:
        each.end()
    assert bench.folder.most > 55 * SIZE, "the limit was reached"
    assert bench.folder.most <= 60 * SIZE + 10 * 5 * (SIZES[1] - SIZES[0])
    assert not any(check.drifts for check in bench.store.verify_counters())
    assert bench.store.folder_totals("cache")[1] == sum(bench.folder.files.values())
    evicted = Evictor(bench.store, bench.folder, record, nothing).run()
    assert evicted.used_after <= 54 * SIZE
    assert sum(bench.folder.files.values()) == evicted.used_after
