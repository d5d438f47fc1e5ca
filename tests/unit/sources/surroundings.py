"""Places and powers that the tests need: an ordinary user's rights, a disk that is soon full."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_NOBODY = 65534


@contextmanager
def without_privileges() -> Iterator[None]:
    """Permission bits bind root too, for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that everyone can reach and read (pytest's own are private)."""
    folder = Path(tempfile.mkdtemp(prefix="fpj-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for path in folder.rglob("*"):
            path.chmod(0o755)
        shutil.rmtree(folder)


@contextmanager
def small_disk(folder: Path, size: str = "64k", *options: str) -> Iterator[Path]:
    """A file system of that size."""
    folder.mkdir()
    command = [
        "mount",
        "-t",
        "tmpfs",
        "-o",
        ",".join([f"size={size}", *options]),
        "tmpfs",
        str(folder),
    ]
    if (
        shutil.which("mount") is None
        or subprocess.run(command, capture_output=True, check=False).returncode
    ):
        pytest.skip("mounting a small file system needs root's rights")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))
