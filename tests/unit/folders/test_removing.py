"""Many files removed from a local folder: in threads where the disk is slow, and no others."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
from unit.sources.surroundings import open_files

from fpj_core import manyfold
from fpj_core.errors import ImageError
from fpj_core.folders import local as local_module
from fpj_core.folders.base import CacheFolder
from fpj_core.folders.local import LocalFolderConfig

PATHS = [f"photos/full/{number % 7:02x}/{number}.jpg" for number in range(500)]


@pytest.fixture(params=["in threads", "one after another"])
def folder(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> CacheFolder:
    """With 500 files, on a disk that counts as slow or does not."""
    slow = 0.0 if request.param == "in threads" else 10.0
    monkeypatch.setattr(manyfold, "_SLOW_SECONDS", slow)
    made = LocalFolderConfig(str(tmp_path / "cache")).build()
    made.check_writable()
    for path in PATHS:
        made.write(path, b"data", token="t")
    return made


@pytest.fixture
def root(folder: CacheFolder, tmp_path: Path) -> Path:
    return tmp_path / "cache"


def left(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*.jpg")}


def test_they_go_and_leave_no_empty_folder(folder: CacheFolder, root: Path) -> None:
    before = open_files()
    kept = PATHS[-1]
    assert folder.remove_many([*PATHS[:-1], "photos/full/00/never-there.jpg"]) == {}
    assert left(root) == {kept}
    assert [path.name for path in (root / "photos" / "full").iterdir()] == [kept.split("/")[2]]
    assert open_files() <= before


def test_what_is_in_the_way_is_said_of_its_file(folder: CacheFolder, root: Path) -> None:
    (root / PATHS[-1]).unlink()
    (root / PATHS[-1]).mkdir()
    assert set(folder.remove_many(PATHS)) == {PATHS[-1]}
    assert left(root) == {PATHS[-1]}


def test_nothing_outside_goes(folder: CacheFolder, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "originals"
    outside.mkdir()
    (outside / "1.jpg").write_bytes(b"precious")
    (root / "photos" / "link").symlink_to(outside)
    odd = ["photos/link/1.jpg", "../originals/1.jpg", "photos/../../originals/1.jpg"]
    troubles = folder.remove_many([*PATHS, *odd])
    assert set(troubles) == set(odd)
    assert (outside / "1.jpg").read_bytes() == b"precious"
    assert left(root) == set()


def test_when_the_storage_fails_no_thread_goes_on_after_the_error(
    folder: CacheFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever hears of it may lose the collection's lock, and another makes the files again."""
    at_work: list[str] = []
    bad = "64.jpg"  # the first in a thread
    has_failed = threading.Event()

    def unlink(name: str, descriptor: int) -> None:
        at_work.append(name)
        try:
            if name == bad:
                has_failed.set()
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if threading.current_thread() is not threading.main_thread():
                has_failed.wait(10)
            os.unlink(name, dir_fd=descriptor)
        finally:
            at_work.remove(name)

    monkeypatch.setattr(local_module, "_unlink", unlink)
    with pytest.raises(ImageError) as error:
        folder.remove_many(PATHS)
    after = left(root)
    assert error.value.environment
    assert not at_work
    assert f"photos/full/{64 % 7:02x}/{bad}" in after
    assert left(root) == after
