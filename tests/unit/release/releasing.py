"""What the tests of releases share. That `hack` is on the path is the doing of tests/planes.py."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[3]
METADATA = "Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{more}\n"


def metadata(name: str, version: str, *more: str) -> str:
    """A package's METADATA."""
    return METADATA.format(name=name, version=version, more="\n".join(more))


def layer(files: dict[str, str]) -> tarfile.TarFile:
    """A layer of an image with these files, by path."""
    return tarfile.open(fileobj=io.BytesIO(layer_bytes(files)))


def layer_bytes(files: dict[str, str]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return target.getvalue()
