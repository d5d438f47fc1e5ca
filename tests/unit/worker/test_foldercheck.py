"""What a look at a cache folder finds: it changes nothing that is not its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from unit.mounts import read_only
from unit.worker.test_claiming import record

from fpj_core.errors import CacheFolderError, FolderLostError
from fpj_core.folders.local import LocalFolderConfig
from fpj_core.folders.ownership import MARKER
from fpj_core.model import Folder, Layout
from fpj_core.store.protocol import Store
from fpj_worker.foldercheck import check_folder


def check(store: Store, root: Path, layout: Layout = Layout.HASHED) -> str | None:
    """The reason that is found, if any."""
    config = LocalFolderConfig(str(root))
    found = check_folder(store, config.build(), Folder("cache", config.location, layout=layout))
    return found[0] if found else None


def test_a_new_folder_becomes_ours(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    assert check(store, root) is None
    assert json.loads((root / MARKER).read_text())["store"] == store.identity()
    before = (root / MARKER).read_bytes()
    assert check(store, root) is None
    assert (root / MARKER).read_bytes() == before


def test_which_collection_is_mirrored_is_left_to_its_job(store: Store, tmp_path: Path) -> None:
    assert check(store, tmp_path / "cache", Layout.MIRROR) is None
    assert not (tmp_path / "cache" / MARKER).exists()


def test_a_folder_of_another_store_is_told_and_left_alone(store: Store, tmp_path: Path) -> None:
    marker = json.dumps({"id": "x", "store": "0" * 32, "folder": "cache"})
    (tmp_path / MARKER).write_text(marker)
    assert check(store, tmp_path) == "OtherStore"
    assert (tmp_path / MARKER).read_text() == marker
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".fpj-p")] == []


def test_an_emptied_marker_is_somebodys_word_that_it_is_ours(store: Store, tmp_path: Path) -> None:
    (tmp_path / MARKER).touch()
    assert check(store, tmp_path) is None
    assert json.loads((tmp_path / MARKER).read_text())["store"] == store.identity()


def test_another_layout_is_told(store: Store, tmp_path: Path) -> None:
    marker = {"store": store.identity(), "layout": "Mirror", "collection": "a"}
    (tmp_path / MARKER).write_text(json.dumps(marker))
    assert check(store, tmp_path) == "OtherLayout"
    assert check(store, tmp_path, Layout.MIRROR) is None


def test_a_folder_of_other_files_is_told(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    (root / "holiday.jpg").touch()
    assert check(store, root) == "NotOurs"
    assert [each.name for each in root.iterdir()] == ["holiday.jpg"]


def test_a_folder_that_is_not_mounted_is_not_made_anew(store: Store, tmp_path: Path) -> None:
    record(store, tmp_path / "away")
    (tmp_path / "here").mkdir()
    with pytest.raises(FolderLostError):
        check(store, tmp_path / "here")
    assert list((tmp_path / "here").iterdir()) == []


def test_recorded_files_are_enough(store: Store, tmp_path: Path) -> None:
    record(store, tmp_path)
    (tmp_path / "readme.txt").touch()
    assert check(store, tmp_path) is None
    assert (tmp_path / MARKER).exists()


def test_a_folder_that_cannot_be_written_is_no_folder(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "cache"
    check(store, root)
    with read_only(root) as mounted, pytest.raises(CacheFolderError, match="cannot be written"):
        check(store, mounted)
