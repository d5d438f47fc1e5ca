"""A job writes only into folders that are new, empty or its own,
and takes nothing that is away for deleted.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from unit.worker.fakes import COLLECTION, FULL, MemoryFolder
from unit.worker.test_shard import derivative, have

from fpj_core.errors import CacheFolderError
from fpj_core.folders.local import LocalFolderConfig
from fpj_core.folders.ownership import MARKER
from fpj_core.folders.s3 import S3FolderConfig
from fpj_core.model import Folder, Layout
from fpj_core.objects import Bucket
from fpj_core.sources.local import CACHE_TAG, CACHE_TAG_SIGNATURE, LocalSourceConfig
from fpj_core.sources.s3 import S3SourceConfig
from fpj_core.store.protocol import Store
from fpj_worker.claiming import Claim, refuse_own_source
from fpj_worker.verify import forget_missing_files

TIERS = ("full",)


def claim(store: Store, root: Path, mirrored: str | None = None) -> Claim:
    config = LocalFolderConfig(str(root))
    layout = Layout.HASHED if mirrored is None else Layout.MIRROR
    record = Folder("cache", config.location, layout=layout, mirrored=mirrored)
    return Claim(store, config.build(), record, mirrored or COLLECTION, TIERS)


def record(store: Store, root: Path, count: int = 3, *, made: bool = True) -> list[Path]:
    """Derivatives on record, and their files."""
    derivatives = [derivative(number, FULL) for number in range(count)]
    have(store, MemoryFolder(), *derivatives)
    for each in derivatives if made else ():
        (root / each.path).parent.mkdir(parents=True, exist_ok=True)
        (root / each.path).write_bytes(bytes(each.bytes))
    return [root / each.path for each in derivatives]


@pytest.mark.parametrize("out", [".", "..", "../..", "link"])
def test_the_source_and_what_lies_above_it_are_refused_before_anything_is_written(
    tmp_path: Path, out: str
) -> None:
    source = tmp_path / "srv" / "originals"
    source.mkdir(parents=True)
    (source / "link").symlink_to(source)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CacheFolderError, match="source"):
        refuse_own_source(LocalSourceConfig(str(source)), LocalFolderConfig(str(source / out)))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("source", "out", "said"),
    [
        ("in", "in", "is the source itself"),
        ("in/deep", "in", "lies above"),
        ("in", "", "lies above"),
    ],
)
def test_a_bucket_that_is_the_source_or_lies_above_it_is_refused(
    source: str, out: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://s3.example/")
    folder = S3FolderConfig(Bucket("b", out))
    with pytest.raises(CacheFolderError, match=said):
        refuse_own_source(S3SourceConfig(Bucket("b", source, "https://s3.example")), folder)
    refuse_own_source(S3SourceConfig(Bucket("b", source, "https://other.example")), folder)
    refuse_own_source(S3SourceConfig(Bucket("c", source)), folder)
    refuse_own_source(LocalSourceConfig("/b/in"), folder)


@pytest.mark.parametrize(
    ("source", "out", "said"),
    [
        ("", "", "is the source itself"),
        ("x", "x", "is the source itself"),
        ("x/y", "x", "above"),
        ("x", "", "above"),
    ],
)
def test_a_volume_that_is_mounted_twice_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, out: str, said: str
) -> None:
    """As in a pod whose source and cache folder are of one claim."""
    for mount in ("source", "cache"):
        (tmp_path / mount / "x" / "y").mkdir(parents=True)
        (tmp_path / mount / "z").mkdir()
    honest = os.stat

    def stat(path: int | str | os.PathLike[str], **how: Any) -> os.stat_result:
        mounted = isinstance(path, int) or str(path).replace(
            str(tmp_path / "cache"), str(tmp_path / "source")
        )
        return honest(path if mounted is True else mounted, **how)

    with monkeypatch.context() as patched:
        patched.setattr("os.stat", stat)
        with pytest.raises(CacheFolderError, match=said):
            refuse_own_source(
                _source(tmp_path, source), LocalFolderConfig(str(tmp_path / "cache" / out))
            )
        for fine in ("z", "x/y/z", "new"):
            refuse_own_source(
                _source(tmp_path, source), LocalFolderConfig(str(tmp_path / "cache" / fine))
            )


def _source(tmp_path: Path, below: str) -> LocalSourceConfig:
    return LocalSourceConfig(str(tmp_path / "source" / below))


@pytest.mark.parametrize("out", ["cache", "../originals-cache"])
def test_a_cache_inside_the_source_or_beside_it_is_fine(tmp_path: Path, out: str) -> None:
    refuse_own_source(
        LocalSourceConfig(str(tmp_path / "originals")),
        LocalFolderConfig(str(tmp_path / "originals" / out)),
    )


def test_a_new_folder_is_tagged_and_marked(store: Store, tmp_path: Path) -> None:
    for _ in range(2):
        claim(store, tmp_path / "out").take()
    assert sorted(os.listdir(tmp_path / "out")) == [MARKER, CACHE_TAG]
    marker = (tmp_path / "out" / MARKER).read_text()
    assert store.identity() in marker


def test_only_what_was_made_here_is_tagged(store: Store, tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    root = tmp_path / "out"
    root.mkdir()
    claim(store, root).take()
    assert sorted(os.listdir(root)) == [MARKER, COLLECTION]
    assert os.listdir(root / COLLECTION) == [CACHE_TAG]


@pytest.mark.parametrize("tagged", [False, True])
def test_a_folder_of_other_files_is_refused_and_left_alone(
    store: Store, tmp_path: Path, tagged: bool
) -> None:
    """Also where an earlier version put its tag beside photographs."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    if tagged:
        (tmp_path / "photos" / CACHE_TAG).write_bytes(CACHE_TAG_SIGNATURE)
    before = sorted((tmp_path / "photos").rglob("*"))
    with pytest.raises(CacheFolderError, match="not fpj's"):
        claim(store, tmp_path / "photos").take()
    assert sorted((tmp_path / "photos").rglob("*")) == before


def tagged(root: Path) -> None:
    root.mkdir(exist_ok=True)
    (root / CACHE_TAG).write_bytes(CACHE_TAG_SIGNATURE)


@pytest.mark.parametrize("records", [True, False])
def test_a_cache_folder_of_an_earlier_version_is_adopted(
    store: Store, tmp_path: Path, records: bool
) -> None:
    """By its tag and shape, where its store was lost; else by the files that the store knows."""
    root = tmp_path / "out"
    record(store, root)
    if not records:
        store.delete_derivatives(COLLECTION, [(number, "full") for number in range(3)])
        tagged(root)
    claim(store, root).take()
    assert (root / MARKER).exists()


def test_files_among_others_are_enough(store: Store, tmp_path: Path) -> None:
    record(store, tmp_path)
    (tmp_path / "holiday.jpg").touch()
    claim(store, tmp_path).take()


@pytest.mark.parametrize("away", ["gone", "empty", "tagged"])
def test_a_folder_that_is_not_mounted_stops_the_job_and_forgets_nothing(
    store: Store, tmp_path: Path, away: str
) -> None:
    root = tmp_path / "out"
    record(store, root, made=False)
    if away != "gone":
        root.mkdir()
    if away == "tagged":
        tagged(root)
    before = sorted(tmp_path.rglob("out*"))
    with pytest.raises(CacheFolderError, match="not mounted"):
        claim(store, root).take()
    assert sorted(tmp_path.rglob("out*")) == before
    assert len(store.derivatives(COLLECTION, 0, 99, TIERS)) == 3
    root.mkdir(exist_ok=True)
    (root / MARKER).touch()  # as the message says
    claim(store, root).take()
    assert store.identity() in (root / MARKER).read_text()


def test_a_folder_that_goes_away_while_it_is_checked_forgets_nothing(
    store: Store, tmp_path: Path
) -> None:
    root = tmp_path / "out"
    paths = record(store, root)
    claim(store, root).take()
    paths[1].unlink()
    folder = LocalFolderConfig(str(root)).build()
    assert forget_missing_files(store, COLLECTION, TIERS, "cache", folder) == 1
    root.rename(tmp_path / "away")
    with pytest.raises(CacheFolderError, match="marker"):
        forget_missing_files(store, COLLECTION, TIERS, "cache", folder)
    assert len(store.derivatives(COLLECTION, 0, 99, TIERS)) == 2


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO, errno.EACCES])
def test_only_no_such_file_means_missing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    record(store, tmp_path)
    folder = LocalFolderConfig(str(tmp_path)).build()

    def fail(*_: object) -> Callable[..., object]:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", fail)
        with pytest.raises(CacheFolderError, match=os.strerror(number)):
            forget_missing_files(store, COLLECTION, TIERS, "cache", folder)
    assert len(store.derivatives(COLLECTION, 0, 99, TIERS)) == 3


def test_files_elsewhere_are_no_evidence(store: Store, tmp_path: Path) -> None:
    """Records of another cache folder say nothing about this one."""
    have(
        store,
        MemoryFolder(),
        *(replace(derivative(number, FULL), folder="other") for number in range(3)),
    )
    claim(store, tmp_path / "out").take()


# Layouts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            None,
            COLLECTION,
            (
                "names its files by ids; it keeps its layout: choose another folder, or the layout"
                " Hashed"
            ),
        ),
        (
            COLLECTION,
            None,
            "mirrors the collection holiday, and no other.*another folder, or the layout Mirror",
        ),
        (
            COLLECTION,
            "other",
            "mirrors the collection holiday, and no other; it keeps its layout: choose another",
        ),
    ],
)
@pytest.mark.parametrize("known_by", ["marker", "record"])
def test_a_folder_keeps_its_layout_and_its_collection(
    store: Store, tmp_path: Path, before: str | None, after: str | None, words: str, known_by: str
) -> None:
    root = tmp_path / "out"
    claim(store, root, before).take()
    if known_by == "record":  # as of a bucket, or after its marker was made again by hand
        layout = Layout.HASHED if before is None else Layout.MIRROR
        store.upsert_folder(Folder("cache", str(root), layout=layout, mirrored=before))
        record(store, root)
        (root / MARKER).write_bytes(b"")
    found = sorted(tmp_path.rglob("*"))
    with pytest.raises(CacheFolderError, match=words):
        claim(store, root, after).take()
    assert sorted(tmp_path.rglob("*")) == found
    claim(store, root, before).take()


def test_a_marker_of_an_earlier_version_or_somebody_elses_hand_says_no_more_than_it_does(
    store: Store, tmp_path: Path
) -> None:
    for content in (b"", b"mine", b"[]", b"7", b'{"id": "1", "store": "2", "folder": "3"}'):
        root = tmp_path / f"a{content.hex()}"
        root.mkdir()
        (root / MARKER).write_bytes(content)
        claim(store, root).take()


def test_of_two_collections_at_once_one_gets_the_folder(store: Store, tmp_path: Path) -> None:
    """Both find it new; then both mark it."""
    root = tmp_path / "out"
    gate = threading.Barrier(2)

    def take(collection: str) -> str:
        mine = claim(store, root, collection)
        mine.check()
        gate.wait()
        try:
            mine.take()
        except CacheFolderError:
            return ""
        return collection

    with ThreadPoolExecutor(2) as threads:
        winners = sorted(threads.map(take, ["one", "two"]))
    assert winners[0] == ""
    assert f'"collection": "{winners[1]}"' in (root / MARKER).read_text()


def test_a_mirrored_folder_among_others_tags_each_tier_that_it_makes(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "lost+found").mkdir()
    root = tmp_path / "out"
    root.mkdir()
    claim(store, root, COLLECTION).take()
    assert sorted(os.listdir(root)) == [MARKER, "full"]
    assert os.listdir(root / "full") == [CACHE_TAG]
