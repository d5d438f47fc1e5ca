"""What is recorded and what is found are merged: every difference is named, and nothing else is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fpj_core.folders.comparing import Difference, Kind, Recorded, compare
from fpj_core.folders.local import LocalFolder
from fpj_core.folders.walking import Entry, order_of

NAMES = st.text(st.sampled_from("ab0-./é"), min_size=1, max_size=4).filter(
    lambda name: all(part not in ("", ".", "..") for part in name.split("/"))
)
SIZES = st.dictionaries(NAMES, st.integers(0, 2), max_size=12)


def recorded(files: Mapping[str, int], **how: bool) -> list[Recorded]:
    made = (Recorded(path, size, 0, "full", **how) for path, size in files.items())
    return sorted(made, key=lambda each: each.order)


def found(files: Mapping[str, int]) -> list[Entry]:
    return sorted((Entry(path, size) for path, size in files.items()), key=lambda each: each.order)


def kinds(compared: Iterator[Difference | None]) -> list[tuple[str, Kind]]:
    return [(each.path, each.kind) for each in compared if each is not None]


@given(SIZES, SIZES)
def test_each_difference_is_named_once(known: dict[str, int], there: dict[str, int]) -> None:
    wanted = {}
    for path in {*known, *there}:
        if path not in there:
            wanted[path] = Kind.MISSING
        elif path not in known:
            wanted[path] = Kind.FOREIGN
        elif known[path] != there[path]:
            wanted[path] = Kind.WRONG_SIZE
    differences = kinds(compare(recorded(known), found(there)))
    assert len(differences) == len(wanted)
    assert dict(differences) == wanted
    same = sum(each is None for each in compare(recorded(known), found(there)))
    assert same == len({*known, *there}) - len(wanted)


@given(SIZES, SIZES)
def test_what_another_name_of_the_folder_records_is_its_own_matter(
    known: dict[str, int], there: dict[str, int]
) -> None:
    differences = kinds(compare(recorded(known, borrowed=True), found(there)))
    assert dict(differences) == {path: Kind.FOREIGN for path in there if path not in known}


@given(SIZES, SIZES)
def test_what_is_leaving_is_named_where_it_is_there_yet(
    known: dict[str, int], there: dict[str, int]
) -> None:
    differences = kinds(compare(recorded(known, leaving=True), found(there)))
    assert dict(differences) == {
        path: Kind.LEAVING if path in known else Kind.FOREIGN for path in there
    }


def test_a_record_keeps_what_is_leaving_under_the_same_name() -> None:
    both = [*recorded({"a": 1}), *recorded({"a": 1}, leaving=True)]
    assert kinds(compare(sorted(both, key=lambda each: each.order), found({"a": 1}))) == []
    assert kinds(compare(both, [])) == [("a", Kind.MISSING)]


def test_of_what_cannot_be_read_nothing_is_said() -> None:
    known = recorded({"a/x": 1, "b/x": 1, "b/y/z": 1, "b0": 1, "c": 1})
    trouble = Entry("b/", trouble="Input/output error")
    single = Entry("c", trouble="Permission denied")
    assert kinds(compare(known, [trouble, single])) == [
        ("a/x", Kind.MISSING),
        ("b/", Kind.UNREADABLE),
        ("b0", Kind.MISSING),
        ("c", Kind.UNREADABLE),
    ]
    assert kinds(compare(known, [Entry("", trouble="no")])) == [("", Kind.UNREADABLE)]


def test_a_link_in_the_place_of_a_file_is_both() -> None:
    assert kinds(compare(recorded({"a": 1}), [Entry("a")])) == [
        ("a", Kind.MISSING),
        ("a", Kind.FOREIGN),
    ]


def test_a_folder_is_walked_in_the_order_of_paths(tmp_path: Path) -> None:
    names = ["a/b.jpg", "a/b/c", "a-b", "a.jpg", "a0", "b/ä", "b/z", "B"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / os.fsdecode(b"caf\xe9")).write_bytes(b"x")
    listed = [each.path for each in LocalFolder(str(tmp_path)).entries("", 9)]
    assert listed == sorted([*names, os.fsdecode(b"caf\xe9")], key=order_of)
    assert [each.path for each in LocalFolder(str(tmp_path)).entries("a", 0)] == ["a/b.jpg", "a/b/"]
    assert list(LocalFolder(str(tmp_path)).entries("none", 9)) == []
