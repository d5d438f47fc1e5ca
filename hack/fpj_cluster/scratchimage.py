"""Container images made of nothing but static programs, written without any image builder."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write_image(
    target: Path, tag: str, programs: Mapping[str, Path], entrypoint: list[str]
) -> None:
    """Write a docker-archive whose one layer has the programs under the names given,
    to be run by user 65532.
    """
    with tempfile.TemporaryFile(dir=target.parent) as layer, tarfile.open(target, "w") as archive:
        with tarfile.open(fileobj=layer, mode="w") as files:
            for name, program in programs.items():
                entry = files.gettarinfo(program, name)
                entry.mode, entry.uid, entry.gid, entry.uname, entry.gname = 0o755, 0, 0, "", ""
                with program.open("rb") as content:
                    files.addfile(entry, content)
        size = layer.tell()
        layer.seek(0)
        digest = hashlib.file_digest(layer, "sha256").hexdigest()
        layer.seek(0)
        config = {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Entrypoint": entrypoint, "User": "65532:65532", "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
        _add(
            archive,
            "manifest.json",
            [{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}],
        )
        _add(archive, "config.json", config)
        entry = tarfile.TarInfo("layer.tar")
        entry.size = size
        archive.addfile(entry, layer)


def _add(archive: tarfile.TarFile, name: str, document: object) -> None:
    content = json.dumps(document).encode()
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
