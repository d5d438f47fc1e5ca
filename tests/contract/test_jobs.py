"""Leases, jobs, shards, failures: where several processes meet."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import pytest
from contract.records import COLLECTION, JOB, batch, derivative, failure, image, job, shard

from fpj_core.errors import ConcurrencyError, ErrorType, FencedError, LeaseHeldError
from fpj_core.kube.names import lease_name
from fpj_core.model import Counts, Folder, Phase, Shard, ShardState
from fpj_core.store.mongodb import MongoStore
from fpj_core.store.protocol import Store

T = TypeVar("T")


def all_at_once(count: int, function: Callable[[int], T]) -> list[T]:
    """Call from ``count`` threads that start together."""
    barrier = threading.Barrier(count)

    def call(number: int) -> T:
        barrier.wait(30)
        return function(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(call, range(count)))


# Leases -------------------------------------------------------------------------------------------


def test_a_lease_has_one_holder_until_it_expires(store: Store) -> None:
    first = store.acquire_lease("l", "a", 10, now=100)
    assert (first.fence, first.expires_at) == (1, 110)
    with pytest.raises(LeaseHeldError) as held:
        store.acquire_lease("l", "b", 10, now=109)
    assert (held.value.holder, held.value.expires_at) == ("a", 110)
    assert store.acquire_lease("l", "a", 10, now=105).fence == 1, "its own holder may take it again"
    assert store.acquire_lease("l", "b", 10, now=115).fence == 2
    assert store.lease("l").holder == "b"  # type: ignore[union-attr]
    assert store.lease("none") is None


def test_a_holder_that_lost_its_lease_is_fenced(store: Store) -> None:
    lost = store.acquire_lease("l", "a", 10, now=100)
    taken = store.acquire_lease("l", "b", 10, now=111)
    with pytest.raises(FencedError):
        store.renew_lease(lost, 10, now=112)
    store.release_lease(lost)
    assert store.lease("l") == taken, "a release by the former holder changes nothing"
    assert store.renew_lease(taken, 10, now=112).expires_at == 122


def test_a_lease_that_one_had_before_is_not_the_one_that_one_has(store: Store) -> None:
    before = store.acquire_lease("l", "a", 10, now=100)
    store.release_lease(before)
    now = store.acquire_lease("l", "a", 10, now=101)
    assert now.fence == before.fence + 1
    with pytest.raises(FencedError):
        store.renew_lease(before, 10, now=102)
    store.release_lease(before)
    assert store.lease("l") == now


def test_the_fence_rises_over_releases_and_broken_leases(store: Store) -> None:
    store.release_lease(store.acquire_lease("l", "a", 10, now=100))
    second = store.acquire_lease("l", "b", 10, now=101)
    assert second.fence == 2
    store.break_lease("l", "someone else")
    assert store.lease("l") == second
    store.break_lease("l", "b")
    assert store.acquire_lease("l", "c", 10, now=102).fence == 3


def test_a_holder_that_asks_for_a_greater_fence_gets_one_however_the_lease_stands(
    store: Store,
) -> None:
    assert store.acquire_lease("l", "a", 10, now=100, above=4).fence == 5, (
        "also where the store was emptied since"
    )
    assert store.acquire_lease("l", "a", 10, now=101, above=4).fence == 5, (
        "who asks again changes nothing"
    )
    assert store.acquire_lease("l", "a", 10, now=102, above=5).fence == 6
    assert store.acquire_lease("l", "a", 10, now=103).fence == 6
    with pytest.raises(LeaseHeldError):
        store.acquire_lease("l", "b", 10, now=104, above=9)
    assert store.acquire_lease("l", "b", 10, now=113, above=3).fence == 7, (
        "a lapsed one rises by one"
    )
    assert store.acquire_lease("l", "c", 10, now=123, above=9).fence == 10, (
        "or to above what was asked for"
    )
    assert store.acquire_lease("l", "c", 10, now=124) == store.lease("l")


def test_a_pod_of_the_attempt_before_writes_no_image(store: Store) -> None:
    before = store.acquire_lease(lease_name(COLLECTION), "a", 10, now=100)
    store.upsert_images([image(0)], before.fence)
    later = store.acquire_lease(lease_name(COLLECTION), "a", 10, now=101, above=before.fence)
    with pytest.raises(FencedError):
        store.mark_deleted(COLLECTION, [0], before.fence)
    with pytest.raises(FencedError):
        store.upsert_images([image(1)], before.fence)
    store.mark_deleted(COLLECTION, [0], later.fence)


def test_of_fifty_that_race_for_a_lease_one_wins(open_another: Callable[[], Store]) -> None:
    stores = [open_another() for _ in range(5)]

    def attempt(number: int) -> int:
        try:
            return stores[number % 5].acquire_lease("l", f"h{number}", 10, now=100).fence
        except LeaseHeldError:
            return 0

    assert sorted(all_at_once(50, attempt))[-2:] == [0, 1]


# Jobs ---------------------------------------------------------------------------------------------


def test_a_job_is_created_once(store: Store) -> None:
    assert store.create_job(job()) == job()
    assert store.create_job(replace(job(), name="other")) == job()
    assert store.get_job(JOB) == job()
    assert store.get_job("none") is None


def test_updates_are_checked_against_the_version(store: Store) -> None:
    first = store.create_job(job())
    changed = store.update_job(
        replace(
            first,
            phase=Phase.RUNNING,
            base=Counts(skipped=3, errors={"Internal": 1}),
            message="é 😀",
        )
    )
    assert changed.version == 1
    assert store.get_job(JOB) == changed
    with pytest.raises(ConcurrencyError):
        store.update_job(replace(first, phase=Phase.FAILED))
    assert store.get_job(JOB) == changed


def test_a_hundred_concurrent_updates_lose_nothing(open_another: Callable[[], Store]) -> None:
    stores = [open_another() for _ in range(4)]
    stores[0].create_job(job())

    def increment(number: int) -> int:
        store = stores[number % 4]
        for attempt in range(2_000):
            current = store.get_job(JOB)
            assert current
            try:
                store.update_job(replace(current, total=current.total + 1))
            except ConcurrencyError:
                continue
            return attempt
        raise AssertionError("starved")

    all_at_once(100, increment)
    assert stores[0].get_job(JOB).total == 100  # type: ignore[union-attr]


def test_jobs_are_listed_newest_first(store: Store) -> None:
    for n in range(5):
        store.create_job(
            job(f"j{n}", created_at=float(n), collection="even" if n % 2 == 0 else "odd")
        )
    assert [j.id for j in store.jobs(limit=2)] == ["j4", "j3"]
    assert [j.id for j in store.jobs(before=3.0)] == ["j2", "j1", "j0"]
    assert [j.id for j in store.jobs(collection="odd")] == ["j3", "j1"]


def test_records_of_before_a_field_was_added_can_be_read(store: Store) -> None:
    """Every field that came later has a default that is right for a job that never heard of it."""
    store.create_job(job())
    later = {"planned_attempt", "planning_attempt", "running_since", "last_progress_done", "stages"}
    if isinstance(store, MongoStore):
        store._db.jobs.update_one({"_id": JOB}, {"$unset": dict.fromkeys(later, "")})
    else:
        with store._connection.write() as db:  # type: ignore[attr-defined]
            (text,) = db.execute("SELECT document FROM jobs").fetchone()
            older = {name: value for name, value in json.loads(text).items() if name not in later}
            assert len(older) == len(json.loads(text)) - len(later)
            db.execute("UPDATE jobs SET document = ?", (json.dumps(older),))
    assert store.get_job(JOB) == job()
    assert store.jobs() == [job()]
    changed = store.update_job(
        replace(
            job(), planned_attempt=2, planning_attempt=3, running_since=4.5, stages={"Index": 1.5}
        )
    )
    assert store.get_job(JOB) == changed


def test_records_with_fields_of_later_versions_can_be_read(store: Store) -> None:
    store.create_job(job())
    if isinstance(store, MongoStore):
        store._db.jobs.update_one({"_id": JOB}, {"$set": {"hue": "blue"}})
    else:
        with store._connection.write() as db:  # type: ignore[attr-defined]
            db.execute("UPDATE jobs SET document = json_set(document, '$.hue', 'blue')")
    assert store.get_job(JOB) == job()


def test_mongodb_documents_of_other_versions_can_be_read(store: Store) -> None:
    """An additional field is ignored, a missing one has its default:
    two versions may meet during an upgrade.
    """
    if not isinstance(store, MongoStore):
        pytest.skip("a column is there or not: the schema's version says so")
    store.upsert_images([image(0)], 0)
    store.put_shards(JOB, 1, [shard(0, 0, 10)])
    claimed = store.claim_shard(JOB, 1, "a", 1.0)
    assert claimed
    store.flush(replace(batch(claimed, 0, 1), failures=(failure(0),), facts={}), 1.0)
    store.upsert_folder(Folder("cache", "/cache"))
    before = (
        store.images(COLLECTION, 0, 9),
        store.shards(JOB, 1),
        store.failures(JOB),
        store.folders(),
    )
    for name in ("images", "job_shards", "failures", "folders", "derivatives"):
        store._db[name].update_many({}, {"$set": {"hue": "blue"}})
    store._db.images.update_many({}, {"$unset": {"warning": "", "thumbhash": ""}})
    assert (
        store.images(COLLECTION, 0, 9),
        store.shards(JOB, 1),
        store.failures(JOB),
        store.folders(),
    ) == before
    assert store.refresh_folder("cache").files == 1
    assert len(store.derivatives(COLLECTION, 0, 9, ["full"])) == 1


# Shards -------------------------------------------------------------------------------------------


def test_shards_are_claimed_in_order_and_once(store: Store) -> None:
    store.put_shards(JOB, 1, [shard(0, 0, 10), shard(1, 10, 20)])
    first, second = (store.claim_shard(JOB, 1, holder, 100.0) for holder in "ab")
    assert first and second
    assert [(s.index, s.holder, s.state) for s in (first, second)] == [
        (0, "a", ShardState.RUNNING),
        (1, "b", ShardState.RUNNING),
    ]
    assert store.claim_shard(JOB, 1, "c", 101.0) is None
    assert store.claim_shard("other job", 1, "c", 101.0) is None


def test_one_shard_is_looked_at_without_the_others(store: Store) -> None:
    store.put_shards(JOB, 1, [shard(0, 0, 10), shard(1, 10, 20)])
    claimed = store.claim_shard(JOB, 1, "a", 100.0, index=1)
    assert store.shard(JOB, 1, 1) == claimed
    assert store.shard(JOB, 1, 0) == store.shards(JOB, 1)[0]
    assert store.shard(JOB, 1, 2) is None
    assert store.shard("other job", 1, 0) is None


def test_a_given_shard_is_claimed_or_none(store: Store) -> None:
    store.put_shards(JOB, 1, [shard(n, n * 10, n * 10 + 10) for n in range(3)])
    claimed = store.claim_shard(JOB, 1, "a", 100.0, index=1)
    assert claimed
    assert (claimed.index, claimed.holder, claimed.state) == (1, "a", ShardState.RUNNING)
    assert store.claim_shard(JOB, 1, "b", 101.0, index=1) is None, "its holder lives"
    assert store.claim_shard(JOB, 1, "b", 101.0, index=3) is None, "there is no such shard"
    assert [s.state for s in store.shards(JOB, 1)] == [
        ShardState.PENDING,
        ShardState.RUNNING,
        ShardState.PENDING,
    ]
    assert store.claim_shard(JOB, 1, "b", 114.9, index=1) is None
    taken = store.claim_shard(JOB, 1, "b", 115.0, index=1)
    assert taken
    assert taken.epoch > claimed.epoch
    store.finish_shard(taken, ShardState.SUCCEEDED, 116.0)
    assert store.claim_shard(JOB, 1, "c", 900.0, index=1) is None, "it is done"
    assert store.claim_shard(JOB, 1, "c", 120.0, suspect_after=3.0, index=0)
    assert store.claim_shard(JOB, 1, "d", 122.9, suspect_after=3.0, index=0) is None
    assert store.claim_shard(JOB, 1, "d", 123.0, suspect_after=3.0, index=0)


def test_of_fifty_that_want_the_same_shard_one_gets_it(open_another: Callable[[], Store]) -> None:
    stores = [open_another() for _ in range(5)]
    stores[0].put_shards(JOB, 1, [shard(n, n, n + 1) for n in range(5)])
    claims = all_at_once(50, lambda n: stores[n % 5].claim_shard(JOB, 1, f"h{n}", 100.0, index=3))
    assert [claimed.index for claimed in claims if claimed] == [3]


def test_silent_shards_are_running_ones_without_a_sign_of_life(store: Store) -> None:
    store.put_shards(JOB, 1, [shard(n, n * 10, n * 10 + 10) for n in range(5)])
    claims = [store.claim_shard(JOB, 1, "a", 100.0 + n, index=n) for n in range(4)]
    assert all(claims)
    store.finish_shard(claims[0], ShardState.SUCCEEDED, 100.0)  # type: ignore[arg-type]
    store.heartbeat(claims[1], 110.0)  # type: ignore[arg-type]
    assert store.silent_shards(JOB, 1, 101.9) == []
    assert store.silent_shards(JOB, 1, 102.0) == [2]
    assert store.silent_shards(JOB, 1, 109.9) == [2, 3]
    assert store.silent_shards(JOB, 1, 110.0) == [1, 2, 3]
    assert store.silent_shards("other job", 1, 999.0) == []


def test_silent_shards_are_told_a_hundred_at_a_time(store: Store) -> None:
    running = replace(shard(0, 0, 1), state=ShardState.RUNNING, heartbeat_at=1.0)
    store.put_shards(JOB, 1, [replace(running, index=n) for n in range(120)])
    assert store.silent_shards(JOB, 1, 1.0) == list(range(100))


def test_released_shards_are_pending_and_their_holders_fenced(store: Store) -> None:
    store.put_shards(JOB, 1, [shard(n, n * 10, n * 10 + 10) for n in range(4)])
    done, at_work, given_up = (store.claim_shard(JOB, 1, "a", 100.0, index=n) for n in range(3))
    assert done and at_work and given_up
    store.flush(batch(done, 0, 10), 100.0)
    store.finish_shard(done, ShardState.SUCCEEDED, 100.0)
    store.flush(batch(at_work, 10, 14), 100.0)
    store.finish_shard(given_up, ShardState.FAILED, 100.0)
    store.release_shards(JOB, 1)
    store.release_shards("other job", 1)
    writes: tuple[Callable[[], object], ...] = (
        lambda: store.flush(batch(at_work, 14, 20), 101.0),
        lambda: store.heartbeat(at_work, 101.0),
        lambda: store.finish_shard(at_work, ShardState.SUCCEEDED, 101.0),
        lambda: store.heartbeat(given_up, 101.0),
    )
    for write in writes:
        with pytest.raises(FencedError):
            write()
    shards = store.shards(JOB, 1)
    assert [s.state for s in shards] == [ShardState.SUCCEEDED, *[ShardState.PENDING] * 3]
    assert (shards[1].cursor, shards[1].counts.completed, shards[1].holder) == (14, 4, None)
    assert store.job_counts(JOB, 1)[0].completed == 14
    again = store.claim_shard(JOB, 1, "b", 101.0)
    assert again
    assert (again.index, again.cursor) == (1, 14)
    assert again.epoch > at_work.epoch + 1
    store.put_shards(JOB, 1, [shard(0, 0, 10)])
    assert store.shards(JOB, 1)[0].epoch > again.epoch, "new shards begin above what was given out"


def test_a_silent_shard_is_claimed_again_and_its_former_holder_fenced(store: Store) -> None:
    store.put_shards(JOB, 1, [shard(0, 0, 10)])
    zombie = store.claim_shard(JOB, 1, "a", 100.0)
    assert zombie
    store.flush(batch(zombie, 0, 4), 101.0)
    assert store.claim_shard(JOB, 1, "b", 115.9) is None, "the flush was a sign of life"
    taken = store.claim_shard(JOB, 1, "b", 116.0)
    assert taken
    assert (taken.cursor, taken.counts.completed) == (4, 4)
    assert taken.epoch > zombie.epoch
    writes: tuple[Callable[[], object], ...] = (
        lambda: store.flush(batch(zombie, 4, 6), 117.0),
        lambda: store.heartbeat(zombie, 117.0),
        lambda: store.finish_shard(zombie, ShardState.SUCCEEDED, 117.0),
    )
    for write in writes:
        with pytest.raises(FencedError):
            write()
    assert store.shards(JOB, 1) == [taken]
    assert [d.ordinal for d in store.derivatives(COLLECTION, 0, 10, ["full"])] == [0, 1, 2, 3]


def test_heartbeats_keep_a_shard(store: Store) -> None:
    store.put_shards(JOB, 1, [shard(0, 0, 10)])
    claimed = store.claim_shard(JOB, 1, "a", 100.0)
    assert claimed
    store.heartbeat(claimed, 110.0)
    assert store.claim_shard(JOB, 1, "b", 120.0) is None


def test_a_batch_counts_once_however_often_it_is_sent(store: Store) -> None:
    store.put_shards(JOB, 1, [shard(0, 0, 10)])
    claimed = store.claim_shard(JOB, 1, "a", 100.0)
    assert claimed
    for _ in range(3):
        store.flush(batch(claimed, 0, 5), 101.0)
    assert store.job_counts(JOB, 1)[0].completed == 5
    store.flush(batch(claimed, 5, 10), 102.0)
    with pytest.raises(FencedError):
        store.flush(batch(claimed, 3, 8), 103.0)
    counts, states = store.job_counts(JOB, 1)
    assert (counts.completed, counts.bytes_written) == (10, 100)
    assert states == {ShardState.RUNNING: 1}


def test_records_beyond_the_cursor_do_not_count(store: Store) -> None:
    store.put_shards(JOB, 1, [shard(0, 0, 10)])
    claimed = store.claim_shard(JOB, 1, "a", 100.0)
    assert claimed
    early = replace(batch(claimed, 5, 8), expected_cursor=0, cursor=0, counts=Counts())
    store.flush(early, 101.0)
    assert store.job_counts(JOB, 1)[0] == Counts()
    assert len(store.derivatives(COLLECTION, 0, 10, ["full"])) == 3
    store.flush(batch(claimed, 0, 8), 102.0)
    assert store.job_counts(JOB, 1)[0].completed == 8


def test_an_older_fence_never_overwrites_a_newer_one(store: Store) -> None:
    store.put_shards(JOB, 1, [shard(0, 0, 5), shard(1, 0, 5)])
    older, newer = store.claim_shard(JOB, 1, "a", 1.0), store.claim_shard(JOB, 1, "b", 1.0)
    assert older and newer
    store.flush(batch(newer, 0, 3, fence=7), 2.0)
    stale = replace(
        batch(older, 0, 3, fence=6),
        derivatives=(derivative(0, digest="stale"), derivative(4, digest="x")),
    )
    store.flush(stale, 3.0)
    digests = {d.ordinal: d.digest for d in store.derivatives(COLLECTION, 0, 5, ["full"])}
    assert digests == {0: "d1", 1: "d1", 2: "d1", 4: "x"}


def test_a_record_of_the_same_fence_replaces_the_one_before(store: Store) -> None:
    """As in a recovery, which keeps the lock and so its fence."""
    store.upsert_images([image(0)], 0)
    store.put_shards(JOB, 1, [shard(0, 0, 1)])
    claimed = store.claim_shard(JOB, 1, "w", now=0)
    assert claimed
    for cursor, digest in ((0, "d1"), (1, "d2")):
        made = replace(batch(claimed, 0, 1), expected_cursor=0, cursor=cursor)
        store.flush(
            replace(made, counts=Counts(), derivatives=(derivative(0, digest=digest),)), now=1
        )
        assert [each.digest for each in store.derivatives(COLLECTION, 0, 1, ["full"])] == [digest]


def test_replacing_shards_fences_all_their_holders(store: Store) -> None:
    store.put_shards(JOB, 1, [shard(0, 0, 5)])
    former = store.claim_shard(JOB, 1, "a", 1.0)
    assert former
    store.put_shards(JOB, 1, [])
    store.put_shards(JOB, 1, [shard(0, 0, 5), shard(1, 5, 9)])
    with pytest.raises(FencedError):
        store.flush(batch(former, 0, 5), 2.0)
    claimed = store.claim_shard(JOB, 1, "b", 2.0)
    assert claimed
    assert claimed.epoch > former.epoch
    assert store.job_counts(JOB, 1) == (Counts(), {ShardState.RUNNING: 1, ShardState.PENDING: 1})


def test_a_shard_handed_back_can_be_claimed_at_once(store: Store) -> None:
    store.put_shards(JOB, 1, [shard(0, 0, 5)])
    claimed = store.claim_shard(JOB, 1, "a", 1.0)
    assert claimed
    store.flush(batch(claimed, 0, 2), 1.0)
    store.finish_shard(claimed, ShardState.PENDING, 1.0)
    again = store.claim_shard(JOB, 1, "b", 1.0)
    assert again
    assert again.cursor == 2


def test_a_hundred_claimers_never_share_an_epoch(open_another: Callable[[], Store]) -> None:
    stores = [open_another() for _ in range(5)]
    stores[0].put_shards(JOB, 1, [shard(n, n, n + 1) for n in range(40)])
    claims = all_at_once(100, lambda n: stores[n % 5].claim_shard(JOB, 1, f"h{n}", 100.0))
    won = Counter(claimed.index for claimed in claims if claimed)
    assert won == Counter(range(40))


def test_concurrent_flushes_of_many_shards_add_up(open_another: Callable[[], Store]) -> None:
    stores = [open_another() for _ in range(4)]
    stores[0].put_shards(JOB, 1, [shard(n, n * 20, n * 20 + 20) for n in range(16)])

    def work(number: int) -> None:
        store = stores[number % 4]
        claimed = store.claim_shard(JOB, 1, f"h{number}", 100.0)
        assert claimed
        for start in range(claimed.start, claimed.stop, 4):
            counts = Counts(
                completed=3, failed=1, bytes_written=30, processing_ms=0.5, errors={"TooLarge": 1}
            )
            store.flush(batch(claimed, start, start + 4, counts=counts), 101.0)
        store.finish_shard(claimed, ShardState.SUCCEEDED, 102.0)

    all_at_once(16, work)
    counts, states = stores[0].job_counts(JOB, 1)
    assert (counts.completed, counts.failed, counts.errors) == (240, 80, {"TooLarge": 80})
    assert counts.processing_ms == pytest.approx(40.0)
    assert states == {ShardState.SUCCEEDED: 16}
    assert len(stores[0].derivatives(COLLECTION, 0, 320, ["full"])) == 320


def test_one_reporter_per_interval(open_another: Callable[[], Store]) -> None:
    stores = [open_another() for _ in range(4)]
    assert (
        sum(all_at_once(40, lambda n: stores[n % 4].claim_reporter(JOB, f"h{n}", 5.0, 100.0))) == 1
    )
    assert not stores[0].claim_reporter(JOB, "h", 5.0, 104.9)
    assert stores[0].claim_reporter(JOB, "h", 5.0, 105.0)
    assert stores[0].claim_reporter("other", "h", 5.0, 105.0)


# Failures -----------------------------------------------------------------------------------------


def test_a_failure_that_was_not_counted_is_not_listed(store: Store) -> None:
    """A writer dies, or is fenced, after its records and before its cursor.

    The next one makes the image.
    """
    store.put_shards(JOB, 1, [shard(0, 0, 10)])
    first = store.claim_shard(JOB, 1, "first", 1.0)
    assert first
    late = replace(batch(first, 0, 4, counts=Counts(completed=3, failed=1)), failures=(failure(2),))
    if isinstance(store, MongoStore):
        store._record(late, 2.0)
    second = store.claim_shard(JOB, 1, "second", 100.0)
    assert second
    store.flush(batch(second, 0, 4, counts=Counts(completed=4)), 101.0)
    if isinstance(store, MongoStore):
        store._record(late, 2.0)
    with pytest.raises(FencedError):
        store.flush(late, 102.0)
    assert store.failures(JOB) == []
    mine = replace(
        batch(second, 4, 8, counts=Counts(completed=3, failed=1)), failures=(failure(5),)
    )
    store.flush(mine, 103.0)
    if isinstance(store, MongoStore):
        store._record(replace(late, failures=(failure(5, message="late"),)), 2.0)
    assert store.failures(JOB) == [failure(5)]


def test_failures_are_listed_by_type_and_page(store: Store) -> None:
    store.put_shards(JOB, 1, [shard(0, 0, 10)])
    claimed = store.claim_shard(JOB, 1, "a", 1.0)
    assert claimed
    failures = (failure(1), failure(4, error_type=ErrorType.TOO_LARGE), failure(7))
    counts = Counts(completed=7, failed=3, errors={"CorruptImage": 2, "TooLarge": 1})
    store.flush(replace(batch(claimed, 0, 10, counts=counts), failures=failures), 2.0)
    assert store.failures(JOB) == list(failures)
    assert store.failures(JOB, error_type="CorruptImage") == [failures[0], failures[2]]
    assert store.failures(JOB, after=1, limit=1) == [failures[1]]
    assert store.job_counts(JOB, 1)[0].errors == {"CorruptImage": 2, "TooLarge": 1}
    store.delete_failures(JOB)
    assert store.failures(JOB) == []


def test_messages_need_not_be_clean(store: Store) -> None:
    store.put_shards(JOB, 1, [shard(0, 0, 1)])
    claimed = store.claim_shard(JOB, 1, "a", 1.0)
    assert claimed
    bad = failure(0, message="not \udcff text")
    store.flush(replace(batch(claimed, 0, 1), failures=(bad,)), 2.0)
    assert store.failures(JOB) == [replace(bad, message="not ? text")]


def test_the_store_tells_where_it_is(store: Store) -> None:
    assert store.location
    store.upsert_images([image(0)], 0)


# Attempts -----------------------------------------------------------------------------------------


def test_a_plan_of_an_earlier_attempt_that_comes_late_changes_nothing(store: Store) -> None:
    store.upsert_images([image(n) for n in range(10)], 0)
    store.put_shards(JOB, 1, [shard(0, 0, 10)])
    first = store.claim_shard(JOB, 1, "a", 1.0)
    assert first
    store.put_shards(JOB, 2, [shard(0, 0, 5), shard(1, 5, 10)])
    second = store.claim_shard(JOB, 2, "b", 1.0)
    assert second and second.epoch > first.epoch
    store.flush(replace(batch(second, 0, 3), attempt=2), 2.0)
    before = store.shards(JOB, 2)
    with pytest.raises(FencedError):
        store.put_shards(JOB, 1, [shard(n, n, n + 1) for n in range(10)])
    assert store.shards(JOB, 2) == before
    assert store.job_counts(JOB, 2)[0].completed == 3
    assert store.job_counts(JOB, 1)[0] == Counts(), "its own counts are its own"


def test_a_plan_that_stalls_while_the_next_is_made_changes_nothing(store: Store) -> None:
    """Of the same attempt too: a pod on a node that was cut off, and the pod in its place."""

    def stalling(attempt: int) -> Iterator[Shard]:
        yield from (shard(n, n, n + 1) for n in range(1_000))
        store.put_shards(JOB, attempt, [shard(0, 0, 600), shard(1, 600, 1_200)])
        yield from (shard(n, n, n + 1) for n in range(1_000, 1_200))

    for attempt in (1, 2):
        with pytest.raises(FencedError):
            store.put_shards(JOB, 1, stalling(attempt))
        assert [(s.start, s.stop) for s in store.shards(JOB, attempt)] == [(0, 600), (600, 1_200)]


def test_a_recorded_plan_is_never_replaced(store: Store) -> None:
    store.create_job(job())
    store.put_shards(JOB, 1, [shard(0, 0, 10)])
    store.update_job(replace(job(), planned_attempt=1, planned_shards=1))
    before = store.shards(JOB, 1)
    with pytest.raises(FencedError):
        store.put_shards(JOB, 1, [])
    assert store.shards(JOB, 1) == before
    assert store.put_shards(JOB, 2, []) == 0


def test_only_the_planner_that_the_record_names_puts_shards(store: Store) -> None:
    """Whoever begins to plan writes its name there, and so stands in for whom it replaces."""
    store.create_job(replace(job(), planning_attempt=1, planner="second"))
    for other in ("first", ""):
        with pytest.raises(FencedError):
            store.put_shards(JOB, 1, [shard(0, 0, 5)], other)
    assert store.shards(JOB, 1) == []
    assert store.put_shards(JOB, 1, [shard(0, 0, 10)], "second") == 1

    def replaced() -> Iterator[Shard]:
        yield shard(0, 0, 5)
        store.update_job(replace(job(), planning_attempt=1, planner="third"))

    with pytest.raises(FencedError):
        store.put_shards(JOB, 1, replaced(), "second")


def test_a_shorter_plan_leaves_nothing_of_a_longer_one(store: Store) -> None:
    assert store.put_shards(JOB, 1, [shard(n, n, n + 1) for n in range(2_500)]) == 2_500
    assert store.put_shards(JOB, 1, [shard(n, n, n + 1) for n in range(7)]) == 7
    assert len(store.shards(JOB, 1)) == 7


def test_shards_of_earlier_attempts_are_deleted_in_steps(store: Store) -> None:
    for attempt, count in ((1, 2_100), (2, 3), (3, 4)):
        store.put_shards(JOB, attempt, [shard(n, n, n + 1) for n in range(count)])
    store.put_shards("other job", 1, [replace(shard(0, 0, 1), job="other job")])
    steps: list[None] = []
    store.delete_attempts(JOB, 3, lambda: steps.append(None))
    assert len(steps) == 3
    assert [len(store.shards(JOB, attempt)) for attempt in (1, 2, 3)] == [0, 0, 4]
    assert len(store.shards("other job", 1)) == 1


def test_releasing_fences_earlier_attempts_too_and_can_be_stopped(store: Store) -> None:
    claims = []
    for attempt in (1, 2, 3):
        store.put_shards(
            JOB, attempt, [shard(n, n, n + 1) for n in range(1_200 if attempt == 2 else 2)]
        )
        claims.append(store.claim_shard(JOB, attempt, "a", 1.0))
    steps: list[None] = []
    store.release_shards(JOB, 2, lambda: steps.append(None))
    assert len(steps) == 2
    for claimed, fenced in zip(claims, (True, True, False), strict=True):
        assert claimed
        if fenced:
            with pytest.raises(FencedError):
                store.heartbeat(claimed, 2.0)
        else:
            store.heartbeat(claimed, 2.0)


def test_shards_handed_back_are_offered_and_those_never_held_are_not(store: Store) -> None:
    store.put_shards(JOB, 1, [shard(n, n, n + 1) for n in range(3)])
    claimed = store.claim_shard(JOB, 1, "a", 100.0, index=1)
    assert claimed
    store.finish_shard(claimed, ShardState.PENDING, 101.0)
    assert store.silent_shards(JOB, 1, 50.0) == [1]
    assert store.claim_shard(JOB, 1, "b", 101.5, index=1), "at once"
    assert store.silent_shards(JOB, 1, 50.0) == []
    store.release_shards(JOB, 1)
    assert store.silent_shards(JOB, 1, 900.0) == [], "whoever resumes starts a pod for each"


def test_an_image_is_written_under_the_locks_fence_only(store: Store) -> None:
    name = lease_name(COLLECTION)
    late = store.acquire_lease(name, "a", 10, now=100)
    store.upsert_images([image(n) for n in range(3)], late.fence)
    now = store.acquire_lease(name, "b", 10, now=111)
    store.upsert_images([image(3), image(1, version="v2")], now.fence)
    writes: tuple[Callable[[], object], ...] = (
        lambda: store.upsert_images([image(1), image(4)], late.fence),
        lambda: store.mark_deleted(COLLECTION, [0, 3], late.fence),
        lambda: store.upsert_images([image(5)], 0),
        lambda: store.upsert_images([image(5)], now.fence + 1),
    )
    for write in writes:
        with pytest.raises(FencedError, match="taken over"):
            write()
    assert [(i.ordinal, i.version) for i in store.images(COLLECTION, 0, 9)] == [
        (0, "v1"),
        (1, "v2"),
        (2, "v1"),
        (3, "v1"),
    ]
    with pytest.raises(FencedError):
        store.upsert_images([image(0, collection="never locked")], 5)


def test_each_store_has_an_identity_of_its_own(
    store: Store, open_another: Callable[[], Store]
) -> None:
    identity = store.identity()
    assert len(identity) == 32
    assert store.identity() == open_another().identity() == identity
    if isinstance(store, MongoStore):
        store._client.drop_database(store._db.name)
        emptied = store.identity()
        assert emptied != identity
        assert open_another().identity() == emptied


# Deletion -----------------------------------------------------------------------------------------


def test_a_deleted_job_leaves_what_it_made(store: Store) -> None:
    for name in (JOB, "other"):
        store.create_job(job(name))
        store.put_shards(name, 1, [replace(shard(n, n, n + 1), job=name) for n in range(1_001)])
    claimed = store.claim_shard(JOB, 1, "a", 1.0)
    assert claimed
    store.flush(replace(batch(claimed, 0, 1), failures=(failure(0),)), 1.0)
    steps: list[None] = []
    store.delete_job(JOB, lambda: steps.append(None))
    assert len(steps) >= 3
    store.delete_job(JOB)
    assert store.get_job(JOB) is None
    assert (store.shards(JOB, 1), store.failures(JOB)) == ([], [])
    with pytest.raises(FencedError):
        store.heartbeat(claimed, 2.0)
    assert store.get_job("other") and len(store.shards("other", 1)) == 1_001
    assert len(store.derivatives(COLLECTION, 0, 9, ["full"])) == 1
