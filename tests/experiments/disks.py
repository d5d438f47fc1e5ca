"""Disks that are full, read-only, or not there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from e2e.installation import USER


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """A file system of 64 MB there meanwhile."""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size=64m,uid={USER},gid={USER}", "tmpfs", folder],
        check=True,
    )
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def mount(folder: Path, *options: str) -> None:
    subprocess.run(["mount", *options, folder], check=True)


def fill(path: Path) -> None:
    """Until nothing more can be written."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(2**20)):
            pass
    with suppress(OSError), path.open("ab", buffering=0) as file:
        while file.write(bytes(512)):
            pass


def move(source: Path, target: Path) -> None:
    """All that is in a folder: the folder itself is mounted into the pods."""
    target.mkdir(exist_ok=True)
    for each in list(source.iterdir()):
        each.rename(target / each.name)
