"""What sources share."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import pytest
from unit.sources.surroundings import open_files, small_disk

from fpj_core.errors import ErrorType, ImageError
from fpj_core.sources.base import (
    closed_after,
    copy_bounded,
    extension,
    image_error_from_os,
    left_out,
)


def test_a_copy_is_bounded() -> None:
    with closed_after(tempfile.TemporaryFile()) as target:
        copy_bounded([b"12", b"", b"345"], target, 5)
        target.seek(0)
        assert target.read() == b"12345"
        with pytest.raises(ImageError) as error:
            copy_bounded(iter([b"12", b"3456"]), target, 5)
    assert error.value.error_type is ErrorType.TOO_LARGE


@pytest.mark.parametrize("length", [10, 10_000_000])
def test_a_copy_on_a_full_disk(tmp_path: Path, length: int) -> None:
    """The error is the disk's, not the one that closing the file raises after it."""
    before = open_files()
    with small_disk(tmp_path / "small") as disk:
        with (disk / "filler").open("wb", buffering=0) as filler:
            filler.write(bytes(200_000))
        with (
            pytest.raises(ImageError) as error,
            closed_after(tempfile.TemporaryFile(dir=disk)) as target,
        ):
            copy_bounded([b"x" * length], target, length)
        assert error.value.error_type is ErrorType.DISK_FULL
        assert open_files() == before


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.JPG", "jpg"),
        ("a.tar.gz", "gz"),
        ("a", ""),
        ("a.", ""),
        (".jpg", "jpg"),
        ("a.jpg ", "jpg "),
    ],
)
def test_extensions(name: str, expected: str) -> None:
    assert extension(name) == expected


@pytest.mark.parametrize(
    ("number", "error_type"),
    [
        (errno.ENOENT, ErrorType.NOT_FOUND),
        (errno.ENOTDIR, ErrorType.NOT_FOUND),
        (errno.EACCES, ErrorType.ACCESS_DENIED),
        (errno.EPERM, ErrorType.ACCESS_DENIED),
        (errno.EIO, ErrorType.READ_FAILED),
    ],
)
def test_errors_of_the_system_have_types(number: int, error_type: ErrorType) -> None:
    assert image_error_from_os(OSError(number, "why"), "the file").error_type is error_type


@pytest.mark.parametrize(
    "name",
    [
        "$RECYCLE.BIN",
        "RECYCLER",
        "Recycled",
        "@Recycle",
        "#recycle",
        "System Volume Information",
        "#snapshot",
    ]
    + [
        "Network Trash Folder",
        "@Recently-Snapshot",
        "@eaDir",
        ".Trash-1000",
        "Recycle_Bin",
        "trashbox",
        "files_trashbin",
    ],
)
def test_deleted_photos_are_left_out(name: str) -> None:
    assert left_out(name)
    assert not left_out(f"my {name}")
