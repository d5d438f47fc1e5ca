"""`fpj generate` on this machine: new jobs for collections, copied from their earlier ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from e2e.conftest import Fpj, files_in, photo


@pytest.fixture
def collections(fpj: Fpj, tmp_path: Path) -> list[Path]:
    """One of cache images of a size of its own, and one of thumbnails."""
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
        for number in range(3):
            (folder / f"{number}.jpg").write_bytes(photo(number, 80, 60))
    one = ("--type", "cache", "--tier", "small=40x40", "--out", str(tmp_path / "one"))
    assert fpj("run", str(folders[0]), "--collection", "first", *one).code == 0
    two = ("--type", "thumbnail", "--thumbnail", "20x20", "--out", str(tmp_path / "two"))
    assert fpj("run", str(folders[1]), "--collection", "second", *two).code == 0
    return folders


def results(text: str) -> list[dict[str, Any]]:
    return list(json.loads(text)["results"])


def test_each_collection_gets_what_it_has_not(
    fpj: Fpj, collections: list[Path], tmp_path: Path
) -> None:
    before = files_in(tmp_path / "one")
    planned = fpj("generate", "--all", "--dry-run", "--json")
    assert planned.code == 0, planned.stderr
    assert [(each["collection"], each["state"]) for each in results(planned.stdout)] == [
        ("first", "Planned"),
        ("second", "Planned"),
    ]
    assert [each["usual"] for each in results(planned.stdout)] == [["thumbnail"], ["cache"]]
    assert files_in(tmp_path / "one") == before
    made = fpj("generate", "--all", "--json")
    assert made.code == 0, made.stderr
    assert {each["state"] for each in results(made.stdout)} == {"Created"}
    # Each in its own folder, in its own sizes where it says any.
    assert before.keys() < files_in(tmp_path / "one").keys()
    assert len(files_in(tmp_path / "one")) == 6 and len(files_in(tmp_path / "two")) == 6
    again = fpj("generate", "--all", "--type", "thumbnail")
    assert again.code == 0 and len(files_in(tmp_path / "two")) == 6
    # A job of thumbnails alone makes nobody forget the sizes of the cache.
    shutil.rmtree(tmp_path / "one" / "first")
    assert fpj("generate", "first", "--type", "cache").code == 0
    assert files_in(tmp_path / "one").keys() == before.keys()


def test_one_that_cannot_be_stops_no_other(
    fpj: Fpj, collections: list[Path], tmp_path: Path
) -> None:
    shutil.rmtree(collections[0])
    made = fpj("generate", "--all", "--json", "--wait-for-environment", "0s")
    first, second = results(made.stdout)
    assert (made.code, first["exitCode"], second["exitCode"]) == (6, 6, 0)
    assert len(files_in(tmp_path / "two")) == 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name COLLECTIONs"),
        (("first", "--all"), "name COLLECTIONs"),
        (("nothing",), "nothing"),
        (("-l", "team"), "no collection is chosen"),
        (("-l", "team in web"), "label selector"),
        (("--all", "--key", "1"), "--key"),
    ],
)
def test_what_cannot_be_meant(
    fpj: Fpj, collections: list[Path], arguments: tuple[str, ...], words: str
) -> None:
    refused = fpj("generate", *arguments)
    assert refused.code == 2 and words in refused.stderr
