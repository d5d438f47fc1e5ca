"""`fpj export`, `fpj find`, `fpj outputs`: everything that was made gets out,
none of it in silence left behind.
"""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fpj_cli.export import images_of, srcset
from fpj_cli.main import cli
from fpj_core.ids import image_id
from fpj_core.model import Derivative, Folder, ImageRecord, Job, Phase
from fpj_core.paths import derivative_path
from fpj_core.store import open_store
from fpj_core.store.protocol import Store

PHOTOS = 2_100


def image(number: int, key: str | None = None) -> ImageRecord:
    key = key or f"a folder/{number}.jpg"
    return ImageRecord(
        "album",
        number,
        image_id("album", key),
        key,
        10,
        "v1",
        False,
        3000,
        2000,
        "jpeg",
        b"\x01\x02\x03",
        "#aabbcc",
        captured_at="2024-05-01T12:30:00+02:00",
    )


def derivative(of: ImageRecord, tier: str, width: int, height: int) -> Derivative:
    path = derivative_path("album", tier, of.id, "jpg")
    return Derivative(
        of.id, tier, "album", of.ordinal, "d", "v1", "cache", path, width, height, 99, "j" * 8, 1.0
    )


def put(store: Store, derivatives: list[Derivative]) -> None:
    """Past shards, which this is not about."""
    with store._connection.write() as db:  # type: ignore[attr-defined]
        db.executemany(
            f"INSERT INTO derivatives VALUES (1{', ?' * 13}, 0)",
            [
                (
                    d.ordinal,
                    d.tier,
                    d.image,
                    d.digest,
                    d.source_version,
                    d.folder,
                    d.path,
                    d.width,
                    d.height,
                )
                + (d.bytes, d.job, 0, d.created_at)
                for d in derivatives
            ],
        )
        db.execute(
            "INSERT INTO counters VALUES ('cache', 1, 'full', 1, 1), ('cache', 1, 'thumbnail',"
            " 1, 1)"
        )


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """More images than a page; the last one failed,
    the one before is a folder that could not be listed.
    """
    path = str(tmp_path_factory.mktemp("store") / "store.db")
    store = open_store(path)
    store.upsert_folder(Folder("cache", "/cache"))
    source = {"spec": {"collection": {"source": {"local": {"path": "/photos/Anna & Björn"}}}}}
    store.create_job(
        Job("j" * 8, "album", "album", source, "digest", phase=Phase.COMPLETED, created_at=1.0)
    )
    images = [image(n) for n in range(PHOTOS)]
    for start in range(0, PHOTOS, 1_000):
        store.upsert_images(images[start : start + 1_000], 0)
    store.upsert_images([replace(image(PHOTOS, "locked"), version="problem:AccessDenied:no")], 0)
    store.upsert_images(
        [replace(image(PHOTOS + 1, "bad.jpg"), width=None, height=None, format=None)], 0
    )
    put(
        store,
        [
            derivative(each, *made)
            for each in images
            for made in (("full", 1620, 1080), ("thumbnail", 300, 200))
        ],
    )
    store.close()
    return path


def fpj(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--store", url], catch_exceptions=False)


def test_every_image_is_one_line_of_json(url: str) -> None:
    lines = [json.loads(line) for line in fpj(url, "export").stdout.splitlines()]
    assert len(lines) == PHOTOS + 1, (
        "an entry that could not be listed is not an image; one that failed is"
    )
    full, small = (
        derivative_path("album", tier, image(0).id, "jpg") for tier in ("full", "thumbnail")
    )
    assert lines[0] == {
        "source": "a folder/0.jpg",
        "id": image(0).id,
        "bytes": 10,
        "width": 3000,
        "height": 2000,
        "format": "jpeg",
        "thumbHash": "AQID",
        "color": "#aabbcc",
        "capturedAt": "2024-05-01T12:30:00+02:00",
        "tiers": {
            "full": {"folder": "/cache", "path": full, "width": 1620, "height": 1080, "bytes": 99},
            "thumbnail": {
                "folder": "/cache",
                "path": small,
                "width": 300,
                "height": 200,
                "bytes": 99,
            },
        },
        "srcset": f"{small} 300w, {full} 1620w",
    }
    assert lines[-1]["tiers"] == {}
    assert (lines[-1]["source"], lines[-1]["width"], lines[-1]["srcset"]) == ("bad.jpg", None, "")


def test_every_image_is_one_row_of_csv(url: str) -> None:
    rows = list(
        csv.DictReader(
            fpj(url, "export", "--format", "csv", "--base-url", "/img/").stdout.splitlines()
        )
    )
    assert len(rows) == PHOTOS + 1
    assert rows[0]["full.path"] == derivative_path("album", "full", image(0).id, "jpg")
    assert rows[0]["srcset"].startswith("/img/album/thumbnail/")
    assert rows[0]["thumbnail.bytes"] == "99"
    assert rows[0]["capturedAt"] == "2024-05-01T12:30:00+02:00"
    assert rows[-1]["full.path"] == ""


def test_an_export_into_a_file_appears_whole(url: str, tmp_path: Path) -> None:
    target = tmp_path / "images.jsonl"
    target.write_text("earlier export")
    before = target.stat().st_ino
    assert fpj(url, "export", "--to", str(target)).exit_code == 0
    assert target.stat().st_ino != before, "whoever reads the earlier file keeps reading that"
    assert len(target.read_text().splitlines()) == PHOTOS + 1
    assert [each.name for each in tmp_path.iterdir()] == ["images.jsonl"]


def test_outputs_does_not_stop_at_a_hundred(url: str) -> None:
    assert len(json.loads(fpj(url, "outputs", "-o", "json").stdout)) == 2 * PHOTOS
    assert len(fpj(url, "outputs").stdout.splitlines()) == 2 * PHOTOS + 1
    few = fpj(url, "outputs", "--limit", "2")
    assert len(few.stdout.splitlines()) == 5
    assert "more" in few.stderr


@pytest.mark.parametrize(
    "name",
    [
        "a folder/7.jpg",
        "7.jpg",
        "/photos/Anna & Björn/a folder/7.jpg",
        "*/7.jp?",
        image(7).id,
        f"/cache/{derivative_path('album', 'full', image(7).id, 'jpg')}",
        f"https://host/{derivative_path('album', 'thumbnail', image(7).id, 'jpg')}",
    ],
)
def test_an_image_is_found_by_its_name_and_by_what_was_made_of_it(url: str, name: str) -> None:
    found = json.loads(fpj(url, "find", name, "-o", "json").stdout)
    assert {each["source"] for each in found} == {"a folder/7.jpg"}
    assert set(found[0]["tiers"]) == {"full", "thumbnail"}
    assert "a folder/7.jpg" in fpj(url, "find", name).stdout


def test_a_name_may_be_relative_to_where_one_is(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getcwd", lambda: "/photos")
    found = json.loads(fpj(url, "find", "Anna & Björn/a folder/7.jpg", "-o", "json").stdout)
    assert [each["source"] for each in found] == ["a folder/7.jpg"]


def test_what_is_not_there_is_not_found(url: str) -> None:
    assert fpj(url, "find", "/elsewhere/7.jpg").exit_code == 1
    assert fpj(url, "find", "nothing.jpg").exit_code == 1
    assert fpj(url, "find", "nothing.jpg", "-o", "json").exit_code == 1


def test_files_that_show_what_an_image_was_before_are_not_exported(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store.db"))
    store.upsert_images([replace(image(0), version="v2")], 0)
    put(store, [derivative(image(0), "full", 1620, 1080)])
    assert [made for _, made in images_of(store, "album", ["full"])] == [[]]
    store.close()


def test_a_srcset_holds_what_shows_the_same_picture() -> None:
    whole = replace(image(0), width=4000, height=3000)
    same = derivative(whole, "full", 1440, 1080)
    cropped = derivative(whole, "thumbnail", 300, 300)
    twin = derivative(whole, "other", 1440, 1080)
    odd = derivative(replace(whole, key="x"), "odd", 401, 301)
    made = srcset(whole, [same, cropped, twin, odd], "")
    assert [part.rpartition(" ")[2] for part in made.split(", ")] == ["401w", "1440w"]
    comma = replace(same, path="album/full/a, b 1x.jpg")
    assert srcset(whole, [comma], "https://h/") == "https://h/album/full/a%2C%20b%201x.jpg 1440w"
