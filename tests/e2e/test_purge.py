"""`fpj purge`: what was made of some images goes at once, and nothing else does."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from e2e.conftest import Finished, Fpj, files_in, photo
from unit.worker.test_webhook import SECRET, served

from fpj_core.kube.names import lease_name
from fpj_core.store import open_store


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for number in range(6):
        (folder / "sub" / f"{number}.jpg").write_bytes(photo(number, 80, 60))
    return folder


def receipt(finished: Finished) -> list[dict[str, Any]]:
    """What a purge says that it has removed."""
    return list(json.loads(finished.stdout))


@pytest.fixture
def made(fpj: Fpj, photos: Path) -> dict[str, str]:
    assert fpj.run(photos).counts == (6, 0, 0)
    return files_in(fpj.out)


def test_an_image_is_purged_with_a_receipt(fpj: Fpj, photos: Path, made: dict[str, str]) -> None:
    originals = files_in(photos)
    purged = fpj("purge", "sub/3.jpg", "--yes", "--json")
    assert purged.code == 0, purged.stderr
    assert [(each["source"], each["tier"]) for each in receipt(purged)] == [
        ("sub/3.jpg", "full"),
        ("sub/3.jpg", "thumbnail"),
    ]
    gone = {str(Path(each["path"]).relative_to(fpj.out)) for each in receipt(purged)}
    assert files_in(fpj.out) == {name: each for name, each in made.items() if name not in gone}
    assert files_in(photos) == originals
    assert fpj("purge", "sub/3.jpg", "--yes").code == 1, "there is nothing any more"
    again = fpj.run(photos)
    assert again.counts == (1, 5, 0)
    assert files_in(fpj.out) == made


def test_a_pattern_purges_many_and_says_so(fpj: Fpj, made: dict[str, str]) -> None:
    purged = fpj("purge", "*", "--yes")
    assert purged.code == 0
    assert len(purged.stdout.splitlines()) == 1 + 12
    assert "Removed 12 files" in purged.stderr
    assert files_in(fpj.out) == {}
    assert fpj.listed("outputs") == []


def test_what_was_kept_of_an_image_that_is_gone_is_found(
    fpj: Fpj, photos: Path, made: dict[str, str]
) -> None:
    (photos / "sub" / "0.jpg").unlink()
    fpj.run(photos, "--keep-vanished")
    assert files_in(fpj.out) == made
    assert len(receipt(fpj("purge", "0.jpg", "--yes", "--json"))) == 2
    assert len(files_in(fpj.out)) == 10


def test_nothing_goes_without_a_yes(fpj: Fpj, made: dict[str, str]) -> None:
    asked = fpj("purge", "3.jpg")
    assert (asked.code, "use --yes" in asked.stderr) == (2, True)
    assert "3.jpg" in asked.stderr
    assert files_in(fpj.out) == made


def test_nothing_goes_while_a_run_holds_the_collection(fpj: Fpj, made: dict[str, str]) -> None:
    collection = fpj.job()["collection"]
    with closing(open_store(fpj.store)) as store:
        store.acquire_lease(lease_name(collection), "another host", 60, store.now())
    refused = fpj("purge", "3.jpg", "--yes")
    assert refused.code == 3, refused.stderr
    assert files_in(fpj.out) == made


def test_a_folder_that_is_not_mounted_loses_nothing(fpj: Fpj, made: dict[str, str]) -> None:
    """The next run, or purge, removes what is left."""
    away = fpj.out.with_name("away")
    fpj.out.rename(away)
    fpj.out.mkdir()
    purged = fpj("purge", "3.jpg", "--yes", "--json")
    assert (purged.code, receipt(purged)) == (5, []), purged.stderr
    assert "marker" in purged.stderr
    fpj.out.rmdir()
    away.rename(fpj.out)
    assert files_in(fpj.out) == made
    assert fpj("purge", "4.jpg", "--yes").code == 0
    assert len(files_in(fpj.out)) == 8


def test_a_webhook_gets_the_urls_of_what_is_gone(
    fpj: Fpj, made: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FPJ_WEBHOOK_TOKEN", SECRET)
    with served() as (url, asked):
        hook = ("--webhook", url, "--base-url", "https://img.example.com/c")
        purged = fpj("purge", "sub/3.jpg", "--yes", "--json", *hook)
    assert purged.code == 0, purged.stderr
    paths = sorted(str(Path(each["path"]).relative_to(fpj.out)) for each in receipt(purged))
    ((_, authorization, body),) = asked
    assert authorization == f"Bearer {SECRET}"
    assert sorted(body["urls"]) == [f"https://img.example.com/c/{path}" for path in paths]
    assert SECRET not in purged.stderr + purged.stdout


def test_a_webhook_that_fails_is_said_and_the_files_are_gone(
    fpj: Fpj, made: dict[str, str]
) -> None:
    with served(403) as (url, _):
        purged = fpj("purge", "3.jpg", "--yes", "--webhook", url, "--base-url", "https://h")
    assert purged.code == 0, "what was asked for is done"
    assert "has not accepted 2 URLs: 127.0.0.1 answers with status 403" in purged.stderr
    assert len(files_in(fpj.out)) == 10


@pytest.mark.parametrize(
    "options",
    [
        ("--webhook", "https://h"),
        ("--base-url", "https://h"),
        ("--webhook", "ftp://h", "--base-url", "https://h"),
    ],
)
def test_a_webhook_that_cannot_be_used_is_said_before_anything_goes(
    fpj: Fpj, made: dict[str, str], options: tuple[str, ...]
) -> None:
    refused = fpj("purge", "3.jpg", "--yes", *options)
    assert (refused.code, "--webhook" in refused.stderr) == (2, True)
    assert files_in(fpj.out) == made
