"""Which cache folder a job writes to."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpj_core.errors import CacheFolderError
from fpj_core.folders.selection import Candidate, select_folder
from fpj_core.model import Folder, Layout

GIB = 2**30


def candidate(
    name: str,
    priority: int = 0,
    free: int | None = 10 * GIB,
    used: int = 0,
    most: int | None = None,
) -> Candidate:
    return Candidate(Folder(name, f"/{name}", priority, most, bytes=used), free)


@pytest.mark.parametrize(
    ("candidates", "chosen"),
    [
        ([candidate("only")], "only"),
        ([candidate("low", 1), candidate("high", 2)], "high"),
        ([candidate("high", 2, free=GIB - 1), candidate("low", 1)], "low"),
        ([candidate("high", 2, used=5 * GIB, most=6 * GIB - 1), candidate("low", 1)], "low"),
        ([candidate("over", 2, used=9 * GIB, most=5 * GIB), candidate("low", 1)], "low"),
        ([candidate("exact", free=GIB)], "exact"),
        ([candidate("exact", used=5 * GIB, most=6 * GIB)], "exact"),
        ([candidate("fuller", used=8 * GIB, most=10 * GIB), candidate("the emptier",
        used=8 * GIB)], "the emptier"),
        ([candidate("a used one", used=GIB), candidate("fresh")], "fresh"),
        ([candidate("b"), candidate("a")], "a"),
        ([candidate("bucket", free=None, used=900 * GIB), candidate("disk", used=1)], "bucket"),
        ([candidate("full disk", free=0, used=9 * GIB), candidate("bucket", -5, free=None)],
        "bucket"),
        ([candidate("bounded bucket", 1, free=None, used=9 * GIB, most=9 * GIB),
        candidate("disk")], "disk"),
    ],
)  # fmt: skip
def test_by_room_then_priority_then_used_share(candidates: list[Candidate], chosen: str) -> None:
    assert select_folder(candidates, GIB).name == chosen
    assert select_folder(candidates[::-1], GIB).name == chosen, "in whatever order they come"


def test_a_name_settles_it() -> None:
    candidates = [candidate("high", 9), candidate("full", free=0)]
    assert select_folder(candidates, GIB, "full").name == "full"


def test_a_folder_that_mirrors_one_collection_is_chosen_by_name_alone() -> None:
    mirror = Candidate(Folder("mirror", "/mirror", 9, layout=Layout.MIRROR), None)
    assert select_folder([mirror, candidate("low")], GIB).name == "low"
    assert select_folder([mirror, candidate("low")], GIB, "mirror").name == "mirror"
    with pytest.raises(
        CacheFolderError, match="there is no cache folder but mirror, of layout Mirror"
    ):
        select_folder([mirror], GIB)


def test_an_unfit_folder_is_passed_over_unless_it_is_named() -> None:
    unfit = {"high": "is the source itself"}
    assert select_folder([candidate("high", 9), candidate("low")], GIB, unfit=unfit).name == "low"
    assert (
        select_folder([candidate("high", 9), candidate("low")], GIB, "high", unfit).name == "high"
    )
    with pytest.raises(
        CacheFolderError, match="there is no cache folder but high, which is the source itself"
    ):
        select_folder([candidate("high")], GIB, unfit=unfit)


def test_a_refusal_says_why() -> None:
    with pytest.raises(CacheFolderError, match=r"unknown cache folder 'x' \(known: a, b\)"):
        select_folder([candidate("b"), candidate("a")], GIB, "x")
    with pytest.raises(CacheFolderError, match=r"unknown cache folder 'x' \(known: none\)"):
        select_folder([], GIB, "x")
    with pytest.raises(CacheFolderError, match="there is no cache folder"):
        select_folder([], GIB)
    words = r"no cache folder has room for 1,073,741,824 bytes: a has room for 5, b has room for -3"
    with pytest.raises(CacheFolderError, match=words):
        select_folder([candidate("a", free=5), candidate("b", used=8, most=5)], GIB)


SIZES = st.integers(0, 20)
CANDIDATES = st.lists(
    st.builds(
        candidate,
        st.sampled_from("abcdef"),
        st.integers(-2, 2),
        st.none() | SIZES,
        SIZES,
        st.none() | st.integers(1, 20),
    ),
    unique_by=lambda c: c.folder.name,
)


@settings(deadline=None)
@given(CANDIDATES, SIZES)
def test_the_rules_hold_for_any_folders(candidates: list[Candidate], need: int) -> None:
    fitting = [c for c in candidates if c.room >= need]
    assert all(0 <= c.used_share <= 1 for c in fitting)
    if not fitting:
        with pytest.raises(CacheFolderError):
            select_folder(candidates, need)
        return
    chosen = select_folder(candidates, need)
    assert chosen == select_folder(sorted(candidates, key=lambda c: c.folder.name), need)
    (winner,) = [c for c in fitting if c.folder == chosen]
    assert winner.folder.priority == max(c.folder.priority for c in fitting)
    rivals = [c for c in fitting if c.folder.priority == winner.folder.priority]
    assert winner.used_share == min(c.used_share for c in rivals)
