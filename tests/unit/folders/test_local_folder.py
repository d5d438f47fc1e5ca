"""A cache folder on a file system: files appear whole, where they belong, or not at all."""

from __future__ import annotations

import ctypes
import errno
import os
import pickle
import resource
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.sources.surroundings import open_files, public_folder, small_disk, without_privileges

from fpj_core.errors import CacheFolderError, ErrorType, ImageError
from fpj_core.folders import local as local_module
from fpj_core.folders import syncing as syncing_module
from fpj_core.folders.base import CacheFolder
from fpj_core.folders.local import LocalFolderConfig
from fpj_core.sources.local import CACHE_TAG, CACHE_TAG_SIGNATURE, LocalSource

PATH = "photos/full/ab/abcd.jpg"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def folder(root: Path) -> CacheFolder:
    made = LocalFolderConfig(str(root)).build()
    made.check_writable()
    return made


def files(root: Path) -> set[str]:
    """Everything there is but folders and the tag."""
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    return found - {CACHE_TAG}


def refusal(folder: CacheFolder, path: str = PATH, data: bytes = b"data") -> ErrorType:
    with pytest.raises(ImageError) as error:
        folder.write(path, data, token="t")
    return error.value.error_type


def test_files_are_written_sized_and_removed(folder: CacheFolder, root: Path) -> None:
    assert folder.size(PATH) is None
    folder.write(PATH, b"data", token="t")
    assert (root / PATH).read_bytes() == b"data"
    assert folder.size(PATH) == 4
    folder.write(PATH, b"other data", token="t")
    folder.write("photos/thumbnail/ab/abcd.jpg", b"", token="t")
    assert folder.size(PATH) == 10
    assert folder.size("photos/thumbnail/ab/abcd.jpg") == 0
    assert files(root) == {PATH, "photos/thumbnail/ab/abcd.jpg"}
    folder.remove(PATH)
    folder.remove(PATH)
    assert folder.size(PATH) is None
    assert (root / PATH).exists() is False


def test_files_can_be_served_by_others(folder: CacheFolder, root: Path) -> None:
    before = os.umask(0o022)
    try:
        folder.write(PATH, b"data", token="t")
    finally:
        os.umask(before)
    assert (root / PATH).stat().st_mode & 0o777 == 0o644
    assert (root / PATH).parent.stat().st_mode & 0o777 == 0o755


def test_a_new_folder_is_made_and_tagged(root: Path) -> None:
    folder = LocalFolderConfig(str(root / "a" / "b")).build()
    assert folder.free_bytes() == pytest.approx(shutil.disk_usage(root.parent).free, rel=0.1)
    folder.check_writable()
    folder.check_writable()
    assert os.listdir(root / "a" / "b") == [CACHE_TAG]
    assert (root / "a" / "b" / CACHE_TAG).read_bytes().startswith(CACHE_TAG_SIGNATURE + b"\n")
    (root / "a" / "b" / "made.jpg").write_bytes(b"\xff\xd8\xff")
    assert list(LocalSource(str(root)).list()) == [], "no source of images"


def test_a_tag_that_is_there_stays(root: Path) -> None:
    root.mkdir()
    (root / CACHE_TAG).write_bytes(CACHE_TAG_SIGNATURE + b"\n# mine")
    LocalFolderConfig(str(root)).build().check_writable()
    assert (root / CACHE_TAG).read_bytes().endswith(b"# mine")


def test_many_may_check_one_new_folder_at_once(root: Path) -> None:
    """Also with one process id, as containers on one volume have it."""
    failures: list[Exception] = []
    gate = threading.Barrier(8)

    def check() -> None:
        gate.wait()
        try:
            for _ in range(30):
                LocalFolderConfig(str(root)).build().check_writable()
        except CacheFolderError as error:
            failures.append(error)

    threads = [threading.Thread(target=check) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert os.listdir(root) == [CACHE_TAG]


def test_what_a_killed_check_left_hinders_no_one(root: Path) -> None:
    root.mkdir()
    (root / f".fpj-probe-{os.getpid()}").touch()
    LocalFolderConfig(str(root)).build().check_writable()


def test_of_two_who_mark_a_folder_at_once_the_first_one_does(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is late has found no marker a moment ago."""
    first, late = (LocalFolderConfig(str(root)).build() for _ in range(2))
    first.mark(b"first", ["photos"])
    monkeypatch.setattr(os.path, "lexists", lambda _path: False)
    late.mark(b"late", ["photos"])
    assert late.look().marker == b"first"


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links_is_marked_too(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    folder = LocalFolderConfig(str(root)).build()
    for content in (b"first", b"second"):
        folder.mark(content, ["photos"])
    assert sorted(os.listdir(root)) == [".fpj-folder", CACHE_TAG]
    assert folder.look().marker == b"first"


def test_a_path_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CacheFolderError, match=r"file cannot be written: File exists"):
        LocalFolderConfig(str(tmp_path / "file")).build().check_writable()
    with pytest.raises(CacheFolderError, match=r"below cannot be written: Not a directory"):
        LocalFolderConfig(str(tmp_path / "file" / "below")).build().check_writable()


def test_the_folder_itself_may_be_a_link(tmp_path: Path, root: Path) -> None:
    root.mkdir()
    (tmp_path / "link").symlink_to(root)
    config = pickle.loads(pickle.dumps(LocalFolderConfig(str(tmp_path / "link"))))
    assert config.location == str(root)
    config.build().write(PATH, b"data", token="t")
    assert files(root) == {PATH}


# Trouble with the disk ----------------------------------------------------------------------------


def test_a_full_disk_leaves_no_part_of_a_file(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small") as disk:
        folder = LocalFolderConfig(str(disk)).build()
        folder.check_writable()
        folder.write(PATH, b"x" * 20_000, token="t")
        assert refusal(folder, "photos/full/ab/large.jpg", b"x" * 100_000) is ErrorType.DISK_FULL
        assert refusal(folder, PATH, b"y" * 100_000) is ErrorType.DISK_FULL
        assert files(disk) == {PATH}
        assert (disk / PATH).read_bytes() == b"x" * 20_000, "the earlier file stays"
        folder.write("photos/full/ab/small.jpg", b"x" * 10_000, token="t")
        free = folder.free_bytes()
        assert free is not None and free < 64 * 1024
        del folder


def test_no_tag_is_better_than_part_of_one(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small") as disk:
        with (disk / "filler").open("wb", buffering=0) as filler:
            assert filler.write(bytes(200_000)) <= 64 * 1024, "full to the last byte"
        folder = LocalFolderConfig(str(disk)).build()
        with pytest.raises(CacheFolderError, match="No space left"):
            folder.check_writable()
        assert os.listdir(disk) == ["filler"]


def test_a_file_size_limit_counts_as_full(folder: CacheFolder, root: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        error_type = refusal(folder, PATH, b"x" * 20_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error_type is ErrorType.DISK_FULL
    assert files(root) == set()


@pytest.mark.parametrize(
    ("number", "error_type"),
    [
        (errno.ENOSPC, ErrorType.DISK_FULL),
        (errno.EDQUOT, ErrorType.DISK_FULL),
        (errno.EIO, ErrorType.WRITE_FAILED),
        (errno.ESTALE, ErrorType.WRITE_FAILED),
        (errno.EACCES, ErrorType.ACCESS_DENIED),
        (errno.EROFS, ErrorType.ACCESS_DENIED),
    ],
)
def test_errors_of_disks_that_are_not_at_hand(
    folder: CacheFolder,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    error_type: ErrorType,
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        assert refusal(folder) is error_type
    assert files(root) == set()


def test_short_writes_are_gone_on_with(
    folder: CacheFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
        folder.write(PATH, b"0123456789", token="t")
    assert (root / PATH).read_bytes() == b"0123456789"


@pytest.fixture
def public() -> Iterator[Path]:
    with public_folder() as made:
        yield made


def test_a_folder_that_may_not_be_written(public: Path) -> None:
    folder = LocalFolderConfig(str(public)).build()
    with without_privileges():
        public_mode = os.stat(public).st_mode
        assert public_mode & 0o022 == 0
        if os.stat(public).st_uid == os.geteuid():
            public.chmod(0o555)
        with pytest.raises(CacheFolderError, match=r"cannot be written: Permission denied"):
            folder.check_writable()
        assert refusal(folder) is ErrorType.ACCESS_DENIED
    assert files(public) == set()


def test_a_read_only_file_system(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "64k", "ro") as disk:
        folder = LocalFolderConfig(str(disk)).build()
        with pytest.raises(CacheFolderError, match=r"cannot be written: Read-only file system"):
            folder.check_writable()
        assert refusal(folder) is ErrorType.ACCESS_DENIED


# Trouble within -----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["photos", "photos/full", "photos/full/ab", "photos/.tmp"])
@pytest.mark.parametrize("planted", ["link", "link to nothing", "file"])
def test_whatever_stands_in_a_folders_place_is_not_followed(
    folder: CacheFolder, root: Path, tmp_path: Path, place: str, planted: str
) -> None:
    outside = tmp_path / "outside"
    (outside / "full" / "ab").mkdir(parents=True)
    (outside / "abcd.jpg").write_bytes(b"precious")
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    if planted == "file":
        (root / place).touch()
    else:
        (root / place).symlink_to(outside if planted == "link" else tmp_path / "nothing")
    before = files(root) | files(outside)
    assert refusal(folder) is ErrorType.PATH_VIOLATION
    if place != "photos/.tmp":
        with pytest.raises(ImageError) as error:
            folder.remove(PATH)
        assert error.value.error_type is ErrorType.PATH_VIOLATION
    folder.sweep(["photos"], "store")
    assert files(root) | files(outside) == before
    assert not (tmp_path / "nothing").exists()


def test_a_link_in_a_files_place_is_replaced_not_followed(
    folder: CacheFolder, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (root / PATH).parent.mkdir(parents=True)
    (root / PATH).symlink_to(tmp_path / "precious")
    assert folder.size(PATH) is None, "a link is not a derivative"
    folder.write(PATH, b"data", token="t")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert (root / PATH).is_symlink() is False
    (root / PATH).unlink()
    (root / PATH).symlink_to(tmp_path / "precious")
    folder.remove(PATH)
    assert (tmp_path / "precious").exists() and not (root / PATH).is_symlink()


def test_a_folder_in_a_files_place(folder: CacheFolder, root: Path) -> None:
    (root / PATH).mkdir(parents=True)
    assert folder.size(PATH) is None
    assert refusal(folder) is ErrorType.WRITE_FAILED
    assert files(root) == set()


@pytest.mark.parametrize("removed", ["photos", "photos/full", "photos/full/ab", "photos/.tmp", "."])
def test_folders_removed_midway_are_made_again_at_the_second_try(
    folder: CacheFolder, root: Path, removed: str
) -> None:
    folder.write(PATH, b"data", token="t")
    shutil.rmtree(root / removed)
    if removed == ".":
        root.mkdir()
    assert refusal(folder) is ErrorType.WRITE_FAILED
    assert ErrorType.WRITE_FAILED.transient
    folder.write(PATH, b"again", token="t")
    assert (root / PATH).read_bytes() == b"again"
    assert files(root) == {PATH}


def test_a_root_that_is_gone_is_not_made_by_writing(folder: CacheFolder, root: Path) -> None:
    """A volume that is not mounted must not be written beside."""
    shutil.rmtree(root)
    assert refusal(folder) is ErrorType.WRITE_FAILED
    assert folder.size(PATH) is None
    folder.remove(PATH)
    folder.sweep(["photos"], "store")
    assert not root.exists()


def test_sweeping_removes_what_killed_writers_left(folder: CacheFolder, root: Path) -> None:
    for collection in ("photos", "other"):
        folder.write(f"{collection}/full/ab/abcd.jpg", b"data", token="t")
        (root / collection / ".tmp" / "odd").mkdir()
        for name in ("store-1-0", "store-1-1"):
            (root / collection / ".tmp" / name).write_bytes(b"part")
    folder.sweep(["photos"], "store")
    assert os.listdir(root / "photos" / ".tmp") == ["odd"]
    assert (root / PATH).exists()
    assert sorted(os.listdir(root / "other" / ".tmp")) == ["odd", "store-1-0", "store-1-1"], (
        "another's lease"
    )


@pytest.mark.parametrize("skew", [-86_400.0, 0.0, 86_400.0])
def test_sweeping_spares_what_another_store_may_be_writing(
    folder: CacheFolder, root: Path, monkeypatch: pytest.MonkeyPatch, skew: float
) -> None:
    """Its runs hold leases that ours cannot see.

    The folder's own clock says what is old, not this host's.
    """
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + skew)
    folder.write(PATH, b"data", token="t")
    for name, age in {
        "other-1-0": 0,
        "other-1-1": 3_000,
        "other-1-2": 4_000,
        "storefront-1-0": 0,
    }.items():
        left = root / "photos" / ".tmp" / name
        left.write_bytes(b"part")
        os.utime(left, (now - age, now - age))
    folder.sweep(["photos"], "store")
    assert sorted(os.listdir(root / "photos" / ".tmp")) == [
        "other-1-0",
        "other-1-1",
        "storefront-1-0",
    ]


def test_looking_and_removing_make_nothing(folder: CacheFolder, root: Path) -> None:
    folder.sweep(["photos"], "store")
    folder.remove(PATH)
    folder.size(PATH)
    assert os.listdir(root) == [CACHE_TAG]


def test_two_writers_of_one_file_never_mix(root: Path) -> None:
    contents = [bytes([number]) * 200_000 for number in range(4)]

    def write(content: bytes) -> None:
        mine = LocalFolderConfig(str(root)).build()
        for _ in range(20):
            mine.write(PATH, content, token=str(content[0]))

    LocalFolderConfig(str(root)).build().check_writable()
    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if (root / PATH).exists():
            assert (root / PATH).read_bytes() in contents
    assert files(root) == {PATH}


def test_few_folders_stay_open(folder: CacheFolder, root: Path) -> None:
    before = open_files()
    for number in range(256):
        folder.write(f"photos/full/{number:02x}/a.jpg", b"data", token="t")
    assert open_files() - before <= local_module._OPEN_FOLDERS
    assert len(files(root)) == 256


# To disk ------------------------------------------------------------------------------------------


def test_written_files_are_brought_to_disk(folder: CacheFolder) -> None:
    sync = folder.syncer()
    folder.write(PATH, b"data", token="t")
    sync()
    sync()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_data_that_cannot_be_written_is_an_error_of_the_folder(
    folder: CacheFolder, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(_descriptor: int) -> int:
        ctypes.set_errno(number)
        return -1

    sync = folder.syncer()
    monkeypatch.setattr(syncing_module, "_syncfs", fail)
    with pytest.raises(CacheFolderError, match=os.strerror(number)) as raised:
        sync()
    assert isinstance(raised.value.__cause__, OSError)
    assert raised.value.__cause__.errno == number


def test_a_folder_that_has_gone_cannot_be_synced(folder: CacheFolder, root: Path) -> None:
    """What is now behind its path says nothing about what was written before."""
    sync = folder.syncer()
    shutil.rmtree(root)
    with pytest.raises(CacheFolderError, match="No such file"):
        sync()
    root.symlink_to("/proc")
    with pytest.raises(CacheFolderError, match="another file system"):
        sync()
    with pytest.raises(CacheFolderError, match="No such file"):
        LocalFolderConfig(str(root / "nowhere")).build().syncer()


def test_without_syncfs_everything_is_synced(
    folder: CacheFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []
    monkeypatch.setattr(syncing_module, "_syncfs", None)
    monkeypatch.setattr(os, "sync", lambda: synced.append(True))
    folder.syncer()()
    assert synced


# Looking whether it works -------------------------------------------------------------------------


def test_a_probe_leaves_nothing_behind(folder: CacheFolder, root: Path) -> None:
    folder.mark(b"{}", ["photos"])
    folder.write(PATH, b"data", token="t")
    before = files(root)
    folder.probe("photos")
    assert files(root) == before


def test_a_probe_finds_a_disk_full_that_has_room_for_small_files(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        folder = LocalFolderConfig(str(disk)).build()
        folder.mark(b"{}", ["photos"])
        with pytest.raises(CacheFolderError, match="No space left"):
            folder.probe("photos")
        assert not [path for path in disk.rglob("*") if "probe" in path.name]
        folder.write(PATH, b"small", token="t")


def test_a_probe_finds_another_folder_in_its_place(folder: CacheFolder, root: Path) -> None:
    folder.mark(b"{}", ["photos"])
    folder.write(PATH, b"data", token="t")
    root.rename(root.with_name("away"))
    with pytest.raises(CacheFolderError, match="No such file"):
        folder.probe("photos")
    root.mkdir()
    with pytest.raises(CacheFolderError, match="is it mounted"):
        folder.probe("photos")
    assert not list(root.iterdir())
