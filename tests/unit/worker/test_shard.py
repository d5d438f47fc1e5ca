"""A shard over a scripted pool: whatever order images finish in and whenever it is killed,
the counts are the truth.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typing_extensions import override
from unit.worker.fakes import (
    COLLECTION,
    FULL,
    JOB,
    THUMBNAIL,
    Clock,
    Fate,
    MemoryFolder,
    ScriptedPool,
    entries,
    job,
    size_of,
)

from fpj_core.errors import (
    CacheFolderError,
    ErrorType,
    FencedError,
    FpjError,
    ImageError,
    StoreUnavailableError,
)
from fpj_core.ids import image_id
from fpj_core.model import (
    Counts,
    Derivative,
    Format,
    ImageLimits,
    ImageRecord,
    Shard,
    ShardBatch,
    ShardState,
    TierSpec,
    tier_digests,
)
from fpj_core.store.protocol import Store
from fpj_worker import shard as shard_module
from fpj_worker.shard import JobContext, Pool, ShardProcessor, _backoff
from fpj_worker.stopping import InterruptedRunError
from fpj_worker.tasks import ImageTask

TIERS = (FULL, THUMBNAIL)
DIGESTS = tier_digests(TIERS)
CORRUPT = ImageError(ErrorType.CORRUPT_IMAGE, "cut off")
CRASHED = ImageError(ErrorType.WORKER_CRASHED, "SIGSEGV")


class Killed(BaseException):
    """The process is gone: nothing after it runs."""


def fill(store: Store, count: int, *, collection: str = COLLECTION) -> None:
    store.upsert_images(
        [
            ImageRecord(collection, n, image_id(collection, e.key), e.key, e.size, e.version)
            for n, e in enumerate(entries(count))
        ],
        0,
    )


def claim(store: Store, now: float = 0.0) -> Shard:
    claimed = store.claim_shard(JOB, 1, "me", now)
    assert claimed
    return claimed


def one_shard(store: Store, count: int, start: int = 0) -> Shard:
    store.put_shards(JOB, 1, [Shard(JOB, 1, 0, COLLECTION, start, count, start)])
    return claim(store)


def context(**changes: Any) -> JobContext:
    given: dict[str, Any] = {
        "tiers": TIERS,
        "limits": ImageLimits(),
        "folder_name": "cache",
        "fence": 1,
        "batch_size": 5,
    }
    return JobContext(job=JOB, collection=COLLECTION, **given | changes)


def processor(store: Store, pool: ScriptedPool, **changes: Any) -> ShardProcessor:
    on_tick: Callable[[], None] = changes.pop("on_tick", lambda: None)
    return ShardProcessor(store, cast("Pool", pool), pool.folder, context(**changes), on_tick)


def counts(store: Store) -> Counts:
    return store.job_counts(JOB, 1)[0]


def cursor(store: Store) -> int:
    (only,) = store.shards(JOB, 1)
    return only.cursor


def made(ordinals: range | list[int]) -> int:
    """Bytes of both tiers of some images."""
    return sum(size_of(ordinal, tier.name) for ordinal in ordinals for tier in TIERS)


def derivative(ordinal: int, tier: TierSpec, **changes: Any) -> Derivative:
    image = image_id(COLLECTION, f"p{ordinal}.jpg")
    path = f"{COLLECTION}/{tier.name}/{image[:2]}/{image}.jpg"
    size = size_of(ordinal, tier.name)
    known = Derivative(
        image,
        tier.name,
        COLLECTION,
        ordinal,
        DIGESTS[tier.name],
        "v1",
        "cache",
        path,
        4,
        3,
        size,
        "before",
        1.0,
    )
    return replace(known, **changes)


def have(store: Store, folder: MemoryFolder, *derivatives: Derivative) -> None:
    """Record derivatives of an earlier job, with their files."""
    store.put_shards("before", 1, [Shard("before", 1, 0, COLLECTION, 0, 10_000, 0)])
    claimed = store.claim_shard("before", 1, "me", 0.0)
    assert claimed
    batch = ShardBatch("before", 1, 0, COLLECTION, claimed.epoch, 1, 0, 0, Counts(), derivatives)
    store.flush(batch, 0.0)
    folder.files |= {each.path: each.bytes for each in derivatives}


# Outcomes -----------------------------------------------------------------------------------------


def test_every_image_is_made_recorded_and_counted(store: Store, clock: Clock) -> None:
    fill(store, 23)
    pool = ScriptedPool(MemoryFolder(), clock=clock)
    processor(store, pool).run(one_shard(store, 23))
    assert counts(store) == Counts(
        completed=23, bytes_written=made(range(23)), processing_ms=23 * 250.0
    )
    assert cursor(store) == 23
    recorded = store.derivatives(COLLECTION, 0, 99, ["full", "thumbnail"])
    assert len(recorded) == 46
    assert all(pool.folder.files[each.path] == each.bytes for each in recorded)
    assert {(each.job, each.folder, each.source_version) for each in recorded} == {
        (JOB, "cache", "v1")
    }
    assert {each.digest for each in recorded} == set(DIGESTS.values())
    assert {
        (i.width, i.height, i.format, i.thumbhash) for i in store.images(COLLECTION, 0, 99)
    } == {(40, 30, "jpeg", b"\1")}
    assert list(store.pending_ordinals(COLLECTION, DIGESTS)) == []


def test_what_is_up_to_date_is_skipped(store: Store, clock: Clock) -> None:
    fill(store, 6)
    folder = MemoryFolder()
    other = replace(FULL, quality=1)
    have(store, folder, *(derivative(n, tier) for n in range(6) for tier in TIERS))
    have(
        store,
        folder,
        derivative(1, FULL, digest=other.digest()),
        derivative(2, FULL, source_version="v0"),
    )
    have(store, folder, derivative(3, THUMBNAIL, folder="elsewhere"))
    del folder.files[derivative(4, THUMBNAIL).path]
    folder.files[derivative(5, FULL).path] -= 1
    pool = ScriptedPool(folder, clock=clock)
    tasks: list[tuple[int, tuple[str, ...]]] = []

    def noted(task: ImageTask, _attempt: int) -> None:
        tasks.append((task.ordinal, task.lacking))

    pool.fate = noted
    processor(store, pool).run(one_shard(store, 6))
    assert sorted(tasks) == [
        (1, ("full",)),
        (2, ("full",)),
        (3, ("thumbnail",)),
        (4, ("thumbnail",)),
        (5, ("full",)),
    ]
    assert (counts(store).completed, counts(store).skipped) == (5, 1)


def test_files_are_not_looked_at_when_the_record_is_enough(store: Store, clock: Clock) -> None:
    fill(store, 3)
    folder = MemoryFolder()
    have(store, folder, *(derivative(n, tier) for n in range(3) for tier in TIERS))
    folder.files.clear()
    processor(store, ScriptedPool(folder, clock=clock), check_files=False).run(one_shard(store, 3))
    assert counts(store) == Counts(skipped=3)


def test_what_this_job_made_before_it_was_stopped_counts_as_completed(
    store: Store, clock: Clock
) -> None:
    fill(store, 2)
    folder = MemoryFolder()
    have(
        store,
        folder,
        derivative(0, FULL, job=JOB),
        derivative(0, THUMBNAIL),
        *(derivative(1, t) for t in TIERS),
    )
    processor(store, ScriptedPool(folder, clock=clock)).run(one_shard(store, 2))
    assert counts(store) == Counts(completed=1, skipped=1, bytes_written=size_of(0, "full"))


def test_permanent_errors_are_not_tried_again(store: Store, clock: Clock) -> None:
    fill(store, 4)
    pool = ScriptedPool(
        MemoryFolder(), lambda task, _: CORRUPT if task.ordinal == 2 else None, clock=clock
    )
    processor(store, pool).run(one_shard(store, 4))
    assert pool.attempts == Counter({0: 1, 1: 1, 2: 1, 3: 1})
    (failure,) = store.failures(JOB)
    assert (failure.ordinal, failure.key, failure.attempts) == (2, "p2.jpg", 1)
    assert (failure.error_type, failure.message) == (ErrorType.CORRUPT_IMAGE, "cut off")
    assert (counts(store).completed, counts(store).failed, counts(store).errors) == (
        3,
        1,
        {"CorruptImage": 1},
    )
    assert counts(store).processing_ms == 3 * 250 + 500


@pytest.mark.parametrize("most", [1, 3, 5])
def test_transient_errors_are_tried_again_but_not_for_ever(
    store: Store, clock: Clock, most: int
) -> None:
    fill(store, 3)

    def fate(task: Any, attempt: int) -> ImageError | None:
        passes_at = {0: 1, 1: most, 2: most + 1}[task.ordinal]
        return CRASHED if attempt < passes_at else None

    pool = ScriptedPool(MemoryFolder(), fate, clock=clock)
    processor(store, pool, limits=ImageLimits(max_attempts=most)).run(one_shard(store, 3))
    assert pool.attempts == Counter({0: 1, 1: most, 2: most})
    (failure,) = store.failures(JOB)
    assert (failure.ordinal, failure.attempts) == (2, most)
    assert counts(store).completed == 2


def test_attempts_are_spaced(store: Store, clock: Clock) -> None:
    """Nothing else to do: the shard waits, and waits longer before each attempt."""
    fill(store, 1)
    at: list[float] = []

    def fate(*_: object) -> ImageError:
        at.append(clock.now)
        return CRASHED

    pool = ScriptedPool(MemoryFolder(), fate, clock=clock)
    processor(store, pool, limits=ImageLimits(max_attempts=6)).run(one_shard(store, 1))
    waits = [later - sooner for sooner, later in pairwise(at)]
    assert len(waits) == 5
    for attempt, wait in enumerate(waits, 1):
        assert 0.25 * 2 ** (attempt - 1) * 0.5 <= wait <= 0.25 * 2 ** (attempt - 1) + 1


def test_backoff_doubles_up_to_a_bound_with_jitter() -> None:
    for attempt, ceiling in enumerate([0.25, 0.5, 1, 2, 4, 8, 10, 10], 1):
        drawn = {_backoff(attempt) for _ in range(50)}
        assert all(ceiling / 2 <= seconds <= ceiling for seconds in drawn)
        assert len(drawn) > 10


def test_listing_problems_fail_without_being_tried(store: Store, clock: Clock) -> None:
    fill(store, 2)
    (image,) = store.images(COLLECTION, 1, 2)
    store.upsert_images([replace(image, version="problem:AccessDenied:no\x1b[31m")], 0)
    pool = ScriptedPool(MemoryFolder(), clock=clock)
    processor(store, pool).run(one_shard(store, 2))
    assert set(pool.attempts) == {0}
    (failure,) = store.failures(JOB)
    assert (failure.error_type, failure.message, failure.attempts) == (
        ErrorType.ACCESS_DENIED,
        "no\\x1b[31m",
        1,
    )
    assert counts(store).errors == {"AccessDenied": 1}


def test_deleted_images_are_passed_over(store: Store, clock: Clock) -> None:
    fill(store, 9)
    store.mark_deleted(COLLECTION, [0, 4, 8], 0)
    pool = ScriptedPool(MemoryFolder(), clock=clock)
    processor(store, pool).run(one_shard(store, 9))
    assert set(pool.attempts) == {1, 2, 3, 5, 6, 7}
    assert (counts(store).done, cursor(store)) == (6, 9)


def test_a_shard_goes_on_from_its_cursor(store: Store, clock: Clock) -> None:
    fill(store, 9)
    claimed = one_shard(store, 9)
    store.flush(ShardBatch(JOB, 1, 0, COLLECTION, claimed.epoch, 1, 0, 4, Counts(completed=4)), 0.0)
    pool = ScriptedPool(MemoryFolder(), clock=clock)
    processor(store, pool).run(claim(store, now=100.0))
    assert set(pool.attempts) == {4, 5, 6, 7, 8}
    assert counts(store).completed == 9


def test_one_pool_serves_several_shards(store: Store, clock: Clock) -> None:
    fill(store, 9)
    store.put_shards(
        JOB, 1, [Shard(JOB, 1, 0, COLLECTION, 0, 4, 0), Shard(JOB, 1, 1, COLLECTION, 4, 9, 4)]
    )
    runner = processor(store, ScriptedPool(MemoryFolder(), clock=clock))
    for _ in range(2):
        claimed = claim(store)
        runner.run(claimed)
        store.finish_shard(claimed, ShardState.SUCCEEDED, 0.0)
    assert store.job_counts(JOB, 1)[1] == {ShardState.SUCCEEDED: 2}
    assert counts(store).completed == 9


# Replaced files -----------------------------------------------------------------------------------


def no_grace() -> float:
    return 0.0


def test_a_file_under_another_name_is_removed_once_the_new_one_is_recorded(
    store: Store, clock: Clock
) -> None:
    fill(store, 2)
    folder = MemoryFolder()
    have(store, folder, *(derivative(n, tier) for n in range(2) for tier in TIERS))
    webp = replace(FULL, format=Format.WEBP)
    pool = ScriptedPool(folder, clock=clock, extension="webp")
    remove = folder.remove

    def check_and_remove(relative: str) -> None:
        recorded = {each.path for each in store.derivatives(COLLECTION, 0, 9, ["full"])}
        assert relative not in recorded, "what is recorded is there"
        remove(relative)

    folder.remove = check_and_remove  # type: ignore[method-assign]
    processor(store, pool, tiers=(webp, THUMBNAIL)).complete(one_shard(store, 2), no_grace)
    assert sorted(folder.removed) == sorted(derivative(n, FULL).path for n in range(2))
    assert sorted(path.rpartition(".")[2] for path in folder.files) == [
        "jpg",
        "jpg",
        "webp",
        "webp",
    ]


def test_a_file_under_the_same_name_stays(store: Store, clock: Clock) -> None:
    fill(store, 2)
    folder = MemoryFolder()
    have(store, folder, *(derivative(n, tier) for n in range(2) for tier in TIERS))
    processor(
        store, ScriptedPool(folder, clock=clock), tiers=(replace(FULL, quality=9), THUMBNAIL)
    ).complete(one_shard(store, 2), no_grace)
    assert folder.removed == []
    assert counts(store).completed == 2


def test_a_failed_image_keeps_its_old_files(store: Store, clock: Clock) -> None:
    fill(store, 1)
    folder = MemoryFolder()
    have(store, folder, derivative(0, FULL), derivative(0, THUMBNAIL))
    pool = ScriptedPool(folder, lambda *_: CORRUPT, clock=clock, extension="webp")
    processor(store, pool, tiers=(replace(FULL, format=Format.WEBP), THUMBNAIL)).complete(
        one_shard(store, 1), no_grace
    )
    assert folder.removed == []


def test_a_replaced_file_that_cannot_be_removed_ends_no_job(store: Store, clock: Clock) -> None:
    fill(store, 9)
    folder = MemoryFolder()
    folder.refuses_removal = True
    have(store, folder, *(derivative(n, tier) for n in range(9) for tier in TIERS))
    pool = ScriptedPool(folder, clock=clock, extension="webp")
    processor(store, pool, tiers=(replace(FULL, format=Format.WEBP), THUMBNAIL)).complete(
        one_shard(store, 9), no_grace
    )
    assert counts(store).completed == 9
    assert len(list(store.removals(COLLECTION, "cache"))) == 9, "the next job tries again"


# The cursor ---------------------------------------------------------------------------------------


@contextmanager
def watched(store: Store) -> Iterator[list[ShardBatch]]:
    """Every batch, checked against what was there before it."""
    batches: list[ShardBatch] = []
    flush = store.flush

    def check(batch: ShardBatch, now: float) -> None:
        flush(batch, now)
        batches.append(batch)
        (only,) = store.shards(JOB, 1)
        accounted = store.count_images(COLLECTION, only.start, only.cursor)
        assert only.counts.done == accounted, "the cursor moves only over what is counted"
        settled = {each.ordinal for each in store.derivatives(COLLECTION, 0, 10_000, ["thumbnail"])}
        settled |= {failure.ordinal for failure in store.failures(JOB, limit=10_000)}
        before = (
            {image.ordinal for image in store.images(COLLECTION, only.start, only.cursor)}
            if only.cursor
            else set()
        )
        assert before <= settled, "and over what is recorded"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "flush", check)
        yield batches


def test_the_cursor_waits_for_the_slowest(store: Store, clock: Clock) -> None:
    fill(store, 40)
    pool = ScriptedPool(MemoryFolder(), clock=clock, slowest={3})
    with watched(store) as batches:
        processor(store, pool, batch_size=4).run(one_shard(store, 40))
    assert {batch.cursor for batch in batches[:-1]} <= {1, 2, 3}
    assert batches[-1].cursor == 40
    ahead = [d.ordinal for batch in batches[:-1] for d in batch.derivatives if d.ordinal > 3]
    assert len(set(ahead)) >= 30, "yet files beyond it are recorded as they gather"
    everything = Counter((d.ordinal, d.tier) for batch in batches for d in batch.derivatives)
    assert set(everything.values()) == {1}, "each once"
    assert counts(store).completed == 40


def behind_the_first(store: Store, clock: Clock, error: ImageError | None) -> tuple[int, int]:
    """How many images are settled before the first answers, which does so at the very end.

    The most slots held.
    """
    fill(store, 400)
    have(
        store,
        folder := MemoryFolder(),
        *(derivative(n, tier) for n in range(100, 160) for tier in TIERS),
    )
    pool = ScriptedPool(
        folder, lambda task, _: error if task.ordinal else None, clock=clock, slowest={0}
    )
    settled = most = 0

    def look() -> None:
        nonlocal settled, most
        waiting = {task.ordinal for task in pool.waiting}
        settled = len(set(pool.attempts) - waiting) if 0 in waiting else settled
        most = max(most, len(runner._slots))

    runner = processor(store, pool, batch_size=2, on_tick=look)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_module, "_READ", 10)
        runner.run(one_shard(store, 400))
    assert counts(store).done == 400
    return settled, most


def test_one_slow_image_holds_up_no_other(store: Store, clock: Clock) -> None:
    """What is recorded takes no memory: however far the others get, little is held."""
    settled, most = behind_the_first(store, clock, None)
    assert settled == 339, "all others that lacked anything"
    assert most < 60


def test_what_cannot_be_recorded_is_bounded(store: Store, clock: Clock) -> None:
    """Failures wait for the cursor: ten batches of them, and what one reading adds."""
    settled, most = behind_the_first(store, clock, CORRUPT)
    assert 15 <= settled < 30
    assert most < 30


def test_a_long_shard_is_recorded_in_batches(store: Store, clock: Clock) -> None:
    """Each flush costs a sync and a transaction."""
    fill(store, 300)
    pool = ScriptedPool(MemoryFolder(), clock=clock)
    pool.pace = 0.0
    with watched(store) as batches, pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_module, "_READ", 20)
        processor(store, pool, batch_size=30).run(one_shard(store, 300))
    assert len(batches) <= 11


# Losing the shard, stopping -----------------------------------------------------------------------


def test_a_holder_that_lost_its_shard_stops_and_writes_nothing(store: Store, clock: Clock) -> None:
    fill(store, 50)
    claimed = one_shard(store, 50)
    taken: list[Shard] = []

    def take_over() -> None:
        if cursor(store) >= 10 and not taken:
            taken.append(claim(store, now=clock.now + 60))

    pool = ScriptedPool(MemoryFolder(), clock=clock)
    with pytest.raises(FencedError):
        processor(store, pool, on_tick=take_over).run(claimed)
    assert cursor(store) == taken[0].cursor == counts(store).completed
    assert len(store.derivatives(COLLECTION, 0, 99, ["full"])) < 50


def test_a_holder_that_lost_its_shard_gives_its_decoders_no_time(
    store: Store, clock: Clock
) -> None:
    """What they would still write is the new holder's to make."""
    fill(store, 50)
    claimed = one_shard(store, 50)
    taken: list[Shard] = []

    def take_over() -> None:
        if cursor(store) >= 10 and not taken:
            taken.append(claim(store, now=clock.now + 60))

    pool = ScriptedPool(MemoryFolder(), clock=clock)
    with pytest.raises(FencedError):
        processor(store, pool, on_tick=take_over).complete(
            claimed, lambda: pytest.fail("it waits for them")
        )
    assert store.shards(JOB, 1) == taken


def test_a_lost_shard_is_noticed_by_the_heartbeat(store: Store, clock: Clock) -> None:
    """One image that takes forever: there is nothing to flush, and still the loss is seen."""
    fill(store, 1)
    claimed = one_shard(store, 1)
    pool = ScriptedPool(MemoryFolder(), clock=clock)
    pool.poll = lambda timeout: setattr(clock, "now", clock.now + 1) or []  # type: ignore[method-assign,func-returns-value]
    ticks = 0

    def take_over() -> None:
        nonlocal ticks
        ticks += 1
        assert ticks < 20, "it goes on without a sign of life"
        if ticks == 3:
            claim(store, now=clock.now + 60)

    with pytest.raises(FencedError):
        processor(store, pool, on_tick=take_over).run(claimed)


def test_the_heart_beats_while_only_failures_gather_behind_a_slow_image(
    store: Store, clock: Clock
) -> None:
    """They cannot be recorded before the cursor reaches them; that is no reason to fall silent."""
    fill(store, 60)
    claimed = one_shard(store, 60)
    pool = ScriptedPool(
        MemoryFolder(), lambda task, _: CORRUPT if task.ordinal else None, clock=clock, slowest={0}
    )
    pool.pace, pool.most_at_once = 1.0, 1
    longest = 0.0
    beaten = clock.now

    def look() -> None:
        nonlocal longest, beaten
        (only,) = store.shards(JOB, 1)
        beaten = max(beaten, only.heartbeat_at)
        longest = max(longest, clock.now - beaten)

    processor(store, pool, on_tick=look, batch_size=30).run(claimed)
    assert longest <= 6, "a silence of 15 s makes a shard suspect"


def test_handing_back_keeps_what_is_finished(store: Store, clock: Clock) -> None:
    fill(store, 60)
    claimed = one_shard(store, 60)
    pool = ScriptedPool(
        MemoryFolder(), lambda task, _: CRASHED if task.ordinal % 7 == 3 else None, clock=clock
    )

    def interrupt() -> None:
        if len(pool.folder.files) > 40:
            raise FpjError("stop")

    runner = processor(store, pool, on_tick=interrupt, batch_size=1_000)
    with pytest.raises(FpjError, match="stop"):
        runner.run(claimed)
    runner.hand_back(10.0)
    store.finish_shard(claimed, ShardState.PENDING, clock.now)
    recorded = {each.path for each in store.derivatives(COLLECTION, 0, 99, ["full", "thumbnail"])}
    assert recorded == set(pool.folder.files), "every finished file"
    again = ScriptedPool(pool.folder, pool.fate, clock=clock)
    processor(store, again).run(claim(store))
    assert (
        set(again.attempts) & {n for n in range(60) if f"{derivative(n, FULL).path}" in recorded}
        == set()
    )
    assert (counts(store).completed, counts(store).failed) == (51, 9)
    assert counts(store).bytes_written == made([n for n in range(60) if n % 7 != 3])


def test_a_store_that_was_away_for_a_moment_loses_no_image(store: Store, clock: Clock) -> None:
    """The flush that failed is part of what is handed back."""
    fill(store, 20)
    claimed = one_shard(store, 20)
    pool = ScriptedPool(MemoryFolder(), clock=clock)
    runner = processor(store, pool, batch_size=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "flush", raising(StoreUnavailableError("away")))
        with pytest.raises(StoreUnavailableError):
            runner.run(claimed)
    runner.hand_back(10.0)
    assert counts(store).completed == store.count_images(COLLECTION, 0, cursor(store))
    store.finish_shard(claimed, ShardState.PENDING, clock.now)
    processor(store, ScriptedPool(pool.folder, clock=clock)).run(claim(store))
    assert counts(store).completed == 20
    assert len(store.derivatives(COLLECTION, 0, 99, ["full"])) == 20


@pytest.mark.parametrize("room", [1, 8])
def test_no_file_is_recorded_before_it_is_on_disk(store: Store, clock: Clock, room: int) -> None:
    fill(store, 30)
    pool = ScriptedPool(MemoryFolder(), clock=clock, room=room, slowest={3})
    flush = store.flush
    recorded: set[str] = set()

    def check(batch: ShardBatch, now: float) -> None:
        recorded.update(each.path for each in batch.derivatives)
        assert recorded <= pool.folder.synced
        flush(batch, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "flush", check)
        processor(store, pool, batch_size=4).run(one_shard(store, 30))
    assert recorded == set(pool.folder.files)


def test_what_could_not_be_brought_to_disk_is_never_recorded(store: Store, clock: Clock) -> None:
    """A kernel reports an error once: the next sync succeeds,
    and the pages it was about are gone.
    """
    fill(store, 30)
    claimed = one_shard(store, 30)
    pool = ScriptedPool(MemoryFolder(), clock=clock, room=4)

    def fate(task: Any, _attempt: int) -> None:
        if task.ordinal == 9:
            pool.folder.sync_error = CacheFolderError("EIO")

    pool.fate = fate
    with pytest.raises(CacheFolderError, match="EIO"):
        processor(store, pool, batch_size=4).complete(claimed, lambda: 10.0)
    assert {
        each.path for each in store.derivatives(COLLECTION, 0, 99, ["full", "thumbnail"])
    } <= pool.folder.synced
    assert counts(store).done == cursor(store) <= 9
    processor(store, ScriptedPool(pool.folder, clock=clock)).run(claim(store))
    assert counts(store).completed == 30


@pytest.mark.parametrize(
    ("outage", "patience", "ends"), [(30.0, 240.0, False), (300.0, 240.0, True), (5.0, 0.0, True)]
)
def test_a_store_that_has_gone_is_waited_for(
    store: Store,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    outage: float,
    patience: float,
    ends: bool,
) -> None:
    fill(store, 20)
    claimed = one_shard(store, 20)
    pool = ScriptedPool(MemoryFolder(), clock=clock)
    began = clock.now
    for name in ("flush", "heartbeat", "images", "finish_shard"):
        monkeypatch.setattr(store, name, away_until(clock, began + outage, getattr(store, name)))
    runner = ShardProcessor(store, pool, pool.folder, context(), patience=patience)  # type: ignore[arg-type]
    if ends:
        with pytest.raises(StoreUnavailableError):
            runner.complete(claimed, lambda: 0.0)
        assert patience - 2 <= clock.now - began <= patience + 2
    else:
        runner.complete(claimed, lambda: 0.0)
        assert counts(store).completed == 20
        assert set(pool.attempts.values()) == {1}, "no image is made twice"


@pytest.mark.parametrize("notice", [InterruptedRunError("SIGTERM"), FencedError("taken over")])
def test_who_waits_for_a_store_still_hears_that_it_is_to_stop(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch, notice: FpjError
) -> None:
    fill(store, 20)
    claimed = one_shard(store, 20)
    pool = ScriptedPool(MemoryFolder(), clock=clock)
    began = clock.now
    for name in ("flush", "heartbeat", "finish_shard"):
        monkeypatch.setattr(store, name, away_until(clock, began + 1_000, getattr(store, name)))

    def tick() -> None:
        if clock.now >= began + 60:
            raise notice

    runner = ShardProcessor(store, pool, pool.folder, context(), tick, patience=240)  # type: ignore[arg-type]
    with pytest.raises(type(notice)):
        runner.complete(claimed, lambda: 0.0)
    assert clock.now <= began + 62


def away_until(clock: Clock, end: float, ask: Callable[..., Any]) -> Callable[..., Any]:
    def asked(*arguments: Any, **options: Any) -> Any:
        if clock.now < end:
            raise StoreUnavailableError("away")
        return ask(*arguments, **options)

    return asked


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_arguments: object, **_options: object) -> Any:
        raise error

    return fail


# Whatever happens ---------------------------------------------------------------------------------


def fates(corrupt: set[int], hopeless: set[int], flaky: set[int]) -> Fate:
    def fate(task: Any, attempt: int) -> ImageError | None:
        if task.ordinal in corrupt:
            return CORRUPT
        if task.ordinal in hopeless or (task.ordinal in flaky and attempt < 3):
            return CRASHED
        return None

    return fate


ORDINALS = st.sets(st.integers(0, 29), max_size=6)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 30),
    batch_size=st.integers(1, 12),
    corrupt=ORDINALS,
    hopeless=ORDINALS,
    flaky=ORDINALS,
    done_before=ORDINALS,
    kills=st.lists(
        st.tuples(st.integers(0, 6), st.sampled_from(["before", "after", "tick", "hand back"])),
        max_size=5,
    ),
)
def test_counts_are_the_truth_whatever_the_order_and_the_kills(
    store: Store,
    clock: Clock,
    seed: int,
    count: int,
    batch_size: int,
    corrupt: set[int],
    hopeless: set[int],
    flaky: set[int],
    done_before: set[int],
    kills: list[tuple[int, str]],
) -> None:
    store.delete_failures(JOB)
    store.delete_derivatives(COLLECTION, [(n, tier.name) for n in range(30) for tier in TIERS])
    store.mark_deleted(COLLECTION, range(30), 0)
    fill(store, count)
    folder = MemoryFolder()
    chance = random.Random(seed)
    have(store, folder, *(derivative(n, tier) for n in sorted(done_before) for tier in TIERS))
    store.put_shards(JOB, 1, [Shard(JOB, 1, 0, COLLECTION, 0, count, 0)])
    fate = fates(corrupt, hopeless, flaky)
    for calls, kind in [*kills, (10**9, "never")]:
        pool = ScriptedPool(folder, fate, chance, room=chance.randint(1, 8), clock=clock)
        clock.now += 60
        claimed = store.claim_shard(JOB, 1, "me", clock.now)
        assert claimed
        if run_until_killed(store, pool, claimed, batch_size, calls, kind):
            continue
        break
    images = set(range(count))
    failed = (corrupt | hopeless) & images - done_before
    skipped = done_before & images
    completed = images - failed - skipped
    total = counts(store)
    assert (total.completed, total.skipped, total.failed) == (
        len(completed),
        len(skipped),
        len(failed),
    )
    assert total.bytes_written == made(sorted(completed))
    assert total.errors == {
        name: number
        for name, number in (
            ("CorruptImage", len(failed & corrupt)),
            ("WorkerCrashed", len(failed - corrupt)),
        )
        if number
    }
    assert {failure.ordinal for failure in store.failures(JOB)} == failed
    recorded = store.derivatives(COLLECTION, 0, 99, ["full", "thumbnail"])
    assert {(each.ordinal, each.tier) for each in recorded if each.ordinal < count} == {
        (n, tier.name) for n in completed | skipped for tier in TIERS
    }
    assert all(folder.files[each.path] == each.bytes for each in recorded)
    assert cursor(store) == count


def run_until_killed(
    store: Store, pool: ScriptedPool, claimed: Shard, batch_size: int, calls: int, kind: str
) -> bool:
    """Run, and die at the given call of the given kind; whether that came to be."""
    flush = store.flush
    left = calls

    def countdown() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    def dying_flush(batch: ShardBatch, now: float) -> None:
        if kind == "before" and countdown():
            raise Killed
        flush(batch, now)
        if kind == "after" and countdown():
            raise Killed

    def tick() -> None:
        if kind == "tick" and countdown():
            raise Killed
        if kind == "hand back" and countdown():
            raise FpjError("stop")

    runner = processor(store, pool, on_tick=tick, batch_size=batch_size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "flush", dying_flush)
        try:
            runner.run(claimed)
        except Killed:
            return True
        except FpjError:
            runner.hand_back(5.0)
            return True
    return False


def test_the_job_of_these_tests_is_the_stores() -> None:
    assert job().id == JOB


@pytest.mark.parametrize("kind", [ErrorType.READ_FAILED, ErrorType.ACCESS_DENIED])
def test_an_environment_that_heals_just_before_it_is_asked_about_costs_no_image(
    store: Store, clock: Clock, kind: ErrorType
) -> None:
    """What a probe finds well says nothing of the tries before it: one more after it decides."""
    fill(store, 10)
    pool = ScriptedPool(MemoryFolder(), clock=clock)
    asked: list[float] = []
    sick = ImageError(kind, "input/output error", environment=True)
    pool.fate = lambda task, _attempt: sick if task.ordinal == 5 and not asked else None
    runner = ShardProcessor(
        store,
        pool,  # type: ignore[arg-type]
        pool.folder,
        context(),
        probe=lambda _tick: asked.append(clock.now),
    )
    runner.complete(one_shard(store, 10), lambda: 0.0)
    assert (counts(store).completed, counts(store).failed, len(asked)) == (10, 0, 1)
    assert store.failures(JOB) == []


def test_an_image_that_cannot_be_read_though_all_is_well_is_charged_once(
    store: Store, clock: Clock
) -> None:
    fill(store, 10)
    sick = ImageError(ErrorType.READ_FAILED, "input/output error", environment=True)
    pool = ScriptedPool(
        MemoryFolder(), lambda task, _attempt: sick if task.ordinal in (5, 6) else None, clock=clock
    )
    runner = ShardProcessor(store, pool, pool.folder, context(), probe=lambda _tick: None)  # type: ignore[arg-type]
    runner.complete(one_shard(store, 10), lambda: 0.0)
    assert (counts(store).completed, counts(store).failed) == (8, 2)
    assert [each.ordinal for each in store.failures(JOB)] == [5, 6]
    assert {pool.attempts[ordinal] for ordinal in (5, 6)} == {ImageLimits().max_attempts + 1}, (
        "one more, and no more"
    )


@pytest.mark.parametrize("resumed", [False, True])
def test_what_a_killed_holder_made_beyond_its_cursor_counts_beside_what_the_plan_has_counted(
    store: Store, clock: Clock, *, resumed: bool
) -> None:
    """Both are recorded, and only one of them is counted: by others,
    or by an earlier attempt of this very job.
    """
    fill(store, 10)
    folder = MemoryFolder()
    before = {"job": JOB} if resumed else {}
    have(store, folder, *(derivative(n, tier, **before) for n in (2, 8) for tier in TIERS))
    known = Counts(completed=2, bytes_written=made([2, 8])) if resumed else Counts(skipped=2)
    store.put_shards(JOB, 1, [Shard(JOB, 1, 0, COLLECTION, 0, 10, 0, counts=known)])
    store.create_job(job(planned_attempt=1, made_before=known.completed))
    first = ScriptedPool(folder, clock=clock, slowest={0})
    assert run_until_killed(store, first, claim(store), 5, 0, "after")
    beyond = {each.ordinal for each in store.derivatives(COLLECTION, 0, 10, ["full"])} - {2, 8}
    assert cursor(store) == 0 and len(beyond) >= 5 and 1 in beyond
    again = ScriptedPool(folder, clock=clock)
    processor(store, again).run(claim(store, clock.now + 60))
    assert set(again.attempts) == set(range(10)) - beyond - {2, 8}
    ours = range(10) if resumed else [n for n in range(10) if n not in (2, 8)]
    assert (counts(store).completed, counts(store).skipped) == (len(ours), 10 - len(ours))
    assert counts(store).bytes_written == made(list(ours))


def test_what_a_killed_holder_made_again_beyond_its_cursor_is_no_longer_skipped(
    store: Store, clock: Clock
) -> None:
    """Its file went after the plan had counted it."""
    fill(store, 10)
    folder = MemoryFolder()
    have(store, folder, *(derivative(n, tier) for n in (2, 8) for tier in TIERS))
    store.put_shards(JOB, 1, [Shard(JOB, 1, 0, COLLECTION, 0, 10, 0, counts=Counts(skipped=2))])
    del folder.files[derivative(2, FULL).path]
    first = ScriptedPool(folder, clock=clock, slowest={0})
    assert run_until_killed(store, first, claim(store), 8, 0, "after")
    assert cursor(store) == 0 and {
        each.job for each in store.derivatives(COLLECTION, 2, 3, ["full"])
    } == {JOB}
    processor(store, ScriptedPool(folder, clock=clock)).run(claim(store, clock.now + 60))
    assert (counts(store).completed, counts(store).skipped) == (9, 1)


def test_an_answer_about_another_image_is_none(store: Store, clock: Clock) -> None:
    """A decoder that was hijacked may say what it likes."""

    class Hijacked(ScriptedPool):
        @override
        def _finish(self, task: Any) -> Any:
            outcome = super()._finish(task)
            if task.ordinal != 1 or outcome.result is None:
                return outcome
            wrong = tuple(
                replace(each, path=derivative(0, FULL).path) for each in outcome.result.files
            )
            return replace(outcome, result=replace(outcome.result, files=wrong))

    fill(store, 3)
    pool = Hijacked(MemoryFolder(), clock=clock)
    processor(store, pool).run(one_shard(store, 3))
    assert (counts(store).completed, counts(store).failed) == (2, 1)
    assert {
        each.ordinal for each in store.derivatives(COLLECTION, 0, 3, ["full", "thumbnail"])
    } == {0, 2}


def test_a_failure_beyond_the_cursor_is_listed_when_it_counts(store: Store, clock: Clock) -> None:
    fill(store, 30)
    listed: set[tuple[bool, int]] = set()

    def look() -> None:
        listed.add((cursor(store) > 1, len(store.failures(JOB))))

    fate: Fate = lambda task, _attempt: CORRUPT if task.ordinal == 1 else None  # noqa: E731
    pool = ScriptedPool(MemoryFolder(), fate, clock=clock, slowest={0})
    processor(store, pool, on_tick=look).run(one_shard(store, 30))
    assert listed <= {(False, 0), (True, 1)} and [each.ordinal for each in store.failures(JOB)] == [
        1
    ]
    assert (counts(store).completed, counts(store).failed) == (29, 1)


def test_what_is_cut_off_at_the_end_is_no_failure(store: Store, clock: Clock) -> None:
    fill(store, 30)
    fate: Fate = lambda _task, _attempt: CORRUPT if pool.stopped else None  # noqa: E731
    pool = ScriptedPool(MemoryFolder(), fate, clock=clock, room=20)

    def stop() -> None:
        if cursor(store) > 0:
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        processor(store, pool, on_tick=stop).complete(one_shard(store, 30), lambda: 5.0)
    assert counts(store).failed == 0 and store.failures(JOB) == []
