"""Broken files, files that mean harm, folders that cannot be used: each costs itself,
for the right reason.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import sqlite3
import struct
import subprocess
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from e2e.conftest import (
    Finished,
    Fpj,
    files_in,
    injecting,
    manifest,
    photo,
    size_of,
    wait_for,
    without_privileges,
)
from PIL import Image

from fpj_core.errors import ErrorType
from fpj_core.ids import collection_id_for
from fpj_core.sources.keys import display_key, key_from_path

CORRUPT, UNSUPPORTED, DENIED = (
    ErrorType.CORRUPT_IMAGE,
    ErrorType.UNSUPPORTED_FORMAT,
    ErrorType.ACCESS_DENIED,
)
VIOLATION, GONE, LARGE = ErrorType.PATH_VIOLATION, ErrorType.NOT_FOUND, ErrorType.TOO_LARGE
CRASHED = ErrorType.WORKER_CRASHED

FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpg": ("JPEG", {}),
    "progressive.jpg": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "gif": ("GIF", {}),
    "webp": ("WEBP", {}),
    "lossless.webp": ("WEBP", {"lossless": True}),
    "tiff": ("TIFF", {}),
    "lzw.tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "avif": ("AVIF", {}),
    "bmp": ("BMP", {}),
}
KEPT = (0.1, 0.5, 0.9, 0.995)
"""The shares of their bytes that cut files keep."""

NAMES = (
    b"two\nlines.jpg",
    b"  spaces  around  .jpg",
    "smile \N{GRINNING FACE}.jpg".encode(),
    b"caf\xe9.jpg",
    b"n" * 251 + b".jpg",
    "\N{GRINNING FACE}".encode() * 62 + b"abc.jpg",
    b"-rf.jpg",
    b"[red]markup[/] :smile:.jpg",
    b"back\\slash.jpg",
    b"a!",
    b"\x1b[31mred.jpg",
    b'quote\'s and "quotes" $(touch x) `touch x` %s {0}.jpg',
)
"""Names that somebody's files have. All of them are images."""

MISBEHAVING = {
    "hangs.jpg": ErrorType.DECODE_TIMEOUT,
    "aborts.jpg": CRASHED,
    "segfaults.jpg": CRASHED,
    "exits.jpg": CRASHED,
    "raises.jpg": ErrorType.INTERNAL,
    "eats-memory.jpg": ErrorType.OUT_OF_MEMORY,
    "dies-writing.jpg": CRASHED,
    "cannot-be-written.jpg": ErrorType.DISK_FULL,
    "vanishes.jpg": GONE,
}
"""What `injected/decoder` does over images so named."""

MOST_MEMORY = 600 * 2**20
"""Bytes that a run with two workers may hold, which is less than some of the bad files would take
alone.
"""


@dataclass
class Case:
    """A folder, and what is to become of each image in it."""

    folder: Path
    good: set[str] = field(default_factory=set)
    bad: dict[str, ErrorType] = field(default_factory=dict)
    flipped: set[str] = field(default_factory=set)
    """Of the good and the bad ones, those with a flipped bit."""

    def put(self, name: str | bytes, data: bytes, error: ErrorType | None = None) -> Path:
        path = Path(os.fsdecode(os.path.join(os.fsencode(self.folder), os.fsencode(name))))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.expect(key_from_path(name), error)
        return path

    def expect(self, key: str, error: ErrorType | None = None) -> None:
        if error is None:
            self.good.add(key)
        else:
            self.bad[key] = error


@dataclass
class BadRun:
    """The one run over all bad files, and the world around it."""

    case: Case
    fpj: Fpj
    finished: Finished
    failures: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    before: dict[str, tuple[int, ...]]
    after: dict[str, tuple[int, ...]]
    most_memory: int


@pytest.fixture(scope="module")
def bad_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BadRun]:
    root = tmp_path_factory.mktemp("bad")
    case = Case(root / "source")
    for fill in (
        put_good,
        put_cut,
        put_flipped,
        put_misnamed,
        put_bombs,
        put_archives,
        put_misbehaving,
        put_vanishing,
    ):
        fill(case)
    put_links(case, root / "elsewhere")
    for place in ("scratch", "marks", "here"):
        (root / place).mkdir()
    unreadable = put_unreadable(case)
    environment = injecting("decoder") | {
        "PYTHON_TEST_MARKS": str(root / "marks"),
        "TMPDIR": str(root / "scratch"),
    }
    fpj = Fpj(str(root / "store" / "fpj.db"), root / "out", environment, without_privileges())
    job = manifest(
        root / "bad.yaml", case.folder, limits={"imageTimeoutSeconds": 4, "maxAttemptsPerImage": 2}
    )
    before = snapshot(root)
    process = fpj.start("run", job, "--out", fpj.out, "--json", "--workers", 2, cwd=root / "here")
    memory = watch_memory(fpj, process)
    stdout, stderr = process.communicate(timeout=110)
    most_memory = memory()
    after = snapshot(root)
    failures = fpj.listed("failures", "--limit", 1000)
    outputs = fpj.listed("outputs", "--limit", 1000)
    finished = Finished(process.returncode, stdout, stderr)
    yield BadRun(case, fpj, finished, failures, outputs, before, after, most_memory)
    for path in unreadable:
        path.chmod(0o700)
    wait_for(lambda: not fpj.processes(), "the end of every process of the run", 15)


# What lies in the folder --------------------------------------------------------------------------


def put_good(case: Case) -> None:
    for number, name in enumerate(NAMES):
        case.put(b"names/" + name, photo(number, 80, 60))
    for ending, (image_format, options) in FORMATS.items():
        case.put(f"whole/a.{ending}", photo(7, 80, 60, image_format, **options))


def put_cut(case: Case) -> None:
    for name, (image_format, options) in FORMATS.items():
        data = photo(3, 320, 240, image_format, **options)
        for kept in KEPT:
            case.put(f"cut/{kept}.{name}", data[: int(len(data) * kept)], CORRUPT)


def put_flipped(case: Case) -> None:
    """One flipped bit each. Where another decoder still makes a picture of it, so must fpj."""
    chance = random.Random(11)
    for number in range(30):
        data = bytearray(photo(5, 320, 240, "JPEG", progressive=number % 2 == 0))
        data[chance.randrange(len(data) // 8, len(data) - 2)] ^= 1 << chance.randrange(8)
        key = f"flipped/{number}.jpg"
        case.put(key, bytes(data), None if decodes(bytes(data)) else CORRUPT)
        case.flipped.add(key)


def put_misnamed(case: Case) -> None:
    case.put("misnamed/png.jpg", photo(1, 80, 60, "PNG"))
    case.put("misnamed/jpeg.png", photo(2, 80, 60))
    case.put("misnamed/webp", photo(3, 80, 60, "WEBP"))
    case.put("misnamed/empty.jpg", b"", CORRUPT)
    case.put("misnamed/text.jpg", b"hello, I am text", UNSUPPORTED)
    case.put("misnamed/a\nb \x1b[31m[/odd].jpg", b"hello, I am text", UNSUPPORTED)
    case.put("misnamed/markup[/y].jpg", b"hello, I am text", UNSUPPORTED)
    case.put("misnamed/page.png", b"<html>404</html>", UNSUPPORTED)
    case.put("misnamed/photoshop.jpg", b"8BPS\0\1" + bytes(40), UNSUPPORTED)
    for name in ("photoshop.psd", "raw.cr2", "video.mov"):
        (case.folder / "misnamed" / name).write_bytes(photo(1, 80, 60))
    case.put("misnamed/archive.jpg", zipped({"a.jpg": photo(1, 80, 60)}), UNSUPPORTED)
    (case.folder / "misnamed/notes.txt").write_text("no image, and does not say that it is one")
    os.mkfifo(case.folder / "misnamed/pipe.jpg")


def put_bombs(case: Case) -> None:
    case.put("bombs/60000x60000.png", png(60_000, 60_000, bytes(10_000)), ErrorType.TOO_MANY_PIXELS)
    with case.put("bombs/600-megabytes.jpg", photo(1, 80, 60), LARGE).open("r+b") as sparse:
        sparse.truncate(600 * 10**6)


def put_archives(case: Case) -> None:
    image = photo(4, 80, 60)
    deep = zipped({"a.jpg": image})
    for level in range(10):
        deep = zipped({f"{level}.zip": deep})
    members = {
        "good.jpg": (image, None),
        "../../x.jpg": (image, VIOLATION),
        "folder/../../../x.jpg": (image, VIOLATION),
        "/absolute.jpg": (image, VIOLATION),
        "C:\\x.jpg": (image, VIOLATION),
        "bomb.png": (png(400, 400, b"") + bytes(64 * 2**20), LARGE),
        "deep.zip": (deep, UNSUPPORTED),
        "text.jpg": (b"hello, I am text", UNSUPPORTED),
        "cut.jpg": (image[:-200], CORRUPT),
    }
    case.put("pack/a.zip", zipped({name: data for name, (data, _) in members.items()}))
    case.good.remove("pack/a.zip")
    for name, (_, error) in members.items():
        case.expect(f"pack/a.zip!/{key_from_path(name)}", error)
    case.put("pack/text.zip", b"hello, I am text", CORRUPT)
    case.put("pack/cut.cbz", zipped({"a.jpg": image})[:-30], CORRUPT)
    lying = io.BytesIO()
    with zipfile.ZipFile(lying, "w") as archive:
        archive.writestr("a.jpg", image)
        archive.getinfo("a.jpg").file_size = 500
    case.put("pack/lying.zip", lying.getvalue())
    case.good.remove("pack/lying.zip")
    case.expect("pack/lying.zip!/a.jpg", CORRUPT)


def put_misbehaving(case: Case) -> None:
    for name, error in MISBEHAVING.items():
        case.put(name, photo(6), error)


def put_vanishing(case: Case) -> None:
    """The first image that is decoded takes the folder along.

    Far more lies between than is read ahead.
    """
    case.put("0-takes-a-folder-along.jpg", photo(8, 80, 60))
    for number in range(3):
        case.put(f"vanishing/{number}.jpg", photo(8, 80, 60), GONE)


def put_links(case: Case, outside: Path) -> None:
    outside.mkdir()
    (outside / "secret.jpg").write_bytes(photo(9, 80, 60))
    links = case.folder / "links"
    links.mkdir()
    for name, secret in (("file.jpg", outside / "secret.jpg"), ("folder", outside)):
        (links / name).symlink_to(secret)
    for name, target, error in (
        ("itself.jpg", "itself.jpg", VIOLATION),
        ("nothing.jpg", "nothing-there.jpg", GONE),
    ):
        (links / name).symlink_to(target)
        case.expect(f"links/{name}", error)
    (links / "up").symlink_to("..")


def put_unreadable(case: Case) -> list[Path]:
    """Returns what must be made readable again for pytest to remove it."""
    case.put("unreadable/file.jpg", photo(1, 80, 60), DENIED).chmod(0)
    case.put("unreadable/archive.zip", zipped({"a.jpg": photo(1, 80, 60)}), DENIED).chmod(0)
    inside = case.put("unreadable/folder/a.jpg", photo(1, 80, 60))
    case.good.remove("unreadable/folder/a.jpg")
    case.expect("unreadable/folder", DENIED)
    inside.parent.chmod(0)
    return [inside.parent]


def decodes(data: bytes) -> bool:
    try:
        Image.open(io.BytesIO(data)).load()
    except (OSError, SyntaxError, ValueError):
        return False
    return True


def png(width: int, height: int, raw: bytes) -> bytes:
    """A PNG file that claims a size, whatever it holds."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def zipped(members: Mapping[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return target.getvalue()


def snapshot(root: Path) -> dict[str, tuple[int, ...]]:
    """Everything outside the cache folder and the store: kind, size, time of change."""
    found: dict[str, tuple[int, ...]] = {}
    for folder, folders, names in os.walk(root):
        if Path(folder) == root:
            folders[:] = [name for name in folders if name not in ("out", "store")]
        for name in [*folders, *names]:
            info = os.lstat(os.path.join(folder, name))
            directory = name in folders
            found[os.path.relpath(os.path.join(folder, name), root)] = (
                info.st_mode,
                *((0, 0) if directory else (info.st_size, info.st_mtime_ns)),
            )
    return found


def watch_memory(fpj: Fpj, process: subprocess.Popen[str]) -> Callable[[], int]:
    """Watch what the command and its children hold.

    The function returned tells the most, in bytes.
    """
    most = 0

    def watch() -> None:
        nonlocal most
        while process.poll() is None:
            held = 0
            for each in fpj.processes():
                with suppress(psutil.Error):
                    held += each.memory_info().rss
            most = max(most, held)

    watcher = threading.Thread(target=watch)
    watcher.start()

    def stop() -> int:
        watcher.join()
        return most

    return stop


# The run over all of them -------------------------------------------------------------------------


def test_each_bad_file_fails_for_its_own_reason(bad_run: BadRun) -> None:
    assert {each["key"]: each["errorType"] for each in bad_run.failures} == bad_run.case.bad
    assert all(each["message"] for each in bad_run.failures)


def test_all_others_are_made(bad_run: BadRun) -> None:
    finished, case = bad_run.finished, bad_run.case
    assert finished.code == 1, finished.stderr
    assert finished.counts == (len(case.good), 0, len(case.bad))
    assert finished.json["phase"] == "CompletedWithErrors"
    assert finished.json["progress"]["total"] == len(case.good) + len(case.bad)
    assert finished.json["errorBreakdown"] == Counter(case.bad.values())
    assert finished.json["leftOut"] == {"raw": 1, "photoshop": 1, "video": 1, "outwardLink": 2}
    assert {row["key"] for row in bad_run.outputs} == case.good
    for row in bad_run.outputs:
        assert size_of(Path(row["path"])) == (row["width"], row["height"])
    assert "Traceback" not in finished.stderr


def test_what_may_pass_is_tried_again_and_nothing_else(bad_run: BadRun) -> None:
    attempts = {each["key"]: each["attempts"] for each in bad_run.failures}
    assert attempts == {key: 2 if error.transient else 1 for key, error in bad_run.case.bad.items()}


def test_flipped_bits_are_flagged(bad_run: BadRun) -> None:
    """Where libjpeg notices the damage and yet decodes, the image has a warning.

    No sound image has one.
    """
    with closing(sqlite3.connect(bad_run.fpj.store)) as store:
        flagged = dict(store.execute("SELECT key, warning FROM images WHERE warning IS NOT NULL"))
    made = bad_run.case.flipped & bad_run.case.good
    assert len(made) > 20
    assert flagged
    assert set(flagged) <= made
    assert all(flagged.values())


def test_nothing_is_written_outside_the_cache_folder(bad_run: BadRun) -> None:
    gone = {
        "source/vanishes.jpg",
        "source/vanishing",
        *(f"source/vanishing/{number}.jpg" for number in range(3)),
    }
    left = {path: facts for path, facts in bad_run.before.items() if path not in gone}
    marks = {path: facts for path, facts in bad_run.after.items() if path.startswith("marks/")}
    assert bad_run.after == left | marks, "temporary files of the run count too"


def test_no_part_of_a_file_is_left(bad_run: BadRun) -> None:
    made = {row["path"]: row["bytes"] for row in bad_run.outputs}
    found = {
        str(bad_run.fpj.out / path): (bad_run.fpj.out / path).stat().st_size
        for path in files_in(bad_run.fpj.out)
    }
    assert found == made


def test_failures_are_listed_for_people(bad_run: BadRun) -> None:
    """One line each, with the path and the reason, whatever characters a name is made of."""
    head, *lines = bad_run.fpj("failures", "--limit", 1000).stdout.splitlines()
    assert head.split() == ["IMAGE", "ERROR", "ATTEMPTS", "REASON"]
    assert len(lines) == len(bad_run.failures)
    for line, failure in zip(lines, bad_run.failures, strict=True):
        assert line.isprintable()
        assert line.startswith(display_key(failure["key"]))
        assert failure["errorType"] in line
        assert line.rstrip().endswith(failure["message"].rstrip())
    crashed = bad_run.fpj("failures", "--type", "WorkerCrashed").stdout.splitlines()[1:]
    assert len(crashed) == list(MISBEHAVING.values()).count(CRASHED)
    named = bad_run.fpj("outputs", "--limit", 1000).stdout
    assert not [key for key in bad_run.case.good if display_key(key) not in named]


def test_memory_is_bounded(bad_run: BadRun) -> None:
    assert 0 < bad_run.most_memory < MOST_MEMORY


# Jobs that are given up ---------------------------------------------------------------------------


def test_too_many_failed_images_end_the_job(fpj: Fpj, tmp_path: Path) -> None:
    source = tmp_path / "texts"
    source.mkdir()
    for number in range(40):
        (source / f"{number}.jpg").write_text("hello, I am text")
    finished = fpj(
        "run",
        manifest(tmp_path / "a.yaml", source, maxFailedImages="10%"),
        "--out",
        fpj.out,
        "--json",
    )
    assert finished.code == 1
    assert (finished.json["phase"], finished.json["reason"]) == ("Failed", "TooManyFailedImages")
    assert "maxFailedImages allows 4" in finished.stderr


# Cache folders ------------------------------------------------------------------------------------


def test_the_cache_folder_may_be_a_link(fpj: Fpj, few: Path, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere"
    real.mkdir()
    fpj.out.symlink_to(real)
    assert fpj.run(few).counts == (12, 0, 0)
    assert len(files_in(real)) == 24
    assert fpj.out.is_symlink()
    fpj.out = real
    assert fpj.run(few).counts == (0, 12, 0), "by another name it is the same folder"


@pytest.mark.parametrize("place", ["{collection}", "{collection}/thumbnail", "{collection}/.tmp"])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_links_inside_the_cache_folder_are_not_followed(
    fpj: Fpj, few: Path, tmp_path: Path, place: str, kind: str
) -> None:
    """Whoever may write there could else choose where fpj writes, and removes."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.txt").write_text("keep me")
    planted = fpj.out / place.format(collection=collection_id_for(few))
    planted.parent.mkdir(parents=True)
    (fpj.out / ".fpj-folder").touch()
    if kind == "link":
        planted.symlink_to(outside)
    else:
        planted.write_text("keep me")
    finished = fpj.run(few)
    assert (finished.code, finished.counts) == (1, (0, 0, 12)), finished.stderr
    assert finished.json["errorBreakdown"] == {"PathViolation": 12}
    assert os.listdir(outside) == ["precious.txt"]
    assert planted.is_symlink() if kind == "link" else planted.read_text() == "keep me"


def test_a_link_in_the_place_of_a_file_is_replaced(fpj: Fpj, few: Path, tmp_path: Path) -> None:
    fpj.run(few)
    outside = tmp_path / "precious.jpg"
    outside.write_bytes(b"keep me")
    made = files_in(fpj.out)
    planted = fpj.out / next(iter(made))
    planted.unlink()
    planted.symlink_to(outside)
    assert fpj.run(few).counts == (1, 11, 0)
    assert outside.read_bytes() == b"keep me"
    assert not planted.is_symlink()
    assert files_in(fpj.out) == made


def test_a_folder_that_may_not_be_written_is_refused_at_once(fpj: Fpj, few: Path) -> None:
    fpj.out.mkdir(mode=0o555)
    fpj.prefix = without_privileges()
    finished = fpj.run(few)
    assert finished.code == 5
    assert finished.json["error"]["type"] == "CacheFolder"
    assert (
        finished.stderr == f"Error: cache folder {fpj.out} cannot be written: Permission denied\n"
    )
    assert os.listdir(fpj.out) == []


def test_a_full_folder(fpj: Fpj, few: Path, mounted: Callable[[str], Path]) -> None:
    """What fits is made. Once there is room, the next run makes the rest and nothing else."""
    fpj.out = mounted("size=400k")
    finished = fpj.run(few, "--wait-for-environment", 0)
    assert finished.code == 6, finished.stderr
    assert finished.counts[2] == 0, "no image is charged for it"
    assert (finished.json["phase"], finished.json["reason"]) == ("Suspended", "EnvironmentFault")
    rows = fpj.listed("outputs")
    assert 0 < len(rows) < 24, "what fits is made"
    assert {str(fpj.out / path) for path in files_in(fpj.out)} >= {row["path"] for row in rows}
    assert all(size_of(fpj.out / path) for path in files_in(fpj.out)), "no part of a file"
    subprocess.run(["mount", "-o", "remount,size=40m", fpj.out], check=True)
    finished = fpj.run(few)
    assert (finished.code, finished.json["progress"]["failed"]) == (0, 0)
    assert finished.json["thisRun"]["completed"] == 12 - len(rows) // 2


def test_a_folder_that_becomes_read_only_midway(
    fpj: Fpj, few: Path, mounted: Callable[[str], Path]
) -> None:
    fpj.out = mounted("size=40m")
    (few / "1-makes-the-cache-read-only.jpg").write_bytes(photo(50))
    fpj.environment = injecting("decoder") | {"PYTHON_TEST_MOUNT": str(fpj.out)}
    job = manifest(fpj.out.parent / "a.yaml", few, limits={"maxAttemptsPerImage": 1})
    finished = fpj(
        "run", job, "--out", fpj.out, "--json", "--workers", 1, "--wait-for-environment", 0
    )
    assert finished.code == 6, finished.stderr
    assert finished.counts == (1, 0, 0)
    assert (
        finished.json["message"]
        == f"cache folder {fpj.out} cannot be written: Read-only file system"
    )
    assert fpj.failures() == {}
    refused = fpj("run", job, "--out", fpj.out)
    assert refused.code == 5
    assert (
        one_line(refused)
        == f"Error: cache folder {fpj.out} cannot be written: Read-only file system"
    )


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """12 JPEG files; the sizes of all derivatives together are about 800 KB."""
    folder = tmp_path / "few"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.jpg").write_bytes(photo(number))
    return folder


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system in memory with the options given."""
    place = tmp_path / "mounted"

    def mount(options: str) -> Path:
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if os.geteuid() != 0 or not shutil.which("mount"):
            pytest.skip("only root can mount a small file system to fill")
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", "--lazy", place], check=True)


# Bad usage ----------------------------------------------------------------------------------------


def one_line(finished: Finished) -> str:
    """The one line that is said.

    Bad options come with two lines on usage before it, and an empty one.
    """
    assert "Traceback" not in finished.stderr, finished.stderr
    assert finished.stdout == ""
    *usage, line = finished.stderr.strip().splitlines()
    assert usage == [] or (len(usage) == 3 and usage[0].startswith("Usage: fpj ")), finished.stderr
    return line


USAGE: dict[str, tuple[tuple[str | bytes, ...], int, str]] = {
    "MongoDB that nobody answers for": (
        ("photos", "--store", "mongodb://127.0.0.1:1/x"),
        4,
        "MongoDB cannot be reach",
    ),
    "an unknown folder": (("nowhere",), 2, "nowhere does not exist"),
    "a tier without a size": (
        ("photos", "--tier", "full"),
        2,
        "--tier full: write NAME=WIDTHxHEIGHT",
    ),
    "a tier's size": (("photos", "--tier", "full=10xten"), 2, "--tier: '10xten' is not a size"),
    "a tier's name": (
        ("photos", "--tier", "../up=64x64"),
        2,
        "--tier ../up=64x64: ../up does not match",
    ),
    "a file that is not an image": (
        ("file.txt",),
        2,
        "file.txt is neither a folder, an image, an archive",
    ),
    "tiers where none are made": (
        ("photos", "--type", "thumbnail", "--tier", "a=8x8"),
        2,
        "--tier has no effect with",
    ),
    "a thumbnail where none is made": (
        ("photos", "--type", "cache", "--fit", "cover"),
        2,
        "--fit has no effect with",
    ),
    "how many may fail": (
        ("photos", "--max-failed", "some"),
        2,
        "--max-failed some: write a number",
    ),
    "a tier's bounds": (
        ("photos", "--tier", "a=64x64", "--tier", "b=64x99999"),
        2,
        "--tier b=64x99999: ",
    ),
    "a thumbnail's size": (("photos", "--thumbnail", "300"), 2, "--thumbnail: '300' is not a size"),
    "a collection's name": (
        ("photos", "--collection", "../up"),
        2,
        "--collection ../up: ../up does not match",
    ),
    "a file as the cache folder": (("photos", "--out", "file.txt"), 2, "'file.txt' is a file"),
    "a cache folder below a file": (
        ("photos", "--out", "file.txt/x"),
        2,
        "file.txt/x cannot be written: Not a dir",
    ),
    "a source path that is not UTF-8": ((b"caf\xe9",), 2, "the path is not UTF-8"),
    "a cache folder that is not UTF-8": (
        ("photos", "--out", b"caf\xe9/out"),
        2,
        "the path is not UTF-8",
    ),
    "a typo in a manifest": (("typo.yaml",), 2, "spec.thumbnail.widht"),
    "no YAML": (("broken.yaml",), 2, "broken.yaml"),
    "an unknown cache folder": (("folder.yaml",), 2, "unknown cache folder 'fast' (known: none)"),
    "a job of a store that is not there": (("nightly",), 2, "there is no store at"),
    "a store that is not a store": (("photos", "--store", "file.txt"), 4, "file is not a database"),
    "a store that cannot be made": (
        ("photos", "--store", "file.txt/fpj.db"),
        4,
        "cannot make the store's folder",
    ),
    "a store that may not be written": (
        ("photos", "--store", "locked/fpj.db"),
        4,
        "unable to open database file",
    ),
}
"""Arguments, exit code, and what the one line says. The first one waits, while the others work."""


@pytest.fixture(scope="module")
def misused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finished]:
    """All bad usage at once, since some of it waits."""
    root = tmp_path_factory.mktemp("usage")
    for folder in (b"photos", b"caf\xe9"):
        os.mkdir(os.path.join(os.fsencode(root), folder))
    (root / "photos/a.jpg").write_bytes(photo(1, 80, 60))
    (root / "file.txt").write_text("I am a text, and no database, and no folder")
    (root / "locked").mkdir(mode=0o555)
    (root / "broken.yaml").write_text("a: [b")
    manifest(root / "typo.yaml", root / "photos", thumbnail={"widht": 64})
    manifest(root / "folder.yaml", root / "photos", cacheFolder="fast")
    started: dict[str, subprocess.Popen[str]] = {}
    for name, (arguments, _, _) in USAGE.items():
        fpj = Fpj(
            str(root / "stores" / f"{len(started)}.db"), root / "out", prefix=without_privileges()
        )
        command = "resume" if name == "a job of a store that is not there" else "run"
        started[name] = fpj.start(command, *map(os.fsdecode, arguments), cwd=root)
    return {name: finish(process) for name, process in started.items()}


def finish(process: subprocess.Popen[str]) -> Finished:
    stdout, stderr = process.communicate(timeout=60)
    return Finished(process.returncode, stdout, stderr)


@pytest.mark.parametrize("name", USAGE)
def test_bad_usage_is_told_in_one_line(misused: dict[str, Finished], name: str) -> None:
    _, code, words = USAGE[name]
    assert words in one_line(misused[name])
    assert misused[name].code == code
