"""`fpj run` as a user meets it: made once, skipped after, made again where something changed."""

from __future__ import annotations

import json
import os
import pty
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from e2e.conftest import Fpj, files_in, manifest, photo, size_of, wait_for
from PIL import ExifTags, Image

from fpj_core.ids import collection_id_for
from fpj_core.kube.exits import CommandExit

SAMPLES = Path(__file__).parents[2] / "samples"
SIZES = {
    "autumn.avif": (1600, 1000),
    "badge.png": (480, 480),
    "book.cbz!/page1.jpg": (500, 700),
    "book.cbz!/page2.jpg": (500, 700),
    "book.cbz!/page10.jpg": (500, 700),
    "dawn.jpg": (1620, 1080),
    "dusk.tiff": (480, 320),
    "mist.webp": (1400, 900),
    "night-grey.jpg": (1200, 800),
    "noon.heic": (1200, 800),
    "print.jpg": (900, 600),
    "sideways.jpg": (720, 1080),
    "sixteen-bits.png": (270, 180),
    "small.bmp": (160, 120),
    "sunset.gif": (240, 160),
    "wide-gamut.jpg": (1200, 800),
}


def test_the_sample_images(fpj: Fpj) -> None:
    finished = fpj.run(SAMPLES)
    assert finished.code == 0, finished.stderr
    document = finished.json
    assert document["phase"] == "Completed"
    assert document["errorBreakdown"] == {}
    assert document["durationSeconds"] > 0
    assert document["progress"]["total"] == len(SIZES)
    assert finished.counts == (len(SIZES), 0, 0)
    rows = json.loads(fpj("outputs", "-o", "json").stdout)
    assert list(dict.fromkeys(row["key"] for row in rows)) == list(SIZES), "natural order"
    for row in rows:
        width, height = size_of(Path(row["path"]))
        assert (row["width"], row["height"]) == (width, height)
        assert Path(row["path"]).stat().st_size == row["bytes"]
        if row["tier"] == "full":
            assert (width, height) == SIZES[row["key"]]
        else:
            assert max(width, height) == min(300, max(SIZES[row["key"]]))
    assert len(files_in(fpj.out)) == len(rows) == 2 * len(SIZES)
    assert document["progress"]["bytesWritten"] == sum(row["bytes"] for row in rows)
    with closing(sqlite3.connect(fpj.store)) as store:
        assert store.execute("SELECT count(*) FROM derivatives").fetchone() == (len(rows),)
        hashes = [blob for (blob,) in store.execute("SELECT thumbhash FROM images")]
        assert all(5 <= len(blob) <= 37 for blob in hashes), "a placeholder with each image"


def test_a_second_run_decodes_nothing(fpj: Fpj, photos: Path) -> None:
    """Every file becomes garbage with the same size and time: whoever decoded one would fail."""
    assert fpj.run(photos).counts == (60, 0, 0)
    made = files_in(fpj.out)
    for path in photos.iterdir():
        stat = path.stat()
        path.write_bytes(b"\0" * stat.st_size)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    again = fpj.run(photos)
    assert again.code == 0
    assert again.counts == (0, 60, 0)
    assert again.json["phase"] == "Completed"
    assert files_in(fpj.out) == made


def test_what_changed_is_made_again(fpj: Fpj, photos: Path) -> None:
    fpj.run(photos)
    before = files_in(fpj.out)
    rows = json.loads(fpj("outputs", "-o", "json").stdout)
    path = {(row["key"], row["tier"]): str(Path(row["path"]).relative_to(fpj.out)) for row in rows}
    (photos / "7.jpg").write_bytes(photo(1007))
    (fpj.out / path["20.jpg", "full"]).unlink()
    os.truncate(fpj.out / path["30.jpg", "thumbnail"], 100)
    (photos / "8.jpg").unlink()
    (photos / "new.jpg").write_bytes(photo(2000))
    again = fpj.run(photos)
    assert again.counts == (4, 56, 0), (
        "the new one, the changed one, and two that lack a whole file"
    )
    after = files_in(fpj.out)
    changed = {name for name in before if before[name] != after.get(name)}
    changed_or_gone = {
        path[key, tier] for key in ("7.jpg", "8.jpg") for tier in ("full", "thumbnail")
    }
    assert changed == changed_or_gone, "what was lacking came out as it was"
    assert len(after) == len(before), "what was made of the one that is gone is gone, too"
    assert again.json["removed"]["byReason"] == {"Vanished": 2}


def test_changed_settings_make_that_tier_again(fpj: Fpj, photos: Path) -> None:
    fpj.run(photos, "--tier", "full=640x480", "--tier", "small=320x240")
    before = files_in(fpj.out)
    again = fpj.run(photos, "--tier", "full=640x480", "--tier", "small=200x200")
    assert again.counts == (60, 0, 0)
    after = files_in(fpj.out)
    assert set(before) == set(after)
    made = {path.split("/")[1] for path in before if before[path] != after[path]}
    assert made == {"small", "thumbnail"}, "a thumbnail is made from the next larger tier"
    webp = fpj.run(photos, "--tier", "full=640x480", "--tier", "small=200x200", "--format", "webp")
    assert webp.counts == (60, 0, 0)
    assert {Path(path).suffix for path in files_in(fpj.out)} == {".webp"}, (
        "the replaced files are gone"
    )


def test_force_makes_everything_again(fpj: Fpj, photos: Path) -> None:
    fpj.run(photos)
    path = next(iter(files_in(fpj.out)))
    os.utime(fpj.out / path, (1, 1))
    assert fpj.run(photos, "--force").counts == (60, 0, 0)
    assert (fpj.out / path).stat().st_mtime > 1
    assert fpj.run(photos).counts == (0, 60, 0)


def test_a_dry_run_does_nothing(fpj: Fpj, photos: Path) -> None:
    dry = fpj.run(photos, "--dry-run")
    assert dry.code == 0
    assert (dry.json["total"], dry.json["pending"]) == (60, 60)
    assert dry.json["reasons"]["new"] == 60
    assert not fpj.out.exists()
    assert not Path(fpj.store).exists()
    fpj.run(photos)
    assert fpj.run(photos, "--dry-run").json["pending"] == 0


@pytest.mark.parametrize(
    ("image_format", "suffixes"),
    [
        ("webp", {".webp"}),
        ("avif", {".avif"}),
        ("png", {".png"}),
        ("original", {".jpg", ".png", ".webp", ".avif"}),
    ],
)
def test_every_output_format(
    fpj: Fpj, tmp_path: Path, image_format: str, suffixes: set[str]
) -> None:
    source = tmp_path / "few"
    source.mkdir()
    for name in ("JPEG", "PNG", "WEBP", "AVIF"):
        (source / f"a.{name.lower()}").write_bytes(photo(1, 320, 240, name))
    assert fpj.run(
        source, "--format", image_format, "--thumbnail", "80x80", "--fit", "cover"
    ).counts == (4, 0, 0)
    made = [fpj.out / path for path in files_in(fpj.out)]
    assert {path.suffix for path in made} == suffixes
    assert {size_of(path) for path in made} == {(320, 240), (80, 80)}


def test_a_manifest_and_its_cache_folder(fpj: Fpj, photos: Path, tmp_path: Path) -> None:
    path = manifest(
        tmp_path / "nightly.yaml",
        photos,
        jobType="Thumbnail",
        thumbnail={"width": 64, "height": 64},
    )
    folder: dict[str, Any] = {
        "apiVersion": "fpj.dev/v1alpha1",
        "kind": "CacheFolder",
        "metadata": {"name": "fast"},
        "spec": {"storage": {"local": {"path": str(fpj.out)}}},
    }
    path.write_text(f"{path.read_text()}\n---\n{json.dumps(folder)}\n")
    finished = fpj("run", path, "--json")
    assert finished.counts == (60, 0, 0), finished.stderr
    made = files_in(fpj.out)
    assert {name.split("/")[:2] == ["photos", "thumbnail"] for name in made} == {True}
    assert len(made) == 60
    assert "nightly" in fpj("get").stdout
    stats = json.loads(fpj("stats", "-o", "json").stdout)
    assert stats["folders"][0]["name"] == "fast"
    assert stats["folders"][0]["files"] == 60
    assert fpj("run", path, "--json").counts == (0, 60, 0)


def test_a_bad_manifest_says_where(fpj: Fpj, photos: Path, tmp_path: Path) -> None:
    path = manifest(tmp_path / "typo.yaml", photos, thumbnail={"widht": 64})
    finished = fpj("run", path)
    assert finished.code == 2
    assert "spec.thumbnail.widht" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_mongodb_as_the_store(fpj: Fpj, photos: Path, mongodb_server: str) -> None:
    fpj.store = f"{mongodb_server}/e2e_{os.getpid()}_{os.urandom(4).hex()}"
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2026:11:28 10:20:30"
    (photos / "7.jpg").write_bytes(photo(7, 80, 60, exif=exif))
    assert fpj.run(photos).counts == (60, 0, 0)
    made = files_in(fpj.out)
    assert len(made) == 120
    exported = {each["source"]: each for each in map(json.loads, fpj("export").stdout.splitlines())}
    assert exported.keys() == {path.name for path in photos.iterdir()}
    paths = {
        tier["path"]: tier["bytes"] for each in exported.values() for tier in each["tiers"].values()
    }
    assert paths == {path: (fpj.out / path).stat().st_size for path in made}
    assert exported["7.jpg"]["capturedAt"].startswith("2026-11-28T10:20:30")
    assert all(each["thumbHash"] and each["color"] and each["srcset"] for each in exported.values())
    assert fpj.listed("find", "7.jpg") == [exported["7.jpg"]]
    assert len(fpj("export", "--format", "csv").stdout.splitlines()) == 61
    (fpj.out / next(iter(made))).unlink()
    assert fpj.run(photos).counts == (1, 59, 0)
    assert files_in(fpj.out) == made


def test_the_cache_inside_the_source_is_not_a_source(fpj: Fpj, photos: Path) -> None:
    fpj.out = photos / "cache"
    assert fpj.run(photos).counts == (60, 0, 0)
    assert fpj.run(photos).counts == (0, 60, 0)


def test_an_empty_folder(fpj: Fpj, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    finished = fpj.run(empty)
    assert (finished.code, finished.counts) == (0, (0, 0, 0))


def test_a_second_run_on_the_collection_waits_for_none(
    fpj: Fpj, photos: Path, tmp_path: Path
) -> None:
    """Two at once would write the same files and count them twice:
    the second says who is working on it, and ends.
    """
    first = fpj.start(
        "run", manifest(tmp_path / "a.yaml", photos), "--out", fpj.out, "--force", "--json"
    )
    try:
        wait_for(lambda: any(fpj.out.rglob("*.jpg")), "the first file")
        first.send_signal(signal.SIGSTOP)  # it holds the collection for as long as this test needs
        second = fpj("run", manifest(tmp_path / "b.yaml", photos), "--out", fpj.out)
        first.send_signal(signal.SIGCONT)
        stdout, _ = first.communicate(timeout=60)
    finally:
        first.kill()
    assert second.code == CommandExit.HELD
    assert f"process {first.pid}" in second.stderr
    assert json.loads(stdout)["progress"]["completed"] == 60


def test_the_live_display(fpj: Fpj, photos: Path) -> None:
    """On a terminal: a bar while it works, and a summary that stays."""
    ours, theirs = pty.openpty()
    process = fpj.start("run", photos, "--out", fpj.out, stderr=theirs, stdout=theirs)
    os.close(theirs)
    shown = b""
    try:
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # the terminal's other end is closed
                break
            if not chunk:
                break
            shown += chunk
    finally:
        os.close(ours)
        process.wait(60)
    text = shown.decode()
    assert process.returncode == 0
    assert "Making images" in text
    assert "60/60" in text or "%" in text
    assert "Completed" in text
    assert "60 made" in text


def test_what_is_left_out_is_counted_and_named_and_keeps_what_was_made_of_it(
    fpj: Fpj, tmp_path: Path
) -> None:
    source = tmp_path / "album"
    for name in ("a.jpg", "b.jpg", "drafts/c.jpg", "old/d.jpg"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(photo(1, 80, 60))
    (source / "a.nef").write_bytes(b"sensor data")
    assert fpj.run(source).counts == (4, 0, 0)
    made = files_in(fpj.out)
    filtered = ("--exclude", "b.jpg", "--exclude", "drafts/")
    dry = fpj.run(source, *filtered, "--dry-run", "--verbose")
    assert (dry.json["total"], dry.json["leftOut"]) == (
        2,
        {"excluded": 1, "excludedFolder": 1, "raw": 1},
    )
    (source / ".fpjignore").write_text("old/\n")
    again = fpj.run(source, *filtered, "-v")
    assert (again.code, again.counts) == (0, (0, 1, 0))
    assert again.json["leftOut"] == {"excluded": 1, "excludedFolder": 2, "raw": 1}
    named = {line for line in again.stderr.splitlines() if line.startswith(("raw ", "excluded"))}
    assert named == {
        "raw  a.nef",
        "excluded  b.jpg",
        "excludedFolder  drafts",
        "excludedFolder  old",
    }
    assert "Left out: 1 by filter, 2 folders by filter, 1 raw file" in again.stderr
    (source / ".fpjignore").unlink()
    assert files_in(fpj.out) == made
    assert fpj.run(source).counts == (0, 4, 0), "nothing is lost, nothing is made again"
    nothing = fpj.run(source, "--include", "*.jpgg")
    assert nothing.code == 0 and "The filter leaves out every image" in nothing.stderr
    assert files_in(fpj.out) == made
    assert "raw file" in fpj("run", source / "a.nef").stderr
    wrong = fpj.run(source, "--exclude", "!")
    assert (wrong.code, wrong.json["error"]["type"]) == (2, "UsageProblem")
    assert "--exclude" in wrong.stderr and "spec" not in wrong.stderr


def test_collections_are_named_after_their_folder(fpj: Fpj, photos: Path) -> None:
    fpj.run(photos)
    assert {path.split("/")[0] for path in files_in(fpj.out)} == {collection_id_for(photos)}


def test_without_out_a_collection_stays_where_it_is_and_it_is_said(
    fpj: Fpj, tmp_path: Path
) -> None:
    source = tmp_path / "two"
    for folder in ("two", "here", "there"):
        (tmp_path / folder).mkdir()
    (source / "a.jpg").write_bytes(photo(1, 80, 60))
    (source / "b.jpg").write_bytes(b"no image")
    first = fpj("run", source, "--max-failed", "1", "--json", cwd=tmp_path / "here")
    assert (first.code, first.counts) == (0, (1, 0, 1)), "so many may fail"
    assert f"Writing to {tmp_path}/here/fpj-out" in first.stderr
    second = fpj("run", source, "--max-failed", "0", "--json", cwd=tmp_path / "there")
    assert f"Writing to {tmp_path}/here/fpj-out" in second.stderr
    assert (second.code, second.json["reason"], second.json["exitCode"]) == (
        1,
        "TooManyFailedImages",
        1,
    )
    assert os.listdir(tmp_path / "there") == []
    # As by a version whose engine makes other bytes.
    with closing(sqlite3.connect(fpj.store)) as store:
        store.execute(
            "UPDATE jobs SET document = json_set(document, '$.digest', 'of another version')"
        )
        store.commit()
    upgraded = fpj("run", source, "--max-failed", "1", "--json", cwd=tmp_path / "there")
    assert upgraded.json["cacheFolder"] == f"{tmp_path}/here/fpj-out", "an upgrade does not move it"
    assert (
        fpj("resume", "--json", cwd=tmp_path / "there").json["cacheFolder"]
        == f"{tmp_path}/here/fpj-out"
    )
    assert os.listdir(tmp_path / "there") == []
