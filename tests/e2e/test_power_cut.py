"""A power cut on a real file system: whatever is recorded is there afterwards,
with all its bytes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from e2e.conftest import Fpj, wait_for

from fpj_core.model import Derivative
from fpj_core.store import open_store

_FS_IOC_SHUTDOWN = 0x8004587D
_WITHOUT_JOURNAL = 2
"""What is in memory is lost, the journal's too: as in a power cut."""
MANIFEST = """\
apiVersion: fpj.dev/v1alpha1
kind: FileProcessingJob
metadata: {{name: cut}}
spec:
  jobType: Both
  collection: {{id: cut, source: {{local: {{path: {photos}}}}}}}
  sharding: {{batchSize: 5}}
"""


class Disk:
    """An ext4 in a file, mounted."""

    def __init__(self, image: Path, mounted_at: Path) -> None:
        self.image = image
        self.mounted_at = mounted_at

    def mount(self) -> bool:
        command = ["mount", "-o", "loop,commit=300", str(self.image), str(self.mounted_at)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.mounted_at)], check=True)

    def cut_power(self) -> None:
        descriptor = os.open(self.mounted_at, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _FS_IOC_SHUTDOWN, struct.pack("I", _WITHOUT_JOURNAL))
        finally:
            os.close(descriptor)
        self.unmount()
        assert self.mount()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk.img", tmp_path / "disk")
    made.mounted_at.mkdir()
    with made.image.open("wb") as stream:
        stream.truncate(64 * 2**20)
    mkfs = shutil.which("mkfs.ext4")
    if (
        mkfs is None
        or subprocess.run([mkfs, "-q", made.image], capture_output=True, check=False).returncode
    ):
        pytest.skip("there is no mkfs.ext4")
    if not made.mount():
        pytest.skip("mounting a file system in a file needs root's rights and a loop device")
    try:
        yield made
    finally:
        made.unmount()


def recorded(fpj: Fpj) -> list[Derivative]:
    if not Path(fpj.store).exists():
        return []
    with closing(open_store(fpj.store)) as store:
        return list(store.derivatives("cut", 0, 1_000, ["full", "thumbnail"]))


def test_what_is_recorded_survives_a_power_cut(tmp_path: Path, photos: Path, disk: Disk) -> None:
    fpj = Fpj(str(tmp_path / "fpj.db"), disk.mounted_at / "out")
    manifest = tmp_path / "job.yaml"
    manifest.write_text(MANIFEST.format(photos=photos))
    process = fpj.start("run", manifest, "--out", fpj.out, "-q")
    try:
        wait_for(
            lambda: len(recorded(fpj)) >= 20 or process.poll() is not None, "the first batches"
        )
    finally:
        process.kill()
        _, stderr = process.communicate()
    wait_for(lambda: not fpj.processes(), "the end of its children")
    disk.cut_power()
    records = recorded(fpj)
    assert len(records) >= 20, stderr
    contents = {
        each.path: (fpj.out / each.path).read_bytes()
        for each in records
        if (fpj.out / each.path).exists()
    }
    assert {path: len(content) for path, content in contents.items()} == {
        each.path: each.bytes for each in records
    }
    assert all(
        content.startswith(b"\xff\xd8") and content.endswith(b"\xff\xd9")
        for content in contents.values()
    )
    assert fpj.run(manifest).counts[2] == 0
    assert len(recorded(fpj)) == 120
