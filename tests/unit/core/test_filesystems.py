"""File systems that other hosts may have mounted, too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fpj_core import filesystems
from fpj_core.filesystems import shared_type, type_of

MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
90 22 0:45 / /home\\040dirs rw,relatime shared:7 master:1 - nfs4 server:/home rw,vers=4.2
91 22 0:46 /x /mnt/smb rw - cifs //server/share rw
garbage
"""


@pytest.mark.parametrize(
    ("device", "kind"), [("8:1", "ext4"), ("0:45", "nfs4"), ("0:46", "cifs"), ("0:47", None)]
)
def test_the_kernel_says_what_is_mounted(device: str, kind: str | None) -> None:
    assert type_of(device, MOUNTS) == kind


@pytest.mark.parametrize(
    ("kind", "shared"), [("nfs", "nfs"), ("fuse.sshfs", "fuse.sshfs"), ("xfs", None)]
)
def test_a_path_that_is_still_to_be_made_is_where_its_parent_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, shared: str | None
) -> None:
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"90 22 {os.major(device)}:{os.minor(device)} / / rw - {kind} x rw\n")
    monkeypatch.setattr(filesystems, "_MOUNTS", mounts)
    assert shared_type(tmp_path / "new" / "fpj.db") == shared
    mounts.unlink()
    assert shared_type(tmp_path) is None
