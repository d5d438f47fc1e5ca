"""Readable names: safe wherever they go, and one name never means two images."""

from __future__ import annotations

import random
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpj_core.errors import ErrorType, ImageError
from fpj_core.folders.mirror import MOST_BYTES, claimed_name, name_of, told_apart
from fpj_core.ids import image_id
from fpj_core.paths import mirror_path
from fpj_core.sources.keys import key_from_path, member_key

RESERVED = {"con", "prn", "aux", "nul", "com1", "lpt1"}


def names(*keys: str, owners: dict[str, str] | None = None) -> dict[str, str]:
    """Names of images that become known in this order. ``owners`` is what a store keeps."""
    owners = {} if owners is None else owners
    made = {}
    for key in keys:
        name, image = name_of(key), image_id("album", key)
        owner = owners.setdefault(claimed_name(name), image)
        made[key] = told_apart(name, image, owned=owner == image)
    return made


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("IMG_0042.JPG", "IMG_0042"),
        ("2019.05/Anna & Björn/beach (1).heic", "2019.05/Anna & Björn/beach (1)"),
        ("2019/beach.tar.gz.png", "2019/beach.tar.gz"),
        ("book.cbz!/p1.jpg", "book.cbz/p1"),
        (member_key("a.zip", "deep/x.jpg"), "a.zip/deep/x"),
        (unicodedata.normalize("NFD", "été.jpg"), unicodedata.normalize("NFC", "été")),
        ("no extension", "no extension"),
        (".htaccess", "_htaccess"),
        (".jpg", "_jpg"),
        ("CON.jpg", "_CON"),
        ("aux/LPT1.png", "_aux/_LPT1"),
        ("a:b?.jpg", "a_b_"),
        ("dot..jpg", "dot_"),
        ("space .jpg", "space_"),
        (" lead./trail /x.jpg", "_lead_/trail_/x"),
        ("tab\t\x7f\u202e.jpg", "tab___"),
        ("shots.jpg/a.png", "shots.jpg_/a"),
        (key_from_path(b"caf\xe9.jpg"), "caf_"),
        (key_from_path("back\\slash.jpg"), "back_slash"),
    ],
)
def test_names(key: str, name: str) -> None:
    assert names(key)[key] == name


def test_nothing_leads_out_of_the_folder() -> None:
    for path in [
        "..",
        "../up.jpg",
        "a/../../b.jpg",
        "...",
        "x/.",
        member_key("a.zip", "deep/../x.jpg"),
    ]:
        assert not {"", ".", ".."} & set(names(path)[path].split("/"))
        mirror_path("full", names(path)[path], "jpg")


@pytest.mark.parametrize(
    "key",
    [
        "x" * 255,
        "ä" * 200 + ".jpg",
        "/".join(["long" * 30] * 20) + "/x.jpg",
        "/".join("ab" * 2_000) + "/x.jpg",
    ],
)
def test_long_names_are_cut_and_remain_apart(key: str) -> None:
    other = key.replace("x", "xx") if "x" in key else key.replace("ä.", "ää.")
    made = names(key, other)
    for name in made.values():
        assert len(name.encode()) <= MOST_BYTES + 14
        assert all(len(part.encode()) <= 200 for part in name.split("/"))
        mirror_path("full", name, "jpg")
    assert made[key] != made[other]


@pytest.mark.parametrize(
    "keys",
    [
        ("a.jpg", "A.jpg", "a.JPG"),
        ("IMG_1.HEIC", "IMG_1.JPG"),
        ("straße.jpg", "STRASSE.jpg"),
        (f"{unicodedata.normalize('NFC', 'é')}.jpg", f"{unicodedata.normalize('NFD', 'é')}.jpg"),
        ("A/x.jpg", "a/x.jpg"),
        ("book.cbz!/1.jpg", "book.cbz/1.jpg"),
        ("a?.jpg", "a*.jpg", "a_.jpg"),
        ("shots.jpg/x.jpg", "shots.jpg_/x.jpg"),
        ("CON.jpg", "_con.jpg"),
        ("/".join(["d" * 90] * 9) + "/x.jpg", "/".join(["d" * 90] * 10) + "/x.jpg"),
    ],
)
def test_the_first_keeps_its_name_and_others_are_told_apart(keys: tuple[str, ...]) -> None:
    made = names(*keys)
    assert made[keys[0]] == name_of(keys[0])
    for key in keys[1:]:
        assert made[key] == f"{name_of(key)}--{image_id('album', key)[:12]}"
    assert len({claimed_name(name) for name in made.values()}) == len(keys)


def test_a_name_that_looks_as_if_told_apart_is_never_taken_plainly() -> None:
    victim, first = "a.png", "a.jpg"
    forged = f"a--{image_id('album', victim)[:12].upper()}.jpg"
    made = names(forged, first, victim)
    assert len({claimed_name(name) for name in made.values()}) == 3


def test_names_stay_whatever_comes_later_and_whoever_asks() -> None:
    owners: dict[str, str] = {}
    first = names("a.jpg", "b/A.png", "B/a.jpg", owners=owners)
    later = names("A.jpg", "b/a.gif", "a.png", owners=owners)
    everything = [*first, *later]
    for seed in range(5):
        random.Random(seed).shuffle(everything)
        assert names(*everything, owners=owners) == first | later


def test_a_path_that_leads_elsewhere_is_refused() -> None:
    assert mirror_path("full", "2019/a--0123456789ab", "webp") == "full/2019/a--0123456789ab.webp"
    bad = [
        "",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/..",
        ".a",
        "a/.b",
        "a.",
        "a ",
        "a\\b",
        "a\0",
        "a\n",
        "x" * 250,
        "a/\udcff",
    ]
    for name in [*bad, "a/\udcff"]:
        with pytest.raises(ImageError) as error:
            mirror_path("full", name, "jpg")
        assert error.value.error_type is ErrorType.PATH_VIOLATION
    for tier, extension in (("..", "jpg"), ("full/..", "jpg"), ("full", "j/g"), ("", "jpg")):
        with pytest.raises(ImageError):
            mirror_path(tier, "a", extension)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.text(min_size=1, max_size=12).filter(lambda text: "\0" not in text),
        min_size=1,
        max_size=8,
    )
)
def test_any_names_are_safe_and_stay_apart(paths: list[str]) -> None:
    keys = {key_from_path(path.encode("utf-8", "surrogatepass")) for path in paths}
    made = names(*sorted(keys))
    assert len({unicodedata.normalize("NFC", name.casefold()) for name in made.values()}) == len(
        keys
    )
    for name in made.values():
        mirror_path("full", name, "jpg")
        for part in name.split("/"):
            assert part.lower().partition(".")[0] not in RESERVED
