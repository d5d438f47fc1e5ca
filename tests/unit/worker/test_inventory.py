"""A cache folder is compared with the store, and what differs is repaired, and nothing else."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.worker.fakes import COLLECTION, FULL, THUMBNAIL, MemoryFolder, size_of
from unit.worker.test_removal import KilledError, Killing
from unit.worker.test_shard import derivative, fill, have

from fpj_core.errors import CacheFolderError, FencedError
from fpj_core.folders.comparing import Kind
from fpj_core.folders.local import LocalFolder
from fpj_core.folders.mirror import claimed_name
from fpj_core.folders.ownership import MARKER, new_marker
from fpj_core.ids import image_id
from fpj_core.kube.names import lease_name
from fpj_core.model import Derivative, Folder, Layout, RemovalReason
from fpj_core.store.protocol import Store
from fpj_worker.inventory import Inventory, take_inventory

LONG_AGO = 1_000_000_000
TIERS = ("full", "thumbnail")


class Cache:
    """A real folder with the files of some images, and their records."""

    def __init__(self, store: Store, root: Path, **changes: Any) -> None:
        self.store = store
        self.root = root
        self.record = replace(Folder("cache", str(root)), **changes)
        store.upsert_folder(self.record)
        root.mkdir(exist_ok=True)
        (root / MARKER).write_bytes(new_marker(store.identity(), self.record))

    def put(self, path: str, size: int = 7, *, at: float = LONG_AGO) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(size))
        os.utime(file, (at, at))
        return file

    def made(self, *derivatives: Derivative) -> None:
        """Record them, with their files."""
        have(self.store, MemoryFolder(), *derivatives)
        for each in derivatives:
            self.put(each.path, each.bytes)

    def verify(self, **options: Any) -> Inventory:
        return take_inventory(self.store, LocalFolder(str(self.root)), "cache", **options)

    def files(self) -> set[str]:
        return {
            str(file.relative_to(self.root))
            for file in self.root.rglob("*")
            if not file.is_dir() and file.name != MARKER
        }

    def recorded(self, collection: str = COLLECTION) -> set[str]:
        return {each[3] for each in self.store.derivative_files(collection, None)}


@pytest.fixture
def cache(store: Store, tmp_path: Path) -> Cache:
    """Six images in two tiers, as they should be."""
    cache = Cache(store, tmp_path / "cache")
    fill(store, 6)
    cache.made(*(derivative(n, tier) for n in range(6) for tier in (FULL, THUMBNAIL)))
    return cache


def path_of(ordinal: int) -> str:
    return derivative(ordinal, FULL).path


def orphan(number: int = 99) -> str:
    """A path of an image that was never recorded."""
    image = image_id(COLLECTION, f"p{number}.jpg")
    return f"{COLLECTION}/full/{image[:2]}/{image}.webp"


def differences(found: Inventory) -> dict[Kind, int]:
    return {kind: tally.files for kind, tally in found.kinds.items() if tally.files}


def test_a_folder_as_recorded_has_no_differences(cache: Cache) -> None:
    (cache.root / "CACHEDIR.TAG").write_text("x")
    (cache.root / COLLECTION / "CACHEDIR.TAG").write_text("x")
    (cache.root / COLLECTION / ".tmp").mkdir()
    (cache.root / COLLECTION / ".tmp" / "part").write_text("x")
    found = cache.verify()
    assert (differences(found), found.compared, found.left) == ({}, 12, 0)
    assert (found.marker, found.troubles, found.busy) == (None, [], [])
    before = cache.files()
    assert differences(cache.verify(repair=True)) == {}
    assert cache.files() == before


def test_every_kind_of_difference_is_found_and_nothing_is_changed(cache: Cache) -> None:
    (cache.root / path_of(0)).unlink()
    cache.put(path_of(1), 5)
    cache.put(orphan(), 11)
    cache.put("notes.txt", 3)
    cache.put("holiday/full/readme.txt", 3)
    cache.put(f"holiday/full/00/deep/{path_of(1)}")
    cache.put(f"other/full/00/{'0' * 32}.jpg")
    files, recorded = cache.files(), cache.recorded()
    found = cache.verify()
    assert differences(found) == {
        Kind.MISSING: 1,
        Kind.WRONG_SIZE: 1,
        Kind.UNRECORDED: 1,
        Kind.FOREIGN: 4,
    }
    assert found.kinds[Kind.MISSING].names == [path_of(0)]
    assert found.kinds[Kind.MISSING].bytes == size_of(0, "full")
    assert (found.kinds[Kind.WRONG_SIZE].names, found.kinds[Kind.WRONG_SIZE].bytes) == (
        [path_of(1)],
        5,
    )
    assert (found.kinds[Kind.UNRECORDED].names, found.kinds[Kind.UNRECORDED].bytes) == (
        [orphan()],
        11,
    )
    assert sorted(found.kinds[Kind.FOREIGN].names) == [
        "holiday/full/00/deep/",
        "holiday/full/readme.txt",
        "notes.txt",
        "other/",
    ]
    assert (found.left, found.compared) == (3, 10)
    assert (cache.files(), cache.recorded()) == (files, recorded)


def test_a_repair_forgets_and_removes_and_leaves_the_rest(cache: Cache) -> None:
    (cache.root / path_of(0)).unlink()
    cache.put(path_of(1), 5)
    cache.put(orphan())
    foreign = {"notes.txt", "holiday/full/readme.txt", "other/x.jpg"}
    for each in foreign:
        cache.put(each)
    found = cache.verify(repair=True)
    assert found.left == 0
    assert found.troubles == []
    assert cache.recorded() == cache.files() - foreign
    assert foreign <= cache.files()
    assert len(cache.recorded()) == 10
    assert not any(check.drifts for check in cache.store.verify_counters(COLLECTION))
    assert set(cache.store.pending_ordinals(COLLECTION, {"full": "?"})) >= {0, 1}
    (folder,) = cache.store.folders()
    assert (folder.files, folder.bytes) == cache.store.folder_totals("cache")[:2]
    assert differences(cache.verify(repair=True)) == {Kind.FOREIGN: 3}
    lease = cache.store.lease(lease_name(COLLECTION))
    assert lease is not None
    assert lease.expires_at <= cache.store.now()


def test_what_was_written_just_now_may_be_of_a_batch(cache: Cache) -> None:
    cache.put(orphan(), at=LocalFolder(str(cache.root)).now() - 60)
    found = cache.verify(repair=True)
    assert (found.young, found.left) == (1, 1)
    assert orphan() in cache.files()


def test_who_works_on_the_collection_is_not_disturbed(cache: Cache) -> None:
    cache.put(orphan())
    (cache.root / path_of(0)).unlink()
    files, recorded = cache.files(), cache.recorded()
    lease = cache.store.acquire_lease(lease_name(COLLECTION), "a job", 60, cache.store.now())
    assert cache.verify().busy == [COLLECTION]
    found = cache.verify(repair=True)
    assert (found.busy, found.compared) == ([COLLECTION], 0)
    assert (cache.files(), cache.recorded()) == (files, recorded)
    cache.store.release_lease(lease)
    assert cache.verify(repair=True).left == 0


@pytest.mark.parametrize("difference", ["a file", "a record"])
def test_who_lost_the_lock_repairs_nothing(cache: Cache, difference: str) -> None:
    if difference == "a file":
        cache.put(orphan())
    else:
        (cache.root / path_of(0)).unlink()
    files, recorded = cache.files(), cache.recorded()

    def lose(_found: object) -> None:
        held = cache.store.lease(lease_name(COLLECTION))
        assert held
        cache.store.break_lease(held.name, held.holder)
        cache.store.acquire_lease(held.name, "another", 60, cache.store.now())

    with pytest.raises(FencedError):
        cache.verify(repair=True, on_found=lose)
    assert (cache.files(), cache.recorded()) == (files, recorded)


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        (None, "not mounted"),
        (b"{]", "cannot be read"),
        (json.dumps({"store": "another", "folder": "cache"}).encode(), "another store"),
        ("other", "another cache folder, other"),
        ("layout", "another layout"),
    ],
)
def test_a_folder_that_is_not_surely_ours_is_left_alone(
    cache: Cache, marker: bytes | str | None, words: str
) -> None:
    cache.put(orphan())
    (cache.root / path_of(0)).unlink()
    file = cache.root / MARKER
    if marker is None:
        file.unlink()
    elif marker == "other":
        file.write_bytes(new_marker(cache.store.identity(), Folder("other", "")))
    elif marker == "layout":
        mirror = replace(cache.record, layout=Layout.MIRROR, mirrored=COLLECTION)
        file.write_bytes(new_marker(cache.store.identity(), mirror))
    else:
        assert isinstance(marker, bytes)
        file.write_bytes(marker)
    before = cache.files(), cache.recorded()
    found = cache.verify(repair=True)
    assert words in str(found.marker)
    assert found.compared == 0
    assert (cache.files(), cache.recorded()) == before


def test_a_folder_that_is_gone_loses_no_record(cache: Cache) -> None:
    cache.root.rename(cache.root.with_name("away"))
    recorded = cache.recorded()
    assert cache.verify(repair=True).marker is not None
    assert cache.recorded() == recorded


def test_an_empty_marker_says_that_the_files_are_gone_for_good(cache: Cache) -> None:
    cache.root.rename(cache.root.with_name("away"))
    cache.root.mkdir()
    (cache.root / MARKER).touch()
    assert cache.verify(repair=True).kinds[Kind.MISSING].repaired == 12
    assert cache.recorded() == set()


def test_a_folder_that_goes_while_it_is_compared_loses_nothing(cache: Cache) -> None:
    """Its files are missing then, and so is its marker."""
    (cache.root / path_of(0)).unlink()
    recorded = cache.recorded()
    gone: list[bool] = []

    def unmount(_found: object) -> None:
        if not gone:
            cache.root.rename(cache.root.with_name("away"))
            cache.root.mkdir()
            gone.append(True)

    found = cache.verify(repair=True, on_found=unmount)
    assert "marker has changed" in found.troubles[0]
    assert cache.recorded() == recorded


def test_what_cannot_be_read_is_not_missing(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache.root / path_of(0)).unlink()
    real = os.scandir
    folder = os.path.dirname(path_of(1))
    wanted = os.stat(cache.root / folder).st_ino

    def failing(place: Any) -> Any:
        if isinstance(place, int) and os.fstat(place).st_ino == wanted:
            raise OSError(5, "Input/output error")
        return real(place)

    monkeypatch.setattr("os.scandir", failing)
    found = cache.verify(repair=True)
    assert found.kinds[Kind.UNREADABLE].names == [f"{folder}/"]
    assert "Input/output error" in found.troubles[0]
    assert path_of(1) in cache.recorded()
    assert path_of(0) not in cache.recorded()


def test_only_no_such_file_means_missing(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache.root / path_of(0)).unlink()
    recorded = cache.recorded()
    real = os.lstat

    def failing(path: Any, **options: Any) -> os.stat_result:
        if str(path).endswith(path_of(0)):
            raise OSError(5, "Input/output error")
        return real(path, **options)

    monkeypatch.setattr("os.lstat", failing)
    found = cache.verify(repair=True)
    assert "Input/output error" in found.troubles[0]
    assert cache.recorded() == recorded


def test_links_are_foreign_and_not_followed(cache: Cache, tmp_path: Path) -> None:
    """One in the place of a file, of a folder of images, and of a whole collection's folder."""
    outside = tmp_path / "outside"
    outside.mkdir()
    image = path_of(0)
    precious = outside / os.path.basename(image)
    precious.write_bytes(b"precious")
    (cache.root / image).unlink()
    (cache.root / image).symlink_to(precious)
    os.utime(cache.root / image, (LONG_AGO, LONG_AGO), follow_symlinks=False)
    (cache.root / COLLECTION / "linked").symlink_to(outside)
    (cache.root / "elsewhere").symlink_to(outside)
    found = cache.verify(repair=True)
    links = {"elsewhere", f"{COLLECTION}/linked", image}
    assert set(found.kinds[Kind.FOREIGN].names) == links
    assert found.kinds[Kind.MISSING].names == [image]
    assert image not in cache.recorded()
    assert (cache.root / image).is_symlink()
    assert precious.read_bytes() == b"precious"


def test_a_folder_that_became_a_link_loses_nothing(cache: Cache, tmp_path: Path) -> None:
    whole = cache.root / COLLECTION
    whole.rename(tmp_path / "outside")
    whole.symlink_to(tmp_path / "outside")
    recorded = cache.recorded()
    cache.verify(repair=True)
    assert cache.recorded() == recorded
    assert len(list((tmp_path / "outside").rglob("*.jpg"))) == 12


def test_what_is_being_removed_is_no_difference_and_a_repair_removes_it(cache: Cache) -> None:
    cache.store.start_removals(COLLECTION, [(0, "full")], RemovalReason.PURGED, 0)
    found = cache.verify()
    assert (differences(found), found.left) == ({Kind.LEAVING: 1}, 0)
    assert cache.verify(repair=True).left == 0
    assert path_of(0) not in cache.files()
    assert list(cache.store.removals(COLLECTION, "cache")) == []


def test_two_names_of_one_place_do_not_remove_each_others_files(cache: Cache) -> None:
    """As a folder has that both a manifest and the command line name."""
    cache.store.upsert_folder(replace(cache.record, name="twin"))
    mine = derivative(0, FULL)
    cache.made(replace(mine, folder="twin"))
    (cache.root / path_of(1)).unlink()
    assert differences(cache.verify(repair=True)) == {Kind.MISSING: 1}
    assert mine.path in cache.files()
    (cache.root / mine.path).unlink()
    assert differences(cache.verify(repair=True)) == {}, "the other one's matter"
    twin = take_inventory(cache.store, LocalFolder(str(cache.root)), "twin", repair=True)
    assert twin.kinds[Kind.MISSING].names == [mine.path]


def test_one_collection_is_compared_alone(cache: Cache) -> None:
    fill(cache.store, 2, collection="other")
    cache.put("notes.txt")
    cache.put(orphan())
    found = cache.verify(collection=COLLECTION)
    assert differences(found) == {Kind.UNRECORDED: 1}


def test_a_collection_without_records_keeps_its_folder_apart(cache: Cache) -> None:
    """Of a run that was killed in its first batch."""
    fill(cache.store, 1, collection="new")
    image = image_id("new", "p0.jpg")
    cache.put(f"new/full/{image[:2]}/{image}.jpg")
    assert differences(cache.verify()) == {Kind.UNRECORDED: 1}


def test_an_unknown_folder_is_refused(cache: Cache) -> None:
    with pytest.raises(CacheFolderError, match="knows no cache folder"):
        take_inventory(cache.store, LocalFolder(str(cache.root)), "none")


def test_more_differences_than_a_batch_holds(store: Store, tmp_path: Path) -> None:
    cache = Cache(store, tmp_path / "cache")
    fill(store, 1)
    for number in range(2_300):
        cache.put(orphan(number))
    steps: list[int] = []
    found = cache.verify(repair=True, on_step=lambda so_far: steps.append(so_far.compared))
    assert found.kinds[Kind.UNRECORDED].repaired == 2_300
    assert len(found.kinds[Kind.UNRECORDED].names) == 20
    assert cache.files() == set()
    assert len(steps) > 4


@pytest.mark.parametrize("calls", range(1, 40))
def test_killed_at_any_step_it_is_continued(cache: Cache, calls: int) -> None:
    (cache.root / path_of(0)).unlink()
    cache.put(path_of(1), 5)
    cache.put(orphan())
    left = [calls]
    folder = LocalFolder(str(cache.root))
    try:
        take_inventory(Killing(cache.store, left), Killing(folder, left), "cache", repair=True)
    except KilledError:
        held = cache.store.lease(lease_name(COLLECTION))
        if held:
            cache.store.break_lease(held.name, held.holder)  # it is dead
    assert cache.recorded() <= cache.files() | {path_of(0)}
    assert cache.verify(repair=True).left == 0
    assert cache.recorded() == cache.files()
    assert len(cache.recorded()) == 10


def test_the_kills_cover_every_step(cache: Cache) -> None:
    (cache.root / path_of(0)).unlink()
    cache.put(path_of(1), 5)
    cache.put(orphan())
    left = [10_000]
    folder = LocalFolder(str(cache.root))
    take_inventory(Killing(cache.store, left), Killing(folder, left), "cache", repair=True)
    assert 30 < 10_000 - left[0] < 80


# The layout Mirror --------------------------------------------------------------------------------


@pytest.fixture
def mirror(store: Store, tmp_path: Path) -> Cache:
    cache = Cache(store, tmp_path / "cache", layout=Layout.MIRROR, mirrored=COLLECTION)
    fill(store, 3)
    names = ["a/Größe", "a/b", "c"]
    images = [image_id(COLLECTION, f"p{n}.jpg") for n in range(3)]
    store.claim_names(
        COLLECTION, [(claimed_name(n), i) for n, i in zip(names, images, strict=True)]
    )
    cache.made(
        *(replace(derivative(n, FULL), path=f"full/{name}.jpg") for n, name in enumerate(names))
    )
    return cache


def test_only_names_that_the_store_knows_are_ours(mirror: Cache) -> None:
    ours = {"full/a/b.webp", "full/c--0123456789ab.jpg"}
    foreign = {
        "full/d.jpg",
        "full/a/b.txt",
        "full/a/Gro\u0308ße.jpg",
        "other/c.jpg",
        "c.jpg",
        "full/d--0123456789ab.jpg",
        "full/.hidden/c.jpg",
    }
    for each in (*ours, *foreign):
        mirror.put(each)
    mirror.put("full/.tmp/part")
    found = mirror.verify()
    assert set(found.kinds[Kind.UNRECORDED].names) == ours
    assert set(found.kinds[Kind.FOREIGN].names) == foreign - {"full/.hidden/c.jpg"}
    assert (found.compared, mirror.verify(repair=True).left) == (3, 0)
    assert mirror.files() == mirror.recorded() | foreign | {"full/.tmp/part"}


def test_a_mirror_is_repaired(mirror: Cache) -> None:
    (mirror.root / "full/a/Größe.jpg").unlink()
    assert mirror.verify(repair=True).kinds[Kind.MISSING].names == ["full/a/Größe.jpg"]
    assert mirror.recorded() == {"full/a/b.jpg", "full/c.jpg"}


def test_a_mirror_that_nothing_was_made_in_is_foreign(store: Store, tmp_path: Path) -> None:
    cache = Cache(store, tmp_path / "cache", layout=Layout.MIRROR)
    cache.put("a.jpg")
    assert differences(cache.verify()) == {Kind.FOREIGN: 1}
