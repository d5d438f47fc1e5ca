"""A container image's files, read from its archive as `docker save` and buildah write it:
layers of tar files.
"""

from __future__ import annotations

import json
import posixpath
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path
from typing import IO, Any

from fpj_release import ReleaseError

_STATUS = "var/lib/dpkg/status"
_OS = "usr/lib/os-release"
_ENVIRONMENT = re.compile(
    r"opt/fpj/(pyvenv\.cfg|lib/python3\.\d+/site-packages/[^/]+\.dist-info/(METADATA|RECORD))"
)
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


@dataclass(frozen=True, slots=True)
class Debian:
    """An installed Debian package."""

    name: str
    version: str
    architecture: str


@dataclass(frozen=True, slots=True)
class Image:
    """What of an image a bill of materials needs.

    ``digest`` is that of its configuration, hexadecimal SHA-256.
    """

    digest: str
    architecture: str
    files: dict[str, bytes]  # the environment's metadata, by path

    @property
    def suite(self) -> str:
        """Debian's name of the release, such as ``bookworm``; empty for another system."""
        return _values(self.files.get(_OS, b"").decode()).get("VERSION_CODENAME", "")

    @property
    def python(self) -> str:
        """Version of the Python in it."""
        return _values(self.files.get("opt/fpj/pyvenv.cfg", b"").decode()).get("version", "")

    @property
    def debian(self) -> tuple[Debian, ...]:
        """Its installed Debian packages, by name."""
        paragraphs = (
            Parser().parsestr(text)
            for text in self.files.get(_STATUS, b"").decode().split("\n\n")
            if text
        )
        found = (
            Debian(item["Package"], item["Version"], item["Architecture"])
            for item in paragraphs
            if _is_there(item)
        )
        return tuple(sorted(found, key=lambda package: (package.name, package.architecture)))


def read(archive: Path) -> Image:
    """The image of an archive. ReleaseError if that is none, or holds more than one image."""
    try:
        with tarfile.open(archive) as outer:
            (manifest,) = json.loads(_content(outer, "manifest.json"))
            raw = _content(outer, manifest["Config"])
            files: dict[str, bytes] = {}
            for layer in manifest["Layers"]:
                with _file(outer, layer) as stream, tarfile.open(fileobj=stream) as inner:
                    add_layer(files, inner, _is_wanted)
    except (OSError, tarfile.TarError, KeyError, ValueError) as error:
        raise ReleaseError(f"{archive} is not the archive of one image: {error}") from error
    config: dict[str, Any] = json.loads(raw)
    digest = re.search(r"[0-9a-f]{64}", manifest["Config"])
    if not digest:
        raise ReleaseError(
            f"{archive} does not say the digest of its configuration: {manifest['Config']}"
        )
    return Image(digest.group(), config["architecture"], files)


def add_layer(
    files: dict[str, bytes], layer: tarfile.TarFile, is_wanted: Callable[[str], object]
) -> None:
    """Change ``files`` by what a layer adds, replaces and takes away."""
    added: dict[str, bytes] = {}
    for member in layer:
        path = posixpath.normpath(member.name).lstrip("/")
        folder, name = posixpath.split(path)
        if name == _OPAQUE:
            _remove(files, folder, itself=False)
        elif name.startswith(_WHITEOUT):
            _remove(files, posixpath.join(folder, name.removeprefix(_WHITEOUT)))
        elif not member.isdir():
            _remove(files, path)
            if member.isfile() and is_wanted(path):
                stream = layer.extractfile(member)
                added[path] = stream.read() if stream else b""
    files.update(added)


def _remove(files: dict[str, bytes], path: str, *, itself: bool = True) -> None:
    for known in [
        known for known in files if known.startswith(f"{path}/") or (itself and known == path)
    ]:
        del files[known]


def _is_wanted(path: str) -> bool:
    return path in (_STATUS, _OS) or _ENVIRONMENT.fullmatch(path) is not None


def _is_there(paragraph: Any) -> bool:
    return str(paragraph["Status"]).endswith(" installed")


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    with _file(archive, name) as stream:
        return stream.read()


def _file(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """A file in the archive. KeyError if there is none; ValueError for a folder, say."""
    stream = archive.extractfile(name)
    if stream is None:
        raise ValueError(f"{name} is not a file")
    return stream


def _values(text: str) -> dict[str, str]:
    lines = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip().strip('"') for name, _, value in lines}
