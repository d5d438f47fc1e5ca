"""`fpj verify` and `fpj forget`: what is said, what is repaired, and how the commands end."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from e2e.conftest import Finished, Fpj, files_in, photo

from fpj_core.folders.ownership import MARKER
from fpj_core.kube.names import lease_name
from fpj_core.store import open_store

LONG_AGO = 1_000_000_000


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.jpg").write_bytes(photo(number, 80, 60))
    return folder


@pytest.fixture
def made(fpj: Fpj, photos: Path) -> dict[str, str]:
    assert fpj.run(photos).counts == (4, 0, 0)
    return files_in(fpj.out)


def document(finished: Finished) -> Any:
    return json.loads(finished.stdout)


def spoil(fpj: Fpj, made: dict[str, str]) -> tuple[str, str, str]:
    """A file less, one that was cut, and one more; their names."""
    gone, cut, *_ = sorted(made)
    (fpj.out / gone).unlink()
    (fpj.out / cut).write_bytes(b"cut")
    folder, _, name = cut.rpartition("/")
    more = f"{folder}/{name.partition('.')[0]}.webp"
    (fpj.out / more).write_bytes(b"more")
    os.utime(fpj.out / more, (LONG_AGO, LONG_AGO))
    return gone, cut, more


def test_a_folder_as_recorded_is_said_to_be(fpj: Fpj, made: dict[str, str]) -> None:
    found = fpj("verify")
    assert found.code == 0, found.stderr
    assert "8 files are as recorded" in found.stderr
    assert files_in(fpj.out) == made


def test_what_differs_is_reported_and_then_repaired(
    fpj: Fpj, photos: Path, made: dict[str, str]
) -> None:
    gone, cut, more = spoil(fpj, made)
    (fpj.out / "notes.txt").write_text("mine")
    before = files_in(fpj.out)
    found = fpj("verify", "-v")
    assert found.code == 1, found.stderr
    assert "--repair" in found.stderr
    lines = {tuple(line.split("  ", 1)) for line in found.stdout.splitlines()}
    assert {
        ("Missing", f"{fpj.out}/{gone}"),
        ("WrongSize", f"{fpj.out}/{cut}"),
        ("Unrecorded", f"{fpj.out}/{more}"),
        ("Foreign", f"{fpj.out}/notes.txt"),
    } <= lines
    assert files_in(fpj.out) == before
    repaired = fpj("verify", "--repair", "--json")
    assert repaired.code == 0, repaired.stderr
    (folder,) = document(repaired)
    assert {kind: each["files"] for kind, each in folder["differences"].items()} == {
        "Missing": 1,
        "WrongSize": 1,
        "Unrecorded": 1,
        "Leaving": 0,
        "Foreign": 1,
        "Unreadable": 0,
    }
    assert more not in files_in(fpj.out)
    assert (fpj.out / "notes.txt").read_text() == "mine"
    assert fpj.run(photos).counts[0] in (1, 2)
    assert files_in(fpj.out) == made | {"notes.txt": before["notes.txt"]}
    assert fpj("verify", "--folder", str(fpj.out)).code == 0


def test_a_run_is_not_disturbed(fpj: Fpj, made: dict[str, str]) -> None:
    spoil(fpj, made)
    before = files_in(fpj.out)
    collection = fpj.job()["collection"]
    with closing(open_store(fpj.store)) as store:
        store.acquire_lease(lease_name(collection), "another host", 60, store.now())
    assert fpj("verify", "--repair").code == 3
    assert fpj("forget", collection, "--yes").code == 3
    assert files_in(fpj.out) == before


def test_a_folder_that_is_not_mounted_loses_nothing(fpj: Fpj, made: dict[str, str]) -> None:
    away = fpj.out.with_name("away")
    fpj.out.rename(away)
    fpj.out.mkdir()
    collection = fpj.job()["collection"]
    found = fpj("verify", "--repair")
    assert (found.code, "not mounted" in found.stderr) == (5, True)
    assert fpj("forget", collection, "--yes").code in (2, 5)
    fpj.out.rmdir()
    away.rename(fpj.out)
    assert fpj("verify").code == 0
    assert files_in(fpj.out) == made


def test_what_is_not_there_is_bad_input(fpj: Fpj, made: dict[str, str]) -> None:
    for command in (("verify", "--folder", "none"), ("verify", "--collection", "none")):
        found = fpj(*command)
        assert (found.code, "known:" in found.stderr) == (2, True)
    assert fpj("forget", "none", "--yes").code == 2
    assert files_in(fpj.out) == made


def test_a_collection_is_forgotten_by_the_name_of_its_job(
    fpj: Fpj, photos: Path, made: dict[str, str]
) -> None:
    originals = files_in(photos)
    job = fpj.job()
    name, collection = job["name"], job["collection"]
    done = fpj("forget", name, "--yes", "--json")
    assert done.code == 0, done.stderr
    receipt = document(done)
    assert (receipt["collection"], receipt["dryRun"]) == (collection, False)
    assert (receipt["files"], receipt["images"], receipt["jobs"]) == (8, 4, 1)
    assert [(each["tier"], each["files"]) for each in receipt["held"]] == [
        ("full", 4),
        ("thumbnail", 4),
    ]
    assert files_in(fpj.out) == {}
    assert (fpj.out / MARKER).exists()
    assert files_in(photos) == originals
    assert fpj.run(photos).counts == (4, 0, 0)
    assert files_in(fpj.out) == made


def test_nothing_is_forgotten_without_a_yes(fpj: Fpj, made: dict[str, str]) -> None:
    name = fpj.job()["name"]
    dry = fpj("forget", name, "--dry-run", "--json")
    assert (dry.code, document(dry)["files"], document(dry)["images"]) == (0, 8, 4)
    asked = fpj("forget", name)
    assert (asked.code, "8 files" in asked.stderr, "--yes" in asked.stderr) == (2, True, True)
    assert files_in(fpj.out) == made
