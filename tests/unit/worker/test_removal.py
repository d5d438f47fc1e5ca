"""What a collection no longer needs goes at the end of a run, and nothing else does."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from unit.worker.test_local import Bench, bench
from unit.worker.test_shard import derivative, fill, have

from fpj_core.errors import CacheFolderError, ErrorType, FencedError
from fpj_core.folders.local import LocalFolder
from fpj_core.folders.ownership import FolderState
from fpj_core.kube.names import lease_name
from fpj_core.model import Derivative, Format, Phase, RemovalReason
from fpj_core.store.protocol import Store, nothing
from fpj_worker.removal import TOGETHER, Cleanup, Removed, Remover, asked_by, unrequested

__all__ = ["bench"]  # a fixture

SMALL = replace(FULL, name="small", width=100, height=100)
EVERYTHING = ("full", "small", "thumbnail")
STAYS = (FULL, THUMBNAIL)


def run(bench: Bench, job_id: str, **options: Any) -> Removed:
    """Run to the end; what was removed."""
    local = bench.prepare(job(job_id), **options)
    assert local.run().phase is Phase.COMPLETED
    return local.removed


def kept(store: Store) -> set[tuple[int, str]]:
    return {(d.ordinal, d.tier) for d in store.derivatives(COLLECTION, 0, 10_000, EVERYTHING)}


def check_files(bench: Bench) -> None:
    """What is recorded is there, and nothing else is."""
    recorded = {d.path for d in bench.store.derivatives(COLLECTION, 0, 10_000, EVERYTHING)}
    assert recorded == set(bench.folder.files)
    assert list(bench.store.removals(COLLECTION, "cache")) == []
    assert not any(check.drifts for check in bench.store.verify_counters(COLLECTION))
    (folder,) = bench.store.folders()
    assert (folder.files, folder.bytes) == (len(recorded), sum(bench.folder.files.values()))


# At the end of a run ------------------------------------------------------------------------------


def test_what_was_made_of_vanished_images_goes(bench: Bench) -> None:
    run(bench, "job-1")
    size = sum(bench.folder.files.values())
    bench.source = ListSource(entries(37))
    removed = run(bench, "job-2")
    assert (removed.files, removed.by_reason) == (6, {RemovalReason.VANISHED: 6})
    assert removed.bytes == size - sum(bench.folder.files.values())
    assert kept(bench.store) == {(n, tier) for n in range(37) for tier in ("full", "thumbnail")}
    check_files(bench)
    assert run(bench, "job-3") == Removed()


def test_it_is_kept_where_the_job_says_so(bench: Bench) -> None:
    run(bench, "job-1")
    bench.source = ListSource(entries(37))
    assert run(bench, "job-2", vanished_grace=None) == Removed()
    assert len(bench.folder.files) == 80
    assert run(bench, "job-3").files == 6, "until one says otherwise"


def test_vanished_images_have_some_time_to_come_back(bench: Bench) -> None:
    run(bench, "job-1")
    whole, bench.source = bench.source, ListSource(entries(37))
    assert run(bench, "job-2", vanished_grace=3_600.0) == Removed()
    bench.clock.now += 1_800
    assert run(bench, "job-3", vanished_grace=3_600.0) == Removed()
    bench.source = whole
    assert run(bench, "job-4", vanished_grace=3_600.0) == Removed()
    assert len(bench.pools) == 1, "nothing had to be made again"
    bench.source = ListSource(entries(37))
    run(bench, "job-5", vanished_grace=3_600.0)
    bench.clock.now += 3_601
    assert run(bench, "job-6", vanished_grace=3_600.0).files == 6


def test_what_a_filter_leaves_out_has_not_vanished(bench: Bench) -> None:
    run(bench, "job-1")
    bench.source = ListSource(entries(37), left_out=lambda key: key == entries(40)[38].key)
    assert run(bench, "job-2").files == 4
    assert (38, "full") in kept(bench.store)


def test_tiers_that_are_no_longer_asked_for_go(bench: Bench) -> None:
    run(bench, "job-1", tiers=(FULL, SMALL, THUMBNAIL))
    removed = run(bench, "job-2", tiers=(FULL, THUMBNAIL))
    assert (removed.files, removed.by_reason) == (40, {RemovalReason.UNREQUESTED: 40})
    assert {tier for _, tier in kept(bench.store)} == {"full", "thumbnail"}
    check_files(bench)


@pytest.mark.parametrize("tiers", [(THUMBNAIL,), (FULL, SMALL)])
def test_a_job_of_another_type_says_nothing_of_them(bench: Bench, tiers: Any) -> None:
    run(bench, "job-1", tiers=(FULL, SMALL, THUMBNAIL))
    assert run(bench, "job-2", tiers=tiers) == Removed()
    assert len(bench.folder.files) == 120


def test_tiers_that_another_job_asks_for_stay(bench: Bench) -> None:
    run(bench, "job-1", tiers=(FULL, SMALL))
    other = replace(job("job-2"), name="other")
    assert bench.prepare(other, tiers=(SMALL,)).run().phase is Phase.COMPLETED
    assert run(bench, "job-3", tiers=(FULL,)) == Removed()
    last = bench.prepare(replace(other, id="job-4"), tiers=(FULL,))
    last.run()
    assert last.removed.by_reason == {RemovalReason.UNREQUESTED: 40}


def test_what_is_replaced_under_another_name_goes(bench: Bench) -> None:
    run(bench, "job-1")
    webp = (replace(FULL, format=Format.WEBP), THUMBNAIL)
    pool = bench.pool

    def webp_pool() -> ScriptedPool:
        made = pool()
        made.extension = "webp"
        return made

    local = bench.prepare(job("job-2"), tiers=webp)
    local._pool = webp_pool  # type: ignore[assignment, method-assign]
    local.run()
    assert local.removed.by_reason == {RemovalReason.SUPERSEDED: 40}
    check_files(bench)


def test_a_folder_that_cannot_be_written_fails_no_job(bench: Bench) -> None:
    run(bench, "job-1")
    bench.source = ListSource(entries(39))
    bench.folder.refuses_removal = True
    removed = run(bench, "job-2")
    assert (removed.files, len(removed.troubles)) == (0, 2)
    assert kept(bench.store) == {(n, tier) for n in range(39) for tier in ("full", "thumbnail")}
    bench.folder.refuses_removal = False
    assert run(bench, "job-3").files == 2, "the next run tries again"
    check_files(bench)


def test_where_another_folder_is_mounted_nothing_goes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> None:
        raise CacheFolderError("it has lost its marker")

    run(bench, "job-1")
    bench.source = ListSource(entries(39))
    with monkeypatch.context() as patch:
        patch.setattr(bench.folder, "require_marker", gone)
        removed = run(bench, "job-2")
    assert (removed.files, removed.troubles) == (0, {"cache": "it has lost its marker"})
    assert len(bench.folder.files) == 80
    assert run(bench, "job-3").files == 2


@pytest.mark.parametrize("theirs", [True, False])
def test_from_a_folder_that_another_store_has_marked_nothing_goes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, theirs: bool
) -> None:
    """Its files may be that store's, by the same names; also when it was marked in mid-removal."""
    store = "0" * 32 if theirs else bench.store.identity()
    marker = json.dumps({"id": "x", "store": store, "folder": "cache"}).encode()
    run(bench, "job-1")
    bench.source = ListSource(entries(39))
    monkeypatch.setattr(bench.folder, "look", lambda: FolderState(marker, empty=False))
    removed = run(bench, "job-2")
    assert removed.files == (0 if theirs else 2)
    assert len(bench.folder.files) == (80 if theirs else 78)
    pending = {each.reason for each in bench.store.removals(COLLECTION, "cache")}
    assert pending == ({RemovalReason.VANISHED} if theirs else set())
    if theirs:
        assert "names another store" in removed.troubles["cache"]


# Said before (--dry-run) --------------------------------------------------------------------------


def said_before(bench: Bench, job_id: str, **options: Any) -> Removed:
    """What a preview says; it must be what the run then does, and must change nothing."""
    before = kept(bench.store), set(bench.folder.files)
    said = bench.prepare(job(job_id), **options).preview().removed
    assert (kept(bench.store), set(bench.folder.files)) == before
    assert run(bench, job_id, **options) == said
    return said


def test_a_preview_says_what_goes(bench: Bench) -> None:
    whole = bench.source
    run(bench, "job-1", tiers=(FULL, SMALL, THUMBNAIL))
    assert said_before(bench, "job-2", tiers=(FULL, SMALL, THUMBNAIL)) == Removed()
    bench.source = ListSource(entries(37), left_out=lambda key: key == entries(40)[39].key)
    said = said_before(bench, "job-3", tiers=(FULL, THUMBNAIL))
    assert said.by_reason == {RemovalReason.VANISHED: 6, RemovalReason.UNREQUESTED: 38}
    bench.source = whole
    run(bench, "job-4")
    bench.source = ListSource(entries(39))
    run(bench, "job-5", vanished_grace=3_600.0)
    assert said_before(bench, "job-6", vanished_grace=3_600.0) == Removed()
    assert said_before(bench, "job-7", vanished_grace=None) == Removed()
    bench.clock.now += 3_601
    assert said_before(bench, "job-8", vanished_grace=3_600.0).files == 2


def test_a_preview_knows_what_an_earlier_run_left(bench: Bench) -> None:
    run(bench, "job-1")
    bench.source = ListSource(entries(39))
    bench.folder.refuses_removal = True
    run(bench, "job-2")
    bench.folder.refuses_removal = False
    assert said_before(bench, "job-3").by_reason == {RemovalReason.VANISHED: 2}


def test_a_preview_takes_nothing_for_vanished_behind_a_trouble(bench: Bench) -> None:
    run(bench, "job-1")
    bench.source = ListSource(entries(30), ("sub", ErrorType.ACCESS_DENIED, "not allowed"))
    assert bench.prepare(job("job-2")).preview().removed == Removed()


# In two phases ------------------------------------------------------------------------------------


def cleanup(*tiers: Any) -> Cleanup:
    return Cleanup(asked_by("job", tiers or STAYS), 0.0, lambda _key: False)


class KilledError(BaseException):
    """The process is gone: nothing after it runs."""


class Killing:
    """Stands for a store or folder, and is killed before or after its n-th call."""

    def __init__(self, real: Any, calls: list[int]) -> None:
        self._real = real
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            self._step()
            answer = found(*arguments, **options)
            if isinstance(answer, Iterator):
                answer = list(answer)
            self._step()
            return answer

        return call

    def _step(self) -> None:
        self._calls[0] -= 1
        if self._calls[0] == 0:
            raise KilledError


def small(ordinal: int) -> Derivative:
    full = derivative(ordinal, FULL)
    return replace(full, tier="small", path=full.path.replace("/full/", "/small/"))


def ready(store: Store, folder: MemoryFolder) -> None:
    """5 images in three tiers: two have vanished, and a tier is no longer asked for."""
    fill(store, 5)
    have(store, folder, *(derivative(n, each) for n in range(5) for each in STAYS))
    have(store, folder, *(small(n) for n in range(5)))
    store.record_requested_tiers(COLLECTION, "job/cache", ["full", "small"], 0)
    store.mark_deleted(COLLECTION, [1, 3], 0)


@pytest.mark.parametrize("calls", range(1, 60))
def test_killed_at_any_step_it_is_continued(store: Store, calls: int) -> None:
    """Nothing that is kept is lost, nothing that was removed comes back, no file is left over."""
    folder = MemoryFolder()
    ready(store, folder)
    left = [calls]
    killing = Remover(Killing(store, left), Killing(folder, left), "cache", COLLECTION, nothing)
    with suppress(KilledError):
        killing.start(cleanup(), 0)
        killing.finish()
    listed = store.derivatives(COLLECTION, 0, 9, EVERYTHING)
    assert {each.path for each in listed} <= set(folder.files), "what is listed is there"
    again = Remover(store, folder, "cache", COLLECTION, nothing)
    again.start(cleanup(), 0)
    again.finish()
    assert kept(store) == {(n, tier) for n in (0, 2, 4) for tier in ("full", "thumbnail")}
    assert set(folder.files) == {d.path for d in store.derivatives(COLLECTION, 0, 9, EVERYTHING)}
    assert list(store.removals(COLLECTION, "cache")) == []
    assert store.requested_tiers(COLLECTION)["job/cache"] == ["full"]


def test_the_kills_cover_every_step(store: Store) -> None:
    folder, left = MemoryFolder(), [10_000]
    ready(store, folder)
    whole = Remover(Killing(store, left), Killing(folder, left), "cache", COLLECTION, nothing)
    whole.start(cleanup(), 0)
    whole.finish()
    assert 20 < 10_000 - left[0] < 60


def test_a_file_that_was_made_again_stays(store: Store) -> None:
    folder = MemoryFolder()
    fill(store, 2)
    have(store, folder, derivative(0, FULL), derivative(1, FULL))
    both = [(0, "full"), (1, "full")]
    store.start_removals(COLLECTION, both, RemovalReason.PURGED, 0)
    have(store, folder, derivative(0, FULL))
    removed = Remover(store, folder, "cache", COLLECTION, nothing).finish()
    assert removed.files == 1
    assert set(folder.files) == {derivative(0, FULL).path}
    assert list(store.removals(COLLECTION, "cache")) == []


def test_who_lost_the_lock_removes_nothing(store: Store) -> None:
    folder = MemoryFolder()
    ready(store, folder)
    store.acquire_lease(lease_name(COLLECTION), "another", 60, store.now())
    with pytest.raises(FencedError):
        Remover(store, folder, "cache", COLLECTION, nothing).start(cleanup(), 0)
    assert len(kept(store)) == 15


def test_an_end_between_batches_leaves_the_rest(store: Store) -> None:
    folder, many = MemoryFolder(), TOGETHER + 500
    fill(store, many)
    have(store, folder, *(derivative(n, FULL) for n in range(many)))
    refs = [(n, "full") for n in range(many)]
    store.start_removals(COLLECTION, refs, RemovalReason.PURGED, 0)
    with pytest.raises(KilledError):
        Remover(store, folder, "cache", COLLECTION, _kill).finish()
    assert len(folder.files) == len(list(store.removals(COLLECTION, "cache"))) == 500


def _kill() -> None:
    raise KilledError


# Who asks for what --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requested", "asked", "gone"),
    [
        ({}, {"a": ["full"]}, ()),
        ({"a": ["full", "small"]}, {"a": ["full"]}, ("small",)),
        ({"a": ["full", "small"], "b": ["small"]}, {"a": ["full"]}, ()),
        ({"b": ["small"]}, {"a": ["full"]}, ()),
        ({"a": ["x", "y"]}, {"a": ["y", "z"], "c": ["x"]}, ()),
        ({"a": ["x"], "c": ["x", "y"]}, {"a": ["z"], "c": ["z"]}, ("x", "y")),
    ],
)
def test_what_is_no_longer_asked_for(
    requested: dict[str, list[str]], asked: dict[str, list[str]], gone: tuple[str, ...]
) -> None:
    assert unrequested(requested, asked) == gone


def test_removed_adds_up() -> None:
    first = Removed(1, 10, {RemovalReason.VANISHED: 1}, {f"a{n}": "why" for n in range(8)})
    second = Removed(
        2,
        5,
        {RemovalReason.VANISHED: 1, RemovalReason.PURGED: 1},
        {"b": "why"} | {f"c{n}": "why" for n in range(8)},
    )
    both = first + second
    assert (both.files, both.bytes) == (3, 15)
    assert both.by_reason == {RemovalReason.VANISHED: 2, RemovalReason.PURGED: 1}
    assert len(both.troubles) == 10, "some of them"


# Files --------------------------------------------------------------------------------------------


def put(root: Path, *paths: str) -> None:
    for path in paths:
        root.joinpath(path).parent.mkdir(parents=True, exist_ok=True)
        root.joinpath(path).write_bytes(b"x")


def tree(root: Path) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(folder, name), root)
        for folder, folders, files in os.walk(root)
        for name in (*folders, *files)
    )


def test_files_go_with_the_folders_they_leave_empty(tmp_path: Path) -> None:
    put(tmp_path, "photos/full/ab/1.jpg", "photos/full/ab/2.jpg", "photos/thumb/cd/3.jpg")
    folder = LocalFolder(str(tmp_path))
    left = folder.remove_many(["photos/full/ab/1.jpg", "photos/thumb/cd/3.jpg", "photos/no/4.jpg"])
    assert left == {}
    assert tree(tmp_path) == ["photos", "photos/full", "photos/full/ab", "photos/full/ab/2.jpg"]
    folder.remove_many(["photos/full/ab/2.jpg"])
    assert tree(tmp_path) == ["photos"], "the job's own folder stays"
    folder.write("photos/full/ab/5.jpg", b"new", token="t")
    assert (tmp_path / "photos/full/ab/5.jpg").read_bytes() == b"new"


def test_no_link_is_followed(tmp_path: Path) -> None:
    outside, cache = tmp_path / "outside", tmp_path / "cache"
    put(outside, "1.jpg", "2.jpg")
    (cache / "photos").mkdir(parents=True)
    (cache / "photos/full").symlink_to(outside)
    (cache / "photos/thumb").mkdir()
    (cache / "photos/thumb/2.jpg").symlink_to(outside / "2.jpg")
    left = LocalFolder(str(cache)).remove_many(["photos/full/1.jpg", "photos/thumb/2.jpg"])
    assert list(left) == ["photos/full/1.jpg"]
    assert tree(outside) == ["1.jpg", "2.jpg"]
    assert not (cache / "photos/thumb").exists(), "a link goes, and not what it leads to"


@pytest.mark.parametrize("paths", [["../1.jpg"], ["/etc/1.jpg"], ["photos/../../1.jpg"]])
def test_nothing_outside_goes(tmp_path: Path, paths: Sequence[str]) -> None:
    put(tmp_path, "1.jpg", "cache/photos/full/1.jpg")
    left = LocalFolder(str(tmp_path / "cache")).remove_many(paths)
    assert list(left) == paths
    assert (tmp_path / "1.jpg").exists()


def test_a_folder_in_a_files_place_stays(tmp_path: Path) -> None:
    put(tmp_path, "photos/full/1.jpg/inside.txt")
    left = LocalFolder(str(tmp_path)).remove_many(["photos/full/1.jpg"])
    assert list(left) == ["photos/full/1.jpg"]
    assert (tmp_path / "photos/full/1.jpg/inside.txt").exists()
