"""Archives read as folders, and what hostile ones try."""

from __future__ import annotations

import io
import os
import random
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.sources.archives import JPEG, end_record, end_records_64, packed, with_header
from unit.sources.surroundings import open_files, small_disk

from fpj_core.errors import ErrorType, ImageError
from fpj_core.sources import archive as archive_module
from fpj_core.sources.archive import Archives
from fpj_core.sources.base import IN_MEMORY, Problems
from fpj_core.sources.local import LocalSource

LIMIT = 200 * 2**20
MIB = 2**20


class Book:
    """An archive's file, listed and read."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        path.write_bytes(data)
        self.archives = Archives()
        self.problems: dict[str, str] = {}
        self.messages = ""

    def names(self) -> list[str]:
        problems = Problems()
        entries = list(self.archives.list_members(os.fsencode(self.path), "b.zip", problems))
        self.problems = {p.key.removeprefix("b.zip!/"): p.error_type.value for p in problems.first}
        self.messages = "\n".join(p.message for p in problems.first)
        return [entry.key.removeprefix("b.zip!/") for entry in entries]

    def read(self, member: str, limit: int = LIMIT) -> bytes:
        with self.archives.open_member(
            os.fsencode(self.path), member, max_file_size=limit
        ) as opened:
            assert (opened.path is None) != (opened.data is None)
            return (
                opened.data
                if opened.data is not None
                else Path(os.fsdecode(opened.path or b"")).read_bytes()
            )

    def refusal(self, member: str, limit: int = LIMIT) -> ErrorType:
        with pytest.raises(ImageError) as error:
            self.read(member, limit)
        self.messages = error.value.message
        return error.value.error_type


Maker = Callable[[bytes], Book]


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Maker]:
    made: list[Book] = []

    def make(data: bytes) -> Book:
        made.append(Book(tmp_path / f"{len(made)}.zip", data))
        return made[-1]

    yield make
    for one in made:
        one.archives.close()


# As people pack them ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_pages_in_natural_order(book: Maker, method: int) -> None:
    pages = {f"p{n}.jpg": JPEG + random.Random(n).randbytes(30_000) for n in (10, 2, 1)}
    made = book(packed({"b/": b""} | pages | {"b/1.png": JPEG}, method))
    assert made.names() == ["b/1.png", "p1.jpg", "p2.jpg", "p10.jpg"]
    assert made.problems == {}
    assert all(made.read(name) == content for name, content in pages.items())


@pytest.mark.parametrize("name", ["book.cbz", "book.ZIP", "Book.Cbz"])
def test_zip_and_cbz_alike(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(packed({"1.jpg": JPEG}))
    source = LocalSource(str(tmp_path))
    (entry,) = source.list()
    assert entry.key == f"{name}!/1.jpg"
    with source.open(entry.key, entry.size, max_file_size=LIMIT) as opened:
        assert opened.data == JPEG


def test_packing_the_same_again_changes_no_version(tmp_path: Path) -> None:
    versions = set()
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        (tmp_path / "book.zip").write_bytes(packed({"1.jpg": JPEG}, method))
        versions |= {entry.version for entry in LocalSource(str(tmp_path)).list()}
    assert len(versions) == 1
    (tmp_path / "book.zip").write_bytes(packed({"1.jpg": JPEG[:-1] + b"x"}))
    assert {entry.version for entry in LocalSource(str(tmp_path)).list()}.isdisjoint(versions)


def test_odd_member_names(book: Maker) -> None:
    names = [
        "ä/😀.jpg",
        "wow!/1.jpg",
        "back\\slash.jpg",
        "new\nline.jpg",
        "./dot.jpg",
        "a//b.jpg",
        "x" * 5_000 + ".jpg",
    ]
    made = book(packed({name: JPEG + name.encode() for name in names}))
    entries = list(made.archives.list_members(os.fsencode(made.path), "b.zip", Problems()))
    assert len(entries) == len(names)
    source = LocalSource(str(made.path.parent))
    read = set()
    for entry in source.list():
        with source.open(entry.key, entry.size, max_file_size=LIMIT) as opened:
            read.add((opened.data or b"").removeprefix(JPEG).decode())
    assert read == set(names)


def test_what_is_no_image_is_left_out(book: Maker) -> None:
    members = {
        "__MACOSX/._1.jpg": JPEG,
        ".hidden.jpg": JPEG,
        "Thumbs.db": JPEG,
        "__MACOSX/inner.zip": packed({}),
        "ComicInfo.xml": b"<xml/>",
        "film.log": b"spam " * 3 * MIB,
        "empty": b"",
        "scan": JPEG,
        "text.jpg": b"I am text",
    }
    made = book(packed(members, zipfile.ZIP_DEFLATED))
    assert made.names() == ["scan", "text.jpg"]
    assert made.problems == {}, "not even of a log that packs very well"


def test_of_members_with_one_name_the_last_counts(tmp_path: Path, book: Maker) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("1.jpg", JPEG + b"first")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("1.jpg", JPEG + b"last")
    made = book(target.getvalue())
    assert made.names() == ["1.jpg"]
    assert made.read("1.jpg") == JPEG + b"last"


def test_large_members_pass_through_a_file(book: Maker) -> None:
    content = JPEG + random.Random(1).randbytes(IN_MEMORY)
    made = book(packed({"large.jpg": content, "just.jpg": content[:IN_MEMORY]}))
    before = open_files()
    with made.archives.open_member(
        os.fsencode(made.path), "large.jpg", max_file_size=LIMIT
    ) as opened:
        assert opened.data is None
    assert open_files() <= before + 1, "the archive alone stays open"
    assert made.read("large.jpg") == content
    assert made.read("just.jpg") == content[:IN_MEMORY]


def test_zip64(book: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    data = packed({"1.jpg": JPEG, "2.jpg": JPEG + b"2"}, zipfile.ZIP_DEFLATED)
    assert b"PK\x06\x06" in data
    made = book(data)
    assert made.names() == ["1.jpg", "2.jpg"]
    assert made.read("2.jpg") == JPEG + b"2"


def test_few_archives_are_open_at_a_time(tmp_path: Path) -> None:
    before = open_files()
    for number in range(20):
        (tmp_path / f"{number}.zip").write_bytes(packed({"1.jpg": JPEG}))
    source = LocalSource(str(tmp_path))
    entries = list(source.list())
    assert len(entries) == 20
    for entry in entries:
        with source.open(entry.key, entry.size, max_file_size=LIMIT):
            assert open_files() - before <= 6
    del source
    assert open_files() == before


# What hostile ones try ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../../x.jpg",
        "a/../../x.jpg",
        "/etc/x.jpg",
        "C:\\x.jpg",
        "c:/x.jpg",
        "..\\x.jpg",
        "a\\..\\..\\x.jpg",
        "\\\\srv\\x.jpg",
    ]
    + ["..", "../.hidden", "../inner.zip", ""],
)
def test_names_that_lead_out_are_refused(book: Maker, name: str) -> None:
    made = book(packed({name: JPEG, "kept.jpg": JPEG}))
    assert made.names() == ["kept.jpg"]
    assert list(made.problems.values()) == ["PathViolation"]
    assert made.refusal(name) is ErrorType.PATH_VIOLATION


def test_encrypted_members_are_refused(book: Maker) -> None:
    made = book(with_header(packed({"1.jpg": JPEG, "2.jpg": JPEG}), flags=1))
    assert made.names() == ["2.jpg"]
    assert made.problems == {"1.jpg": "AccessDenied"}
    assert made.refusal("1.jpg") is ErrorType.ACCESS_DENIED
    assert "encrypted" in made.messages


def test_archives_within_are_not_opened(book: Maker) -> None:
    inner = packed({"1.jpg": JPEG})
    made = book(packed({"inner.zip": inner, "inner.CBZ": inner, "inner": inner, "1.jpg": JPEG}))
    assert made.names() == ["1.jpg"]
    assert made.problems == dict.fromkeys(["inner.zip", "inner.CBZ"], "UnsupportedFormat")
    assert made.refusal("inner.zip") is ErrorType.UNSUPPORTED_FORMAT


def test_a_bomb_is_told_by_its_ratio(book: Maker) -> None:
    made = book(
        packed({"bomb.jpg": bytes(50 * MIB), "small.jpg": bytes(4 * MIB)}, zipfile.ZIP_DEFLATED)
    )
    assert made.names() == ["small.jpg"], "what is small may well be blank"
    assert made.problems == {"bomb.jpg": "TooLarge"}
    assert "52,428,800 bytes from" in made.messages
    assert made.refusal("bomb.jpg") is ErrorType.TOO_LARGE


def test_a_member_over_the_limit_is_refused(book: Maker) -> None:
    made = book(packed({"1.jpg": JPEG}))
    assert made.read("1.jpg", len(JPEG)) == JPEG
    assert made.refusal("1.jpg", len(JPEG) - 1) is ErrorType.TOO_LARGE


def test_a_bomb_that_lies_about_its_size_costs_little(book: Maker) -> None:
    made = book(with_header(packed({"1.jpg": bytes(64 * MIB)}, zipfile.ZIP_DEFLATED), size=1000))
    assert made.names() == ["1.jpg"]
    tracemalloc.start()
    try:
        assert made.refusal("1.jpg") is ErrorType.CORRUPT_IMAGE
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


def test_looking_for_images_unpacks_no_bomb(book: Maker) -> None:
    data = packed({"scan": bytes(64 * MIB)}, zipfile.ZIP_BZIP2)
    made = book(data)
    tracemalloc.start()
    try:
        assert made.names() == []
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()
    assert made.problems == {"scan": "UnsupportedFormat"}


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 99])
@pytest.mark.parametrize("name", ["1.jpg", "scan"])
def test_methods_that_unpack_without_bound_are_refused_unread(
    book: Maker, name: str, method: int
) -> None:
    made = book(with_header(packed({name: JPEG, "2.jpg": JPEG}), method=method))
    assert made.names() == ["2.jpg"]
    assert made.problems == {name: "UnsupportedFormat"}
    assert made.refusal(name) is ErrorType.UNSUPPORTED_FORMAT
    assert f"by method {method};" in made.messages


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    ("lie", "caught"),
    [
        ({"size": 10}, True),
        ({"size": 0}, True),
        ({"crc": 1}, True),
        ({"packed_size": 20}, True),
        ({"size": 4000}, False),
        ({"packed_size": 100_000}, False),
    ],
)
def test_lies_in_headers_are_caught_or_harmless(
    book: Maker, method: int, lie: dict[str, int], caught: bool
) -> None:
    content = JPEG + random.Random(2).randbytes(3_000)
    made = book(with_header(packed({"1.jpg": content}, method), **lie))
    assert made.names() == ["1.jpg"]
    if caught:
        assert made.refusal("1.jpg") is ErrorType.CORRUPT_IMAGE
        return
    try:
        found = made.read("1.jpg")
    except ImageError:  # newer Pythons refuse members that overlap what follows
        assert made.refusal("1.jpg") is ErrorType.CORRUPT_IMAGE
    else:
        assert found == content


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_content_is_corrupt(book: Maker, method: int) -> None:
    data = bytearray(
        packed({"1.jpg": JPEG + random.Random(3).randbytes(5_000), "2.jpg": JPEG}, method)
    )
    data[2_500] ^= 1
    made = book(bytes(data))
    assert made.names() == ["1.jpg", "2.jpg"]
    assert made.refusal("1.jpg") is ErrorType.CORRUPT_IMAGE
    assert "1.jpg is damaged in its archive" in made.messages
    assert made.read("2.jpg") == JPEG


def test_a_damaged_member_without_a_telling_name_is_not_lost(book: Maker) -> None:
    data = bytearray(packed({"scan": JPEG}, zipfile.ZIP_DEFLATED))
    data[data.index(b"scan") + 4] ^= 0xFF
    made = book(bytes(data))
    assert made.names() == ["scan"]
    assert made.refusal("scan") is ErrorType.CORRUPT_IMAGE


def test_newer_archives_than_can_be_read(book: Maker) -> None:
    made = book(with_header(packed({"1.jpg": JPEG}), version=99))
    assert made.names() == []
    assert made.problems == {"b.zip": "UnsupportedFormat"}


def test_cut_off_archives_are_problems(book: Maker) -> None:
    data = packed({"1.jpg": JPEG, "2.jpg": JPEG})
    for kept in range(0, len(data), 7):
        made = book(data[:kept])
        assert made.names() == []
        assert made.problems == {"b.zip": "CorruptImage"}
        assert made.refusal("1.jpg") is ErrorType.CORRUPT_IMAGE


@pytest.mark.parametrize(
    "data", [b"", b"I am text", b"PK\x03\x04", end_record(46), end_records_64(46, 46)]
)
def test_what_only_claims_to_be_an_archive(book: Maker, data: bytes) -> None:
    made = book(data)
    assert made.names() == []
    assert made.problems == {"b.zip": "CorruptImage"}


@pytest.mark.parametrize(
    "end",
    [
        end_record,
        lambda size: end_records_64(size, 46),
        lambda size: end_records_64(size, 2**32 - 1),
    ],
)
def test_a_huge_table_of_contents_is_refused_unread(
    book: Maker, end: Callable[[int], bytes]
) -> None:
    size = archive_module._MOST_DIRECTORY + 1
    made = book(b"")
    with made.path.open("wb") as stream:
        stream.truncate(size)
        stream.seek(size)
        stream.write(end(size))
    tracemalloc.start()
    try:
        assert made.names() == []
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    assert made.problems == {"b.zip": "TooLarge"}


def test_too_many_members_are_refused(book: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "_MOST_MEMBERS", 3)
    made = book(packed({f"{n}.jpg": JPEG for n in range(4)}))
    assert made.names() == []
    assert made.problems == {"b.zip": "TooLarge"}
    assert len(book(packed({f"{n}.jpg": JPEG for n in range(3)})).names()) == 3


def test_what_is_gone_is_not_found(book: Maker) -> None:
    made = book(packed({"1.jpg": JPEG}))
    assert made.refusal("2.jpg") is ErrorType.NOT_FOUND
    made.archives.close()
    made.path.unlink()
    assert made.refusal("1.jpg") is ErrorType.NOT_FOUND
    made.path.mkdir()
    assert made.refusal("1.jpg") is ErrorType.UNSUPPORTED_FORMAT


def test_a_full_disk_is_no_fault_of_the_archive(
    book: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = book(packed({"1.jpg": JPEG + random.Random(4).randbytes(IN_MEMORY)}))
    with small_disk(tmp_path / "small") as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        assert made.refusal("1.jpg") is ErrorType.DISK_FULL


WHOLE = packed({"a/1.jpg": JPEG, "2": JPEG, "3.txt": b"text"}, zipfile.ZIP_DEFLATED)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=4)
)
def test_no_damage_does_more_than_typed_errors(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(WHOLE)
    for place, value in changes:
        data[place] = value
    made = Book(tmp_path_factory.getbasetemp() / "damaged.zip", bytes(data))
    try:
        for name in made.names():
            try:
                made.read(name)
            except ImageError:
                continue
    finally:
        made.archives.close()


def test_backslashes_divide_folders_too(book: Maker) -> None:
    names = ["dir\\page1.jpg", "__MACOSX\\page1.jpg", "dir\\._page1.jpg", "$RECYCLE.BIN\\x\\a.jpg"]
    made = book(packed(dict.fromkeys(names, JPEG)))
    assert made.names() == ["dir\\\\page1.jpg"]
    assert made.problems == {}


def test_a_name_falsely_flagged_as_utf8_costs_nothing(book: Maker) -> None:
    """The other names stay what they are, also one in the code page of MS-DOS."""
    members = {
        "1.jpg": JPEG + b"1",
        "f\u00fcr.jpg": JPEG + b"2",
        "caf\u00e9.jpg": JPEG + b"3",
        "dos.jpg": JPEG + b"4",
    }
    data = packed(members).replace("f\u00fcr".encode(), b"f\xfcr_").replace(b"dos", b"d\x94s")
    made = book(data)
    assert made.names() == ["1.jpg", "caf\u00e9.jpg", "d\u00f6s.jpg", "f\\xfcr_.jpg"]
    for name, last in (("1", b"1"), ("f\udcfcr_", b"2"), ("caf\u00e9", b"3"), ("d\u00f6s", b"4")):
        assert made.read(name + ".jpg") == JPEG + last
