"""A disk that is full, or becomes read-only, in the middle of a removal: a clear error, nothing
wrongly removed, and the next removal finishes it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from unit.sources.surroundings import small_disk
from unit.worker.test_eviction import OTHER, SIZE, limited, put
from unit.worker.test_local import Bench, bench

from fpj_core.errors import CacheFolderError, ImageError
from fpj_core.folders.local import LocalFolder
from fpj_core.folders.ownership import new_marker
from fpj_core.model import Folder
from fpj_core.store.protocol import Store, nothing
from fpj_worker.eviction import Evictor

__all__ = ["bench"]  # a fixture
_MB = 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "cache", "4m") as mounted:
        yield mounted


def laid_out(bench: Bench, disk: Path) -> tuple[LocalFolder, Folder]:
    """Ten files on the disk, of which four are to go, and one beside the folder's own."""
    made = put(bench.store, bench.folder, 10)
    folder, record = LocalFolder(str(disk)), limited(8 * SIZE)
    bench.store.upsert_folder(record)
    folder.mark(new_marker(bench.store.identity(), record), [OTHER])
    for each in made:
        folder.write(each.path, bytes(each.bytes), token=f"{bench.store.identity()}-t")
    (disk / "mine.txt").write_text("mine")
    return folder, record


def there(disk: Path) -> set[str]:
    return {str(path.relative_to(disk)) for path in disk.rglob("*.jpg")}


def recorded(store: Store) -> set[str]:
    return {each.path for each in store.derivatives(OTHER, 0, 99, ["full"])}


def finished(bench: Bench, folder: LocalFolder, record: Folder, disk: Path) -> None:
    """The next eviction, once the disk is well."""
    Evictor(bench.store, folder, record, nothing).run()
    assert there(disk) == recorded(bench.store) and len(there(disk)) == 6
    assert bench.store.removing_from("cache") == []
    assert bench.store.folder_totals("cache")[1] == 6 * SIZE
    assert (disk / "mine.txt").read_text() == "mine"


def test_a_disk_that_is_full_is_evicted(bench: Bench, disk: Path) -> None:
    """A removal needs no room."""
    folder, record = laid_out(bench, disk)
    with suppress(OSError), (disk / "full").open("wb") as full:
        while True:
            full.write(bytes(_MB // 16))
            full.flush()
    with pytest.raises(ImageError, match=r"full|space"):
        folder.write(f"{OTHER}/full/ab/{'ab' * 16}.jpg", bytes(SIZE * 5), token="t")
    finished(bench, folder, record, disk)


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_disk_that_becomes_read_only_loses_no_record_of_a_file(
    bench: Bench, disk: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    folder, record = laid_out(bench, disk)
    remove = _failing(folder, after, lambda: remount(disk, "ro"))
    with monkeypatch.context() as patch:
        patch.setattr(folder, "remove", remove)
        with pytest.raises((CacheFolderError, ImageError), match=r"[Rr]ead-only"):
            Evictor(bench.store, folder, record, nothing).run()
    assert recorded(bench.store) < there(disk), "what is recorded is there"
    pending = {each.path for each in bench.store.removals(OTHER, "cache")}
    assert len(pending) == 4 and there(disk) - recorded(bench.store) <= pending
    assert len(there(disk)) == 10 - after
    with pytest.raises((CacheFolderError, ImageError), match=r"[Rr]ead-only"):
        Evictor(bench.store, folder, record, nothing).run()
    assert not bench.store.reserve("cache", "a job", 3 * SIZE).granted, "it counts as held"
    remount(disk, "rw")
    finished(bench, folder, record, disk)


def _failing(folder: LocalFolder, after: int, fail: Callable[[], None]) -> Callable[[str], None]:
    remove, done = folder.remove, [0]

    def removing(path: str) -> None:
        if done[0] == after:
            fail()
        done[0] += 1
        remove(path)

    return removing


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)
