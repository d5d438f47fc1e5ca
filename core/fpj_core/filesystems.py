"""Which file systems other hosts may have mounted, too."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_SHARED = frozenset(
    (
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "ncpfs",
        "afs",
        "9p",
        "virtiofs",
        "vboxsf",
        "fuse.vmhgfs-fuse",
    )
    + (
        "ceph",
        "glusterfs",
        "lustre",
        "gpfs",
        "beegfs",
        "ocfs2",
        "gfs2",
        "orangefs",
        "fuse.ceph",
        "fuse.glusterfs",
    )
    + ("fuse.sshfs", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse", "fuse.mount-s3", "fuse.juicefs")
)
"""Types as in /proc/self/mountinfo."""
_MOUNTS = Path("/proc/self/mountinfo")


def shared_type(path: Path) -> str | None:
    """The type of the file system of ``path``, which need not exist,
    if other hosts may have it mounted; else None.

    None, too, where the kernel does not say.
    """
    with suppress(OSError):
        device = _nearest(path).stat().st_dev
        found = type_of(
            f"{os.major(device)}:{os.minor(device)}", _MOUNTS.read_text("utf-8", "replace")
        )
        return found if found in _SHARED else None
    return None


def type_of(device: str, mountinfo: str) -> str | None:
    """The type of the file system on ``device`` (major:minor), by proc_pid_mountinfo(5)."""
    for line in mountinfo.splitlines():
        mount, _, rest = line.partition(" - ")
        if mount.split(" ")[2:3] == [device] and rest:
            return rest.split(" ", 1)[0]
    return None


def _nearest(path: Path) -> Path:
    """The path, or what there is above it."""
    path = path.absolute()
    return next((each for each in (path, *path.parents) if each.exists()), Path("/"))
