"""Folders as people really have them: odd names, links, pipes, what may not be read,
what vanishes.
"""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.sources.surroundings import public_folder, without_privileges

from fpj_core.errors import ErrorType, ImageError, SourceError
from fpj_core.model import SourceEntry
from fpj_core.sources.local import CACHE_TAG, CACHE_TAG_SIGNATURE, LocalSource, LocalSourceConfig

pytestmark = pytest.mark.timeout(30)  # whatever blocks on a pipe would block forever

JPEG = b"\xff\xd8\xff\xe0" + bytes(40)
LIMIT = 2**20


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


def put(path: Path, content: bytes = JPEG) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def keys(root: Path) -> list[str]:
    """What is listed where nothing goes wrong."""
    listed, problems = listing(root)
    assert problems == {}
    return listed


def listing(root: Path) -> tuple[list[str], dict[str, str]]:
    source = LocalSource(str(root))
    listed = [entry.key for entry in source.list()]
    problems = {problem.key: problem.error_type.value for problem in source.problems.first}
    assert source.problems.count == len(source.problems.first) == len(problems), "each place once"
    assert not set(listed) & set(problems)
    return listed, problems


def entry_of(source: LocalSource) -> SourceEntry:
    (entry,) = source.list()
    return entry


def refusal(source: LocalSource, key: str, limit: int = LIMIT) -> ErrorType:
    with pytest.raises(ImageError) as error, source.open(key, 1, max_file_size=limit):
        pass
    return error.value.error_type


# What is listed -----------------------------------------------------------------------------------


def test_images_in_natural_order(photos: Path) -> None:
    for name in [
        "img10.jpg",
        "b/2.png",
        "img2.jpg",
        "B.jpg",
        "a/x.tiff",
        "b/10.png",
        "a10/1.jpg",
        "a9/1.jpg",
    ]:
        put(photos / name)
    order = [
        "a/x.tiff",
        "a9/1.jpg",
        "a10/1.jpg",
        "b/2.png",
        "b/10.png",
        "B.jpg",
        "img2.jpg",
        "img10.jpg",
    ]
    assert keys(photos) == order


def test_a_version_changes_with_size_and_time(photos: Path) -> None:
    path = put(photos / "a.jpg")
    os.utime(path, ns=(1, 1_234_567_891))
    source = LocalSource(str(photos))
    assert entry_of(source) == SourceEntry("a.jpg", len(JPEG), f"{len(JPEG)}-1234567891")
    os.utime(path, ns=(1, 1_234_567_892))
    assert entry_of(source).version.endswith("2")


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.jpg",
        ".git/a.jpg",
        "@eaDir/a.jpg",
        "__MACOSX/a.jpg",
        "Thumbs.db",
        "THUMBS.DB",
        "desktop.ini",
    ]
    + ["lost+found/a.jpg", "#recycle/a.jpg", "._a.jpg"],
)
def test_what_systems_strew_about_is_left_out(photos: Path, name: str) -> None:
    put(photos / name)
    put(photos / "kept.jpg")
    assert keys(photos) == ["kept.jpg"]


@pytest.mark.parametrize(
    ("name", "content", "listed"),
    [
        ("README", b"hello, I am text", False),
        ("notes.txt", b"BMW is a make of cars, not a bitmap", False),
        ("film.mp4", b"\0\0\0\x20ftypisom\0\0\0\0isomavc1mp41", False),
        ("backup", b"PK\x03\x04" + bytes(40), False),
        ("empty", b"", False),
        ("scan", JPEG, True),
        ("scan.", JPEG, True),
        ("photo.txt", JPEG, True),
        ("IMG.JPG_original", JPEG, True),
        ("text.jpg", b"hello, I am text", True),
        ("empty.jpg", b"", True),
        ("raw.NEF", b"?", False),
    ],
)
def test_content_counts_where_the_name_says_nothing(
    photos: Path, name: str, content: bytes, listed: bool
) -> None:
    put(photos / name, content)
    assert keys(photos) == [name] * listed


ODD_NAMES = [
    b"new\nline.jpg",
    b" leading and trailing .jpg",
    "😀 family 👨\u200d👩\u200d👧.jpg".encode(),
    b"caf\xe9.jpg",
    b"\xff\xfe.jpg",
    b"-rf.jpg",
    rb"back\slash.jpg",
    rb"\xff.jpg",
    b"wow!",
    b"wow!.jpg",
    b"$(touch x).jpg",
    b"%s%n.jpg",
    b"tab\tand\x1b[31m.jpg",
    b"x" * 251 + b".jpg",
    "é".encode() + b".jpg",
    "e\u0301.jpg".encode(),
    b"con.jpg",
]


def test_odd_names_are_listed_and_opened(photos: Path) -> None:
    for name in ODD_NAMES:
        folder = os.path.join(os.fsencode(photos), name)
        os.mkdir(folder)
        Path(os.fsdecode(os.path.join(folder, name))).write_bytes(JPEG + name)
    source = LocalSource(str(photos))
    entries = list(source.list())
    assert source.problems.count == 0
    assert len({entry.key for entry in entries}) == len(ODD_NAMES)
    found = set()
    for entry in entries:
        entry.key.encode()
        with source.open(entry.key, entry.size, max_file_size=LIMIT) as opened:
            assert opened.path is not None and opened.data is None
            found.add(Path(os.fsdecode(opened.path)).read_bytes().removeprefix(JPEG))
    assert found == set(ODD_NAMES)


def test_a_deep_tree(photos: Path) -> None:
    put(photos.joinpath(*["d"] * 200, "a.jpg"))
    assert keys(photos) == ["d/" * 200 + "a.jpg"]


def test_a_tree_too_deep_is_a_problem_not_a_crash(photos: Path) -> None:
    for name in "ab":
        put(photos.joinpath(*["d"] * 200, name, "a.jpg"))
    put(photos / "e.jpg")
    assert listing(photos) == (["e.jpg"], {"d/" * 200 + name: "PathViolation" for name in "ab"})


def test_a_single_file_or_archive_is_a_source(photos: Path) -> None:
    assert keys(put(photos / "a.jpg")) == ["a.jpg"]
    with zipfile.ZipFile(photos / "book.zip", "w") as archive:
        archive.writestr("1.jpg", JPEG)
    assert keys(photos / "book.zip") == ["book.zip!/1.jpg"]
    assert keys(put(photos / "notes.txt", b"text")) == []


def test_folders_without_images(photos: Path) -> None:
    (photos / "empty" / "too").mkdir(parents=True)
    assert keys(photos) == []


def test_what_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere: No such file"):
        list(LocalSource(str(tmp_path / "nowhere")).list())
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match=r"pipe: Not a directory"):
        list(LocalSource(str(tmp_path / "pipe")).list())


def test_listing_streams(photos: Path) -> None:
    """A folder is read when its turn comes, so what is put there meanwhile is found."""
    put(photos / "a" / "1.jpg")
    put(photos / "b" / "1.jpg")
    entries = LocalSource(str(photos)).list()
    assert next(entries).key == "a/1.jpg"
    put(photos / "b" / "0.jpg")
    assert [entry.key for entry in entries] == ["b/0.jpg", "b/1.jpg"]


def test_a_source_travels_between_processes(photos: Path) -> None:
    put(photos / "a.jpg")
    config = pickle.loads(pickle.dumps(LocalSourceConfig(str(photos))))
    assert entry_of(config.build()).key == "a.jpg"


# Cache folders ------------------------------------------------------------------------------------


def test_cache_folders_are_passed_over(photos: Path) -> None:
    put(photos / "out" / CACHE_TAG, CACHE_TAG_SIGNATURE + b"\n# made by some program\n")
    put(photos / "out" / "made.jpg")
    put(photos / "kept.jpg")
    assert keys(photos) == ["kept.jpg"]
    with pytest.raises(SourceError, match="is a cache folder"):
        list(LocalSource(str(photos / "out")).list())


def test_the_tag_counts_not_its_name(photos: Path) -> None:
    put(photos / "no" / CACHE_TAG, b"Signature: something else")
    put(photos / "no" / "kept.jpg")
    assert keys(photos) == ["no/kept.jpg"]


# Links --------------------------------------------------------------------------------------------


def test_a_link_to_a_file_inside_is_listed(photos: Path) -> None:
    put(photos / "a" / "real.jpg", JPEG + b"1")
    (photos / "link.jpg").symlink_to("a/real.jpg")
    assert keys(photos) == ["a/real.jpg", "link.jpg"]
    source = LocalSource(str(photos))
    with source.open("link.jpg", 1, max_file_size=LIMIT) as opened:
        assert Path(os.fsdecode(opened.path or b"")).read_bytes() == JPEG + b"1"


def test_links_to_folders_inside_are_passed_over_so_loops_end(photos: Path) -> None:
    put(photos / "a" / "1.jpg")
    (photos / "again").symlink_to("a")
    (photos / "a" / "up").symlink_to("..")
    (photos / "a" / "here").symlink_to(".")
    assert keys(photos) == ["a/1.jpg"]


def test_links_that_lead_nowhere_are_problems(photos: Path) -> None:
    (photos / "self.jpg").symlink_to("self.jpg")
    (photos / "one.jpg").symlink_to("other.jpg")
    (photos / "other.jpg").symlink_to("one.jpg")
    (photos / "dangling.jpg").symlink_to("gone.jpg")
    problems = dict.fromkeys(["self.jpg", "one.jpg", "other.jpg"], "PathViolation") | {
        "dangling.jpg": "NotFound"
    }
    assert listing(photos) == ([], problems)


@pytest.mark.parametrize("target", ["secret.jpg", ".", "photos2/secret.jpg", "/etc/hostname"])
def test_a_link_that_leaves_the_folder_is_left_out_and_never_opened(
    tmp_path: Path, photos: Path, target: str
) -> None:
    put(tmp_path / "secret.jpg")
    put(tmp_path / "photos2" / "secret.jpg")
    put(photos / "kept.jpg")
    (photos / "link.jpg").symlink_to(tmp_path / target)
    assert listing(photos) == (["kept.jpg"], {})
    assert refusal(LocalSource(str(photos)), "link.jpg") is ErrorType.PATH_VIOLATION


def test_a_file_replaced_by_a_link_after_listing_is_refused(tmp_path: Path, photos: Path) -> None:
    put(tmp_path / "secret.jpg")
    path = put(photos / "a.jpg")
    source = LocalSource(str(photos))
    key = entry_of(source).key
    path.unlink()
    path.symlink_to(tmp_path / "secret.jpg")
    assert refusal(source, key) is ErrorType.PATH_VIOLATION


@pytest.mark.parametrize(
    "key",
    ["../secret.jpg", "/etc/hostname", "a/../../secret.jpg", "nul\0.jpg", r"..\x2fsecret.jpg"],
)
def test_made_up_keys_open_nothing_outside(tmp_path: Path, photos: Path, key: str) -> None:
    put(tmp_path / "secret.jpg")
    (photos / "a").mkdir()
    assert refusal(LocalSource(str(photos)), key) is ErrorType.PATH_VIOLATION


def test_the_folder_itself_may_be_a_link(tmp_path: Path, photos: Path) -> None:
    put(photos / "a.jpg")
    (tmp_path / "link").symlink_to("photos")
    assert keys(tmp_path / "link") == ["a.jpg"]


# Trouble ------------------------------------------------------------------------------------------


@pytest.fixture
def public() -> Iterator[Path]:
    with public_folder() as folder:
        yield folder


def test_what_may_not_be_read_is_a_problem_and_the_rest_is_listed(public: Path) -> None:
    put(public / "locked" / "1.jpg").parent.chmod(0)
    put(public / "unsearchable" / "1.jpg").parent.chmod(0o444)
    put(public / "secret").chmod(0)
    put(public / "secret.jpg").chmod(0)
    put(public / "secret.zip").chmod(0)
    put(public / "z.jpg")
    with without_privileges():
        listed, problems = listing(public)
        assert refusal(LocalSource(str(public)), "secret.jpg") is ErrorType.ACCESS_DENIED
        assert refusal(LocalSource(str(public)), "locked/1.jpg") is ErrorType.ACCESS_DENIED
        assert refusal(LocalSource(str(public)), "secret.zip!/1.jpg") is ErrorType.ACCESS_DENIED
    assert listed == ["secret.jpg", "z.jpg"], (
        "a file named like an image is opened when it is processed"
    )
    assert problems == dict.fromkeys(
        ["locked", "secret", "secret.zip", "unsearchable/1.jpg"], "AccessDenied"
    )


def test_a_source_that_may_not_be_read(public: Path) -> None:
    (public / "locked").mkdir(mode=0)
    with without_privileges(), pytest.raises(SourceError, match="Permission denied"):
        list(LocalSource(str(public / "locked")).list())


def test_pipes_and_sockets_block_no_one(photos: Path) -> None:
    for name in ["pipe.jpg", "pipe", "pipe.zip", f"folder/{CACHE_TAG}"]:
        (photos / name).parent.mkdir(exist_ok=True)
        os.mkfifo(photos / name)
    put(photos / "folder" / "a.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(photos / "socket.jpg"))
        assert keys(photos) == ["folder/a.jpg"]
        assert refusal(LocalSource(str(photos)), "pipe.jpg") is ErrorType.UNSUPPORTED_FORMAT
        assert refusal(LocalSource(str(photos)), "pipe.zip!/1.jpg") is ErrorType.UNSUPPORTED_FORMAT


def test_a_file_that_vanishes_after_listing_is_not_found(photos: Path) -> None:
    path = put(photos / "a.jpg")
    source = LocalSource(str(photos))
    key = entry_of(source).key
    path.unlink()
    assert refusal(source, key) is ErrorType.NOT_FOUND
    path.mkdir()
    assert refusal(source, key) is ErrorType.UNSUPPORTED_FORMAT
    assert refusal(source, key + "/below.jpg") is ErrorType.NOT_FOUND


def test_a_folder_that_vanishes_while_listing_is_a_problem(photos: Path) -> None:
    for name in "abc":
        put(photos / name / "1.jpg")
    source = LocalSource(str(photos))
    entries = source.list()
    next(entries)
    shutil.rmtree(photos / "b")
    assert [entry.key for entry in entries] == ["c/1.jpg"]
    (problem,) = source.problems.first
    assert (problem.key, problem.error_type) == ("b", ErrorType.NOT_FOUND)


def test_a_file_is_too_large_by_its_size_now(photos: Path) -> None:
    path = put(photos / "a.jpg")
    source = LocalSource(str(photos))
    key = entry_of(source).key
    os.truncate(path, LIMIT)
    with source.open(key, 1, max_file_size=LIMIT):
        pass
    os.truncate(path, LIMIT + 1)
    assert refusal(source, key) is ErrorType.TOO_LARGE


def test_problems_are_counted_beyond_those_that_are_kept(photos: Path) -> None:
    for number in range(150):
        (photos / f"{number}.jpg").symlink_to("gone")
    source = LocalSource(str(photos))
    assert list(source.list()) == []
    assert (source.problems.count, len(source.problems.first)) == (150, 100)
    assert list(source.list()) == []
    assert source.problems.count == 150, "of the latest listing"


def test_an_archive_that_was_replaced_is_listed_anew(photos: Path) -> None:
    source = LocalSource(str(photos))
    for name in ["1.jpg", "2.jpg"]:
        with zipfile.ZipFile(photos / "new.tmp", "w") as archive:
            archive.writestr(name, JPEG)
        (photos / "new.tmp").rename(photos / "book.zip")
        assert entry_of(source).key == f"book.zip!/{name}"


def test_a_listing_is_stopped_wherever_it_is(tmp_path: Path) -> None:
    """Also while it only sorts, or finds nothing: whoever lists may have to end within seconds."""

    class StopError(Exception):
        pass

    for number in range(3_000):
        (tmp_path / f"{number}.txt").touch()
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    assert list(LocalSource(str(tmp_path)).list(step)) == []
    assert steps >= 3_000 + 3, "per file that is opened, and per thousand names"

    def stop() -> None:
        raise StopError

    with pytest.raises(StopError):
        next(LocalSource(str(tmp_path)).list(stop))


# Looking whether it works -------------------------------------------------------------------------


def test_a_look_says_of_each_image_whether_it_can_be_read(photos: Path) -> None:
    for name in ("1.jpg", "2.jpg"):
        put(photos / name)
    answers = LocalSource(str(photos)).look(["1.jpg", "gone.jpg", "book.zip!/1.jpg", "2.jpg"])
    assert [each and each.error_type for each in answers] == [
        None,
        ErrorType.NOT_FOUND,
        ErrorType.NOT_FOUND,
        None,
    ]


def test_a_look_at_a_source_that_is_gone_or_not_mounted(photos: Path) -> None:
    source = LocalSource(str(photos))
    with pytest.raises(SourceError, match="is it mounted"):
        source.look([])
    photos.rmdir()
    with pytest.raises(SourceError, match="No such file"):
        source.look([])
