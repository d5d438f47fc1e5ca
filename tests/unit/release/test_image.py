from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from unit.release.releasing import layer, layer_bytes

from fpj_release import ReleaseError
from fpj_release.image import Debian, add_layer, read

STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9
Description: a library
 of many lines

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2
"""
BASE = {
    "var/lib/dpkg/status": STATUS,
    "usr/lib/os-release": 'ID=debian\nVERSION_CODENAME="bookworm"\n',
}
OWN = {"opt/fpj/pyvenv.cfg": "home = /usr/bin\nversion = 3.11.2\n", "etc/passwd": "x"}


def archive(path: Path, *layers: dict[str, str], config: str = "c" * 64 + ".json") -> Path:
    with tarfile.open(path, "w") as outer:

        def add(name: str, content: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            outer.addfile(member, io.BytesIO(content))

        names = [f"{number}.tar" for number in range(len(layers))]
        for name, files in zip(names, layers, strict=True):
            add(name, layer_bytes(files))
        add(config, json.dumps({"architecture": "arm64"}).encode())
        add("manifest.json", json.dumps([{"Config": config, "Layers": names}]).encode())
    return path


def test_an_image_tells_its_system_and_its_python(tmp_path: Path) -> None:
    image = read(archive(tmp_path / "image.tar", BASE, OWN))
    assert image.debian == (Debian("bash", "5.2", "amd64"), Debian("libc6", "2.36-9", "amd64"))
    assert (image.suite, image.python, image.architecture, image.digest) == (
        "bookworm",
        "3.11.2",
        "arm64",
        "c" * 64,
    )
    assert "etc/passwd" not in image.files


def test_the_digest_is_found_where_newer_archives_have_it(tmp_path: Path) -> None:
    assert (
        read(archive(tmp_path / "image.tar", BASE, config="blobs/sha256/" + "d" * 64)).digest
        == "d" * 64
    )


@pytest.mark.parametrize("removed", ["a/.wh.b", "a/.wh..wh..opq", ".wh.a"])
def test_what_a_layer_takes_away_is_gone(removed: str) -> None:
    files: dict[str, bytes] = {}
    add_layer(files, layer({"a/b": "1", "ab": "2"}), lambda path: True)
    add_layer(files, layer({removed: ""}), lambda path: True)
    assert files == {"ab": b"2"}


def test_a_later_layer_wins_and_an_opaque_folder_keeps_what_comes_with_it() -> None:
    files: dict[str, bytes] = {}
    add_layer(files, layer({"./a/b": "1", "a/c": "1"}), lambda path: True)
    add_layer(files, layer({"a/b": "2", "a/.wh..wh..opq": ""}), lambda path: True)
    assert files == {"a/b": b"2"}


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(b"no archive")
    with pytest.raises(ReleaseError, match="not the archive of one image"):
        read(tmp_path / "image.tar")
    with pytest.raises(ReleaseError, match="digest"):
        read(archive(tmp_path / "image.tar", BASE, config="config.json"))


@pytest.mark.parametrize("name", ["manifest.json", "0.tar"])
def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "image.tar", "w") as outer:
        folder = tarfile.TarInfo(name)
        folder.type = tarfile.DIRTYPE
        outer.addfile(folder)
        if name != "manifest.json":
            for file, content in (
                ("c.json", "{}"),
                ("manifest.json", json.dumps([{"Config": "c.json", "Layers": [name]}])),
            ):
                member = tarfile.TarInfo(file)
                member.size = len(content)
                outer.addfile(member, io.BytesIO(content.encode()))
    with pytest.raises(
        ReleaseError, match=f"image.tar is not the archive .*: {name} is not a file"
    ):
        read(tmp_path / "image.tar")
