"""Removing derivatives in two phases: nothing lists the file, then the file and its record go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from contract.records import COLLECTION, JOB, batch, derivative, image, shard

from fpj_core.errors import FencedError
from fpj_core.kube.names import lease_name
from fpj_core.model import Derivative, Folder, Removal, RemovalReason, Shard
from fpj_core.store.protocol import Store, nothing

TIERS = ["full", "thumb"]
NOW = 1e12
"""Later than any moment by the store's clock."""


def made(store: Store, *derivatives: Derivative, fence: int = 0) -> None:
    """Have a worker record them."""
    attempt = max([each.attempt for each in store.shards(JOB, 1)], default=0) or 1
    store.put_shards(JOB, attempt, [shard(0, 0, 100)])
    claimed = store.claim_shard(JOB, attempt, "worker", 1.0)
    assert claimed
    record(store, claimed, derivatives, fence)


def record(store: Store, claimed: Shard, derivatives: tuple[Derivative, ...], fence: int) -> None:
    done = batch(claimed, 0, 100, fence=fence)
    store.flush(replace(done, derivatives=derivatives), 2.0)


def removals(store: Store, folder: str = "cache") -> list[tuple[int, str, RemovalReason, bool]]:
    return [
        (each.ordinal, each.tier, each.reason, each.recorded)
        for each in store.removals(COLLECTION, folder)
    ]


def listed(store: Store) -> list[tuple[int, str]]:
    return [(each.ordinal, each.tier) for each in store.derivatives(COLLECTION, 0, 100, TIERS)]


def test_vanished_images_are_found_with_their_derivatives(store: Store) -> None:
    store.upsert_images([image(n) for n in range(5)], 0)
    made(
        store,
        *(derivative(n, tier) for n in range(5) for tier in TIERS if (n, tier) != (2, "full")),
    )
    assert list(store.vanished(COLLECTION, NOW, nothing)) == []
    store.mark_deleted(COLLECTION, [1, 2], 0)
    assert sorted(store.vanished(COLLECTION, NOW, nothing)) == [
        (1, "full", "p1.jpg"),
        (1, "thumb", "p1.jpg"),
        (2, "thumb", "p2.jpg"),
    ]
    assert list(store.vanished("none", NOW, nothing)) == []


def test_a_vanished_image_is_left_alone_for_some_time(store: Store) -> None:
    store.upsert_images([image(n) for n in range(3)], 0)
    made(store, derivative(1), derivative(2))
    before = store.now() - 1
    store.mark_deleted(COLLECTION, [1], 0)
    after = store.now() + 1
    assert list(store.vanished(COLLECTION, before, nothing)) == []
    assert list(store.vanished(COLLECTION, after, nothing)) == [(1, "full", "p1.jpg")]
    store.mark_deleted(COLLECTION, [1, 2], 0)
    assert list(store.vanished(COLLECTION, before, nothing)) == []


def test_an_image_that_came_back_has_not_vanished(store: Store) -> None:
    store.upsert_images([image(n) for n in range(3)], 0)
    made(store, derivative(1))
    store.mark_deleted(COLLECTION, [1], 0)
    store.upsert_images([image(1)], 0)
    assert list(store.vanished(COLLECTION, NOW, nothing)) == []
    before = store.now() - 1
    store.mark_deleted(COLLECTION, [1], 0)
    assert list(store.vanished(COLLECTION, before, nothing)) == []


def test_many_vanished_images_are_asked_for_in_steps(store: Store) -> None:
    images = [image(n) for n in range(6_000)]
    for start in range(0, len(images), 1_000):
        store.upsert_images(images[start : start + 1_000], 0)
    made(store, derivative(3), derivative(5_999))
    for start in range(0, 6_000, 1_000):
        store.mark_deleted(COLLECTION, range(start, start + 1_000), 0)
    steps: list[int] = []
    found = sorted(store.vanished(COLLECTION, NOW, lambda: steps.append(1)))
    assert found == [(3, "full", "p3.jpg"), (5_999, "full", "p5999.jpg")]
    assert 2 <= len(steps) <= 6


def test_what_is_being_removed_is_listed_no_more(store: Store) -> None:
    store.upsert_images([image(n) for n in range(4)], 0)
    made(store, *(derivative(n, tier, size=7) for n in range(4) for tier in TIERS))
    store.start_removals(COLLECTION, [(1, "full"), (9, "full")], RemovalReason.PURGED, 0)
    assert (1, "full") not in listed(store)
    assert len(listed(store)) == 7
    assert store.folder_totals("cache") == (7, 49, 1)
    assert not any(check.drifts for check in store.verify_counters(COLLECTION))
    (removal,) = store.removals(COLLECTION, "cache")
    wanted = derivative(1, size=7)
    assert removal == Removal(
        COLLECTION,
        1,
        "full",
        "cache",
        wanted.path,
        7,
        RemovalReason.PURGED,
        removal.started_at,
    )
    assert abs(removal.started_at - store.now()) < 60
    assert 1 in store.pending_ordinals(COLLECTION, {"full": "d1"})


def test_removals_are_of_one_folder_and_a_range(store: Store) -> None:
    store.upsert_images([image(n) for n in range(9)], 0)
    made(store, *(derivative(n) for n in range(4)), replace(derivative(5), folder="other"))
    store.start_removals(COLLECTION, [(n, "full") for n in range(9)], RemovalReason.VANISHED, 0)
    assert [each[0] for each in removals(store)] == [0, 1, 2, 3]
    assert [each[0] for each in removals(store, "other")] == [5]
    assert removals(store, "none") == []
    assert [each.ordinal for each in store.removals(COLLECTION, "cache", 1, 3)] == [1, 2]
    assert list(store.removals("none", "cache")) == []


def test_a_removal_ends_once_its_file_is_gone(store: Store) -> None:
    store.upsert_images([image(n) for n in range(3)], 0)
    made(store, *(derivative(n) for n in range(3)))
    store.start_removals(COLLECTION, [(0, "full"), (1, "full")], RemovalReason.VANISHED, 0)
    first, second = store.removals(COLLECTION, "cache")
    store.end_removals([first])
    assert list(store.removals(COLLECTION, "cache")) == [second]
    store.end_removals([first, second])
    store.end_removals([])
    assert removals(store) == []
    assert listed(store) == [(2, "full")]


def test_what_was_made_again_under_the_same_name_is_kept(store: Store) -> None:
    store.upsert_images([image(0)], 0)
    made(store, derivative(0))
    store.start_removals(COLLECTION, [(0, "full")], RemovalReason.VANISHED, 0)
    made(store, derivative(0))
    assert removals(store) == [(0, "full", RemovalReason.VANISHED, True)]
    assert listed(store) == [(0, "full")]


def test_another_name_supersedes(store: Store) -> None:
    """Another format, or another folder: the old file is to be removed, the new one is listed."""
    store.upsert_images([image(n) for n in range(3)], 0)
    made(store, *(derivative(n) for n in range(3)))
    webp = replace(derivative(0), path="holiday/full/00/a.webp", bytes=5)
    moved = replace(derivative(1), folder="other")
    again = derivative(2, digest="d2")
    made(store, webp, moved, again)
    assert removals(store) == [
        (0, "full", RemovalReason.SUPERSEDED, False),
        (1, "full", RemovalReason.SUPERSEDED, False),
    ]
    assert [each.path for each in store.removals(COLLECTION, "cache")] == [
        derivative(0).path,
        derivative(1).path,
    ]
    assert [each.path for each in store.derivatives(COLLECTION, 0, 9, TIERS)] == [
        webp.path,
        moved.path,
        again.path,
    ]


def test_a_late_writer_supersedes_nothing(store: Store) -> None:
    store.upsert_images([image(0)], 0)
    made(store, derivative(0), fence=5)
    made(store, replace(derivative(0), path="holiday/full/00/late.webp"), fence=4)
    assert [each.path for each in store.derivatives(COLLECTION, 0, 9, TIERS)] == [
        derivative(0).path
    ]
    assert all(recorded for _, _, _, recorded in removals(store))


def test_who_lost_the_lock_removes_nothing(store: Store) -> None:
    store.upsert_images([image(0)], 0)
    made(store, derivative(0))
    lease = store.acquire_lease(lease_name(COLLECTION), "me", 60, 1.0, above=7)
    store.release_lease(lease)
    taken = store.acquire_lease(lease_name(COLLECTION), "you", 60, 2.0)
    assert taken.fence > lease.fence
    with pytest.raises(FencedError, match="taken over"):
        store.start_removals(COLLECTION, [(0, "full")], RemovalReason.VANISHED, lease.fence)
    with pytest.raises(FencedError, match="taken over"):
        store.record_requested_tiers(COLLECTION, "job", ["full"], lease.fence)
    assert listed(store) == [(0, "full")]
    assert removals(store) == []
    assert store.requested_tiers(COLLECTION) == {}


def test_what_each_job_asks_for_is_kept(store: Store, open_another: Callable[[], Store]) -> None:
    assert store.requested_tiers(COLLECTION) == {}
    store.record_requested_tiers(COLLECTION, "team.images", ["full", "thumb"], 0)
    store.record_requested_tiers(COLLECTION, "$other", ["small"], 0)
    store.record_requested_tiers(COLLECTION, "team.images", ["full"], 0)
    store.record_source(COLLECTION, "/photos", 0)
    assert open_another().requested_tiers(COLLECTION) == {
        "team.images": ["full"],
        "$other": ["small"],
    }


def test_a_file_that_is_recorded_under_another_name_of_its_folder_stays(store: Store) -> None:
    """A folder may be known by its path, and by a manifest's name."""
    for name, place in (("cache", "/cache"), ("twin", "/cache"), ("other", "/other")):
        store.upsert_folder(Folder(name, place))
    store.upsert_images([image(n) for n in range(2)], 0)
    store.put_shards(JOB, 1, [shard(0, 0, 100)])
    claimed = store.claim_shard(JOB, 1, "worker", 1.0)
    assert claimed
    first, second = derivative(0), derivative(1)
    store.flush(replace(batch(claimed, 0, 50, fence=0), derivatives=(first, second)), 2.0)
    again = (replace(first, folder="twin"), replace(second, folder="other"))
    store.flush(replace(batch(claimed, 50, 100, fence=0), derivatives=again), 3.0)
    assert removals(store) == [
        (0, "full", RemovalReason.SUPERSEDED, True),
        (1, "full", RemovalReason.SUPERSEDED, False),
    ]
