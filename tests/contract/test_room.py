"""Room in a folder with a limit: whoever writes reserves it first."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from contract.records import COLLECTION, JOB, batch, derivative, image, shard

from fpj_core.model import Derivative, Folder, RemovalReason
from fpj_core.store import room
from fpj_core.store.protocol import Store, nothing
from fpj_core.store.room import Content, Room

FOLDER = "cache"


@pytest.fixture(autouse=True)
def folder(store: Store) -> None:
    store.upsert_folder(Folder(FOLDER, "/cache", max_bytes=100))


def record(store: Store, *derivatives: Derivative) -> None:
    """Have a worker record them."""
    store.upsert_images([image(n) for n in range(5)], 0)
    store.put_shards(JOB, 1, [shard(0, 0, 5)])
    claimed = store.claim_shard(JOB, 1, "worker", 1.0)
    assert claimed
    store.flush(replace(batch(claimed, 0, 5, fence=0), derivatives=derivatives), 2.0)


def test_room_is_granted_until_the_folder_is_full(store: Store) -> None:
    assert store.reserve(FOLDER, "a", 60) == Room(True, 100, 0, 0)
    assert store.reserve(FOLDER, "b", 41) == Room(False, 100, 0, 60)
    assert store.reserve(FOLDER, "b", 40) == Room(True, 100, 0, 60)


def test_a_reservation_replaces_the_holders_earlier_one(store: Store) -> None:
    store.reserve(FOLDER, "a", 60)
    assert store.reserve(FOLDER, "a", 100).granted
    assert not store.reserve(FOLDER, "b", 1).granted
    assert not store.reserve(FOLDER, "a", 101).granted
    assert store.reserve(FOLDER, "b", 1).reserved == 100  # the earlier one stays
    assert store.reserve(FOLDER, "a", 0).granted
    assert store.reserve(FOLDER, "b", 100) == Room(True, 100, 0, 0)


def test_what_is_recorded_and_what_is_being_removed_needs_room(store: Store) -> None:
    record(store, derivative(0, size=30), derivative(1, size=20))
    assert store.reserve(FOLDER, "a", 51) == Room(False, 100, 50, 0)
    store.start_removals(COLLECTION, [(0, "full")], RemovalReason.OVER_QUOTA, 0)
    assert store.reserve(FOLDER, "a", 51) == Room(False, 100, 50, 0)
    store.end_removals(list(store.removals(COLLECTION, FOLDER)))
    assert store.reserve(FOLDER, "a", 80) == Room(True, 100, 20, 0)


def test_a_folder_without_a_limit_has_room(store: Store) -> None:
    store.upsert_folder(Folder("other", "/other"))
    assert store.reserve("other", "a", 2**50).granted
    assert store.reserve("unknown", "a", 2**50) == Room(True, None, 0, 0)
    assert store.reserve(FOLDER, "a", 100).granted


def test_a_limit_counts_from_when_it_is_changed(store: Store) -> None:
    store.reserve(FOLDER, "a", 100)
    store.upsert_folder(Folder(FOLDER, "/cache", max_bytes=50))
    assert not store.reserve(FOLDER, "a", 60).granted
    assert store.reserve(FOLDER, "a", 50).granted


def test_a_reservation_that_is_not_made_again_lapses(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.reserve(FOLDER, "killed", 100)
    assert not store.reserve(FOLDER, "a", 1).granted
    now = store.now() + room.RESERVED_SECONDS + 1
    monkeypatch.setattr(store, "now", lambda: now)
    assert store.reserve(FOLDER, "a", 100) == Room(True, 100, 0, 0)


def test_many_that_ask_at_once_never_get_more_than_there_is(store: Store) -> None:
    granted: list[bool] = []
    start = threading.Barrier(8)

    def ask(holder: str) -> None:
        start.wait(30)
        granted.append(store.reserve(FOLDER, holder, 30).granted)

    threads = [threading.Thread(target=ask, args=(f"pod-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(granted) == 8
    assert sum(granted) <= 3
    assert not store.reserve(FOLDER, "late", 100 - 30 * sum(granted) + 1).granted


def test_what_a_folder_holds(store: Store) -> None:
    made = [derivative(0, size=30), replace(derivative(1, "thumb", size=20), cost_ms=28)]
    record(store, *made, replace(derivative(2), folder="elsewhere"))
    assert store.folder_amounts(FOLDER) == {
        (COLLECTION, "full"): (1, 30),
        (COLLECTION, "thumb"): (1, 20),
    }
    assert store.folder_amounts("none") == {}
    assert list(store.contents(FOLDER, COLLECTION, nothing)) == [
        Content(0, "full", 30, 0, 1.0),
        Content(1, "thumb", 20, 28, 1.0),
    ]
    assert list(store.contents(FOLDER, "none", nothing)) == []


def test_a_folder_keeps_its_policy(store: Store) -> None:
    store.upsert_folder(Folder(FOLDER, "/cache", policy='{"ttl": 60}'))
    assert store.folders()[0].policy == '{"ttl": 60}'
    assert store.folders()[0].max_bytes is None
