"""A collection is forgotten: its files first, then what is known of it, and nothing of others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from unit.worker.fakes import COLLECTION, FULL, THUMBNAIL, entries, job
from unit.worker.test_inventory import Cache, orphan
from unit.worker.test_removal import KilledError, Killing
from unit.worker.test_shard import derivative, fill

from fpj_core.errors import CacheFolderError, FencedError, LeaseHeldError
from fpj_core.folders.base import CacheFolder
from fpj_core.folders.local import LocalFolder
from fpj_core.folders.ownership import MARKER
from fpj_core.ids import image_id
from fpj_core.kube.names import lease_name
from fpj_core.model import Derivative, RemovalReason
from fpj_core.store.protocol import Store, nothing
from fpj_worker.forgetting import Forgotten, forget, holdings_of
from fpj_worker.locking import locked

OTHER = "other"


def of_other(ordinal: int) -> Derivative:
    image = image_id(OTHER, f"p{ordinal}.jpg")
    path = f"{OTHER}/full/{image[:2]}/{image}.jpg"
    return replace(derivative(ordinal, FULL), image=image, collection=OTHER, path=path)


@pytest.fixture
def cache(store: Store, tmp_path: Path) -> Cache:
    """Two collections in one folder."""
    cache = Cache(store, tmp_path / "cache")
    fill(store, 3)
    cache.made(*(derivative(n, tier) for n in range(3) for tier in (FULL, THUMBNAIL)))
    store.create_job(job("job-1"))
    store.create_job(job("job-2"))
    store.create_job(replace(job("job-3"), collection=OTHER))
    store.record_source(COLLECTION, "/photos", 0)
    store.record_requested_tiers(COLLECTION, "it/cache", ["full"], 0)
    store.claim_names(COLLECTION, [("0" * 32, "image")])
    store.mark_deleted(COLLECTION, [2], 0)
    fill(store, 2, collection=OTHER)
    for ordinal in range(2):
        cache.put(of_other(ordinal).path)
    return cache


def forgets(store: Store, cache: Cache, folders: dict[str, CacheFolder] | None = None) -> Forgotten:
    known = folders if folders is not None else {"cache": LocalFolder(str(cache.root))}
    with locked(store, COLLECTION, "forget") as lock:
        return forget(store, holdings_of(store, COLLECTION, nothing), known, lock, nothing)


def check_forgotten(cache: Cache) -> None:
    store = cache.store
    assert cache.files() == {of_other(n).path for n in range(2)}
    assert store.collections() == [OTHER]
    assert store.next_ordinal(COLLECTION) == 0
    assert store.images_by_key(COLLECTION, [each.key for each in entries(3)]) == {}
    assert store.collection_source(COLLECTION) is None
    assert store.requested_tiers(COLLECTION) == {}
    assert store.name_owners(COLLECTION, ["0" * 32]) == {}
    assert store.jobs(collection=COLLECTION) == []
    assert list(store.removals(COLLECTION, "cache")) == []
    assert store.statistics(COLLECTION) == []
    assert not any(check.drifts for check in store.verify_counters())
    assert (len(store.jobs()), store.next_ordinal(OTHER)) == (1, 2)
    (folder,) = store.folders()
    assert folder.files == 0


def test_what_there_is_of_a_collection(cache: Cache) -> None:
    cache.store.start_removals(COLLECTION, [(0, "full")], RemovalReason.PURGED, 0)
    held = holdings_of(cache.store, COLLECTION, nothing)
    assert held.files == {("cache", "full"): (3, 3009), ("cache", "thumbnail"): (3, 3006)}
    assert (held.images, held.jobs, held.folders) == (2, 2, ("cache",))
    assert holdings_of(cache.store, "none", nothing).files == {}


def test_a_collection_is_forgotten_with_a_receipt(cache: Cache) -> None:
    done = forgets(cache.store, cache)
    assert (done.removed.files, done.removed.bytes) == (6, 6015)
    assert done.removed.by_reason == {RemovalReason.FORGOTTEN: 6}
    assert (done.images, done.jobs, done.unrecorded, done.troubles) == (2, 2, 0, ())
    check_forgotten(cache)
    fence = cache.store.lease(lease_name(COLLECTION))
    assert fence is not None
    assert fence.fence > 0, "late writers stay out"


def test_it_begins_anew_afterwards(cache: Cache) -> None:
    forgets(cache.store, cache)
    with locked(cache.store, COLLECTION, "a run") as lock:
        cache.store.record_source(COLLECTION, "/photos", lock.fence)
    assert cache.store.collections() == [COLLECTION, OTHER]


def test_files_without_a_record_go_too_unless_they_are_new(cache: Cache) -> None:
    cache.put(orphan(1))
    cache.put(f"{COLLECTION}/notes.txt")
    young = cache.put(orphan(2), at=LocalFolder(str(cache.root)).now())
    done = forgets(cache.store, cache)
    assert done.unrecorded == 1
    assert cache.files() == {
        f"{COLLECTION}/notes.txt",
        str(young.relative_to(cache.root)),
        *(of_other(n).path for n in range(2)),
    }


def test_a_folder_that_is_not_mounted_changes_nothing(cache: Cache) -> None:
    (cache.root / MARKER).rename(cache.root / "away")
    recorded, files = cache.recorded(), cache.files()
    with pytest.raises(CacheFolderError, match="marker"):
        forgets(cache.store, cache)
    assert (cache.recorded(), cache.files()) == (recorded, files)
    assert cache.store.next_ordinal(COLLECTION) == 3


def test_a_folder_that_nobody_can_reach_changes_nothing(cache: Cache) -> None:
    with pytest.raises(CacheFolderError, match="cannot be reached"):
        forgets(cache.store, cache, {})
    assert len(cache.recorded()) == 6


def test_files_that_stay_keep_what_is_known(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    stays = derivative(1, FULL).path
    real = LocalFolder.remove_many

    def some(folder: LocalFolder, paths: list[str]) -> dict[str, str]:
        real(folder, [path for path in paths if path != stays])
        return {path: "not allowed" for path in paths if path == stays}

    with monkeypatch.context() as patch:
        patch.setattr(LocalFolder, "remove_many", some)
        done = forgets(cache.store, cache)
    assert (done.removed.files, done.troubles) == (5, (f"{stays}: not allowed",))
    assert cache.store.next_ordinal(COLLECTION) == 3
    assert len(cache.store.jobs(collection=COLLECTION)) == 2
    assert forgets(cache.store, cache).removed.files == 1
    check_forgotten(cache)


def test_who_works_on_it_is_not_disturbed(cache: Cache) -> None:
    cache.store.acquire_lease(lease_name(COLLECTION), "a job", 60, cache.store.now())
    with pytest.raises(LeaseHeldError):
        forgets(cache.store, cache)
    assert len(cache.recorded()) == 6


def test_who_lost_the_lock_forgets_nothing_more(cache: Cache) -> None:
    folders = {"cache": LocalFolder(str(cache.root))}
    held = holdings_of(cache.store, COLLECTION, nothing)
    with locked(cache.store, COLLECTION, "forget") as lock:
        cache.store.break_lease(lock.lease.name, lock.lease.holder)
        cache.store.acquire_lease(lock.lease.name, "another", 60, cache.store.now())
        with pytest.raises(FencedError):
            forget(cache.store, held, folders, lock, nothing)
    assert len(cache.recorded()) == 6
    assert cache.store.next_ordinal(COLLECTION) == 3


@pytest.mark.parametrize("calls", range(1, 130))
def test_killed_at_any_step_the_repeated_command_finishes(cache: Cache, calls: int) -> None:
    cache.put(orphan(1))
    left = [calls]
    try:
        forgets(
            Killing(cache.store, left),
            cache,
            {"cache": Killing(LocalFolder(str(cache.root)), left)},
        )
    except KilledError:
        held = cache.store.lease(lease_name(COLLECTION))
        if held:
            cache.store.break_lease(held.name, held.holder)  # it is dead
    listed = cache.recorded()
    assert listed <= cache.files(), "what is listed is there"
    known = COLLECTION in cache.store.collections() or cache.store.jobs(collection=COLLECTION)
    assert known or cache.files() == {of_other(n).path for n in range(2)}
    forgets(cache.store, cache)
    check_forgotten(cache)


def test_the_kills_cover_every_step(cache: Cache) -> None:
    cache.put(orphan(1))
    left = [10_000]
    forgets(
        Killing(cache.store, left), cache, {"cache": Killing(LocalFolder(str(cache.root)), left)}
    )
    assert 60 < 10_000 - left[0] < 130
