"""Folders whose file system has been changed; only root can do that."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """The folder, mounted once more so that nobody can write there."""
    mounted = folder.with_name(f"{folder.name}-ro")
    mounted.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(["mount", "--bind", folder, mounted], check=False).returncode
    ):
        pytest.skip("mounting needs root's rights")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", mounted], check=True)
        yield mounted
    finally:
        subprocess.run(["umount", "--lazy", mounted], check=True)
