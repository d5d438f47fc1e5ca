"""Which collections a store knows, and how one is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from contract.records import COLLECTION, batch, derivative, image, job, shard

from fpj_core.errors import FencedError, StoreError
from fpj_core.kube.names import lease_name
from fpj_core.model import Folder, RemovalReason
from fpj_core.store.protocol import Store, nothing

OTHER = "holiday-2"
"""Its id begins as the other's does."""


def fill(store: Store) -> None:
    """Two collections: images, of which one has vanished, derivatives, names, a job."""
    store.upsert_folder(Folder("cache", "/cache"))
    store.upsert_images([image(n) for n in range(9)], 0)
    store.upsert_images([image(n, collection=OTHER) for n in range(2)], 0)
    store.mark_deleted(COLLECTION, [8], 0)
    store.record_source(COLLECTION, "/photos", 0)
    store.record_requested_tiers(COLLECTION, "it", ["full"], 0)
    for collection in (COLLECTION, OTHER):
        store.claim_names(collection, [(f"{n:032x}", "image") for n in range(3)])
    store.create_job(job())
    store.put_shards(job().id, 1, [shard(0, 0, 9)])
    claimed = store.claim_shard(job().id, 1, "worker", 1.0)
    assert claimed
    store.flush(batch(claimed, 0, 9, fence=0), 2.0)


def remove_files(store: Store) -> None:
    store.start_removals(COLLECTION, [(n, "full") for n in range(9)], RemovalReason.FORGOTTEN, 0)
    store.end_removals(list(store.removals(COLLECTION, "cache")))


def knows_nothing(store: Store) -> None:
    assert store.collections() == [OTHER]
    assert store.next_ordinal(COLLECTION) == 0
    assert store.images_by_key(COLLECTION, [image(0).key, image(8).key]) == {}
    assert store.collection_source(COLLECTION) is None
    assert store.requested_tiers(COLLECTION) == {}
    assert store.name_owners(COLLECTION, [f"{0:032x}"]) == {}
    assert store.statistics(COLLECTION) == []
    assert not any(check.drifts for check in store.verify_counters())


def test_collections_are_those_of_which_anything_is_known(store: Store) -> None:
    assert store.collections() == []
    store.record_source("b", "/b", 0)
    store.record_requested_tiers("a", "it", ["full"], 0)
    store.upsert_images([image(0, collection="c")], 0)
    assert store.collections() == ["a", "b", "c"]


def test_owners_of_names_are_asked_for_without_a_claim(store: Store) -> None:
    store.claim_names(COLLECTION, [("0" * 32, "first")])
    assert store.name_owners(COLLECTION, ["0" * 32, "1" * 32]) == {"0" * 32: "first"}
    assert store.name_owners(COLLECTION, ["1" * 32]) == {}
    assert store.name_owners("none", ["0" * 32]) == {}
    assert store.name_owners(COLLECTION, []) == {}


def test_a_collection_is_forgotten_but_for_its_jobs(
    store: Store, open_another: Callable[[], Store]
) -> None:
    fill(store)
    remove_files(store)
    store.forget_collection(COLLECTION, 0)
    knows_nothing(store)
    assert [each.id for each in store.jobs(collection=COLLECTION)] == [job().id]
    assert store.next_ordinal(OTHER) == 2
    assert store.name_owners(OTHER, [f"{0:032x}"]) == {f"{0:032x}": "image"}
    store.forget_collection(COLLECTION, 0)
    store.forget_collection("none", 0)
    knows_nothing(open_another())


def test_it_begins_anew_also_for_who_knew_it_before(
    store: Store, open_another: Callable[[], Store]
) -> None:
    """Another process remembers what it was called within the store."""
    fill(store)
    other = open_another()
    assert other.next_ordinal(COLLECTION) == 9
    remove_files(store)
    store.forget_collection(COLLECTION, 0)
    store.upsert_images([image(0, collection="new")], 0)
    other.upsert_images([image(0), image(1)], 0)
    assert (store.next_ordinal(COLLECTION), other.next_ordinal("new")) == (2, 1)
    assert store.statistics(COLLECTION)[0].images == 2
    assert not any(check.drifts for check in store.verify_counters())


@pytest.mark.parametrize("left", ["a derivative", "a removal"])
def test_a_collection_with_files_is_not_forgotten(store: Store, left: str) -> None:
    fill(store)
    refs = [(n, "full") for n in range(8 if left == "a derivative" else 9)]
    store.start_removals(COLLECTION, refs, RemovalReason.FORGOTTEN, 0)
    gone = list(store.removals(COLLECTION, "cache"))
    store.end_removals(gone if left == "a derivative" else gone[1:])
    with pytest.raises(StoreError, match="must be removed first"):
        store.forget_collection(COLLECTION, 0)
    assert store.next_ordinal(COLLECTION) == 9
    assert store.collection_source(COLLECTION) == "/photos"


def test_who_lost_the_lock_forgets_nothing(store: Store) -> None:
    fill(store)
    remove_files(store)
    lease = store.acquire_lease(lease_name(COLLECTION), "me", 60, 1.0, above=3)
    store.release_lease(lease)
    taken = store.acquire_lease(lease_name(COLLECTION), "you", 60, 2.0)
    with pytest.raises(FencedError, match="taken over"):
        store.forget_collection(COLLECTION, lease.fence)
    assert store.next_ordinal(COLLECTION) == 9
    store.forget_collection(COLLECTION, taken.fence)
    knows_nothing(store)
    held = store.lease(lease_name(COLLECTION))
    assert held is not None
    assert held.fence == taken.fence, "it goes on rising"


def test_many_images_are_forgotten_in_steps_and_an_end_between_leaves_the_rest(
    store: Store,
) -> None:
    for start in range(0, 12_000, 1_000):
        store.upsert_images([image(n) for n in range(start, start + 1_000)], 0)

    class EndedError(Exception):
        pass

    steps = 0

    def end() -> None:
        nonlocal steps
        steps += 1
        if steps == 2:
            raise EndedError

    with pytest.raises(EndedError):
        store.forget_collection(COLLECTION, 0, end)
    assert store.collections() == [COLLECTION]
    assert 0 < store.count_images(COLLECTION) < 12_000
    assert store.statistics(COLLECTION)[0].images == store.count_images(COLLECTION)
    store.forget_collection(COLLECTION, 0, nothing)
    assert store.collections() == []


def test_derivatives_are_forgotten_under_a_fence(store: Store) -> None:
    fill(store)
    lease = store.acquire_lease(lease_name(COLLECTION), "me", 60, 1.0)
    with pytest.raises(FencedError, match="taken over"):
        store.delete_derivatives(COLLECTION, [(0, "full")], lease.fence + 1)
    assert len(store.derivatives(COLLECTION, 0, 9, ["full"])) == 9
    store.delete_derivatives(COLLECTION, [(0, "full")], lease.fence)
    assert len(store.derivatives(COLLECTION, 0, 9, ["full"])) == 8


def test_files_of_every_tier_are_asked_for(store: Store) -> None:
    fill(store)
    store.put_shards(job().id, 2, [shard(0, 0, 9)])
    claimed = store.claim_shard(job().id, 2, "worker", 1.0)
    assert claimed
    thumbnails = replace(batch(claimed, 0, 9), attempt=2, derivatives=(derivative(3, "thumb"),))
    store.flush(thumbnails, 2.0)
    found = [(each[0], each[1]) for each in store.derivative_files(COLLECTION, None)]
    assert found == sorted([*((n, "full") for n in range(9)), (3, "thumb")])
