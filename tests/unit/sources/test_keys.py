"""Keys: any name there can be becomes clean text, and that the same name again."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fpj_core.sources.keys import display_key, key_from_path, member_key, path_from_key, split_key

COMPONENT = st.binary(min_size=1, max_size=20).map(
    lambda b: b.replace(b"\0", b"0").replace(b"/", b"1")
)
TRICKY = st.lists(
    st.sampled_from([b"!", b"\\", b"x41", b"\xff", b"\xc3\xa4", b"a", b"\\!", b"\n"]),
    min_size=1,
    max_size=8,
)
PATH = st.lists(COMPONENT | TRICKY.map(b"".join), min_size=1, max_size=4).map(b"/".join)
MEMBER = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
    | st.sampled_from(["!", "\\"]),
    max_size=4,
).map("/".join)


@settings(deadline=None)
@given(PATH)
@example(b"a!/b")
@example(b"a\\!/b!")
@example(b"\\x41")
@example(b"\\\xff")
@example(b"!")
def test_a_path_comes_back(path: bytes) -> None:
    key = key_from_path(path)
    assert path_from_key(key) == path
    assert key == key_from_path(os.fsdecode(path))
    assert split_key(key) == (key, None), "no plain file looks like a member"
    key.encode()


@settings(deadline=None)
@given(PATH, MEMBER)
@example(b"dir!/album.zip", "a!/b")
@example(b"album\\", "b")
@example(b"album!", "")
@example(b"album\\!", "!/")
def test_a_member_comes_back(path: bytes, member: str) -> None:
    container = key_from_path(path)
    key = member_key(container, member)
    assert split_key(key) == (container, member)
    key.encode()


@settings(deadline=None)
@given(PATH, PATH)
def test_different_paths_have_different_keys(one: bytes, other: bytes) -> None:
    assert (key_from_path(one) == key_from_path(other)) == (one == other)


@settings(deadline=None)
@given(st.lists(COMPONENT | TRICKY.map(b"".join), min_size=1, max_size=4))
def test_a_key_can_be_made_component_by_component(components: list[bytes]) -> None:
    assert "/".join(map(key_from_path, components)) == key_from_path(b"/".join(components))


@pytest.mark.parametrize(
    ("path", "key"),
    [
        (b"holiday/2024 08/img 1.jpg", "holiday/2024 08/img 1.jpg"),
        ("ä/😀.png".encode(), "ä/😀.png"),
        (b"caf\xe9.jpg", r"caf\xe9.jpg"),
        (rb"back\slash.jpg", r"back\\slash.jpg"),
        (rb"\xe9.jpg", r"\\xe9.jpg"),
        (b"wow!/x.jpg", r"wow\!/x.jpg"),
        (b"wow!", r"wow\!"),
        (b"wo!w.jpg", "wo!w.jpg"),
        (b"new\nline.jpg", "new\nline.jpg"),
    ],
)
def test_what_keys_look_like(path: bytes, key: str) -> None:
    assert key_from_path(path) == key
    assert path_from_key(key) == path


def test_members_look_like_files_in_a_folder() -> None:
    assert member_key("dir/album.zip", "inner/page.jpg") == "dir/album.zip!/inner/page.jpg"


@settings(deadline=None)
@given(st.text())
def test_shown_text_cannot_steer_a_terminal(text: str) -> None:
    shown = display_key(text)
    assert all(c.isprintable() or c == "\u3000" for c in shown)
    shown.encode()


def test_no_character_at_all_steers_a_terminal() -> None:
    steering = [
        c for c in map(chr, range(sys.maxunicode + 1)) if not c.isprintable() and c != "\u3000"
    ]
    assert len(steering) > 10_000
    assert display_key("".join(steering)).isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ä 😀.jpg", "plain ä 😀.jpg"),
        ("\x1b[2Jred", r"\x1b[2Jred"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("gpj.\u202egnp", r"gpj.\u202egnp"),
        ("\x9b31m", r"\x9b31m"),
        ("日本\u3000語\n", "日本\u3000語\\n"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert display_key(text) == shown
