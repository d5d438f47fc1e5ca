"""Natural order, also of more names than fit in memory."""

from __future__ import annotations

import random
import tempfile
import weakref
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typing_extensions import override
from unit.sources.surroundings import open_files, small_disk

from fpj_core.errors import SourceError
from fpj_core.sources import natural
from fpj_core.sources.natural import natural_key, sorted_externally


@pytest.mark.parametrize(
    "names",
    [
        ["page1", "page2", "page10", "page10a", "page100"],
        ["01", "1", "2", "10"],
        ["a", "B", "c"],
        ["", "0", "a"],
        ["a", "a1", "aa"],
        ["IMG_9.JPG", "img_10.jpg"],
        ["x²", "x٣"],
        ["v" + "9" * 5_000, "w1"],
    ],
)
def test_natural_order(names: list[str]) -> None:
    shuffled = random.Random(5).sample(names, len(names))
    assert sorted(shuffled, key=natural_key) == names


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from("aAß0129 ²٣é\udcff"), max_size=6), unique=True))
def test_the_order_is_total(names: list[str]) -> None:
    expected = sorted(names, key=natural_key)
    names.reverse()
    assert sorted(names, key=natural_key) == expected
    assert len({repr(natural_key(name)) for name in names}) == len(names)


@settings(deadline=None)
@given(st.lists(st.integers(0, 9)), st.integers(1, 5), st.integers(2, 4))
@example([3, 1, 2], 3, 2)
@example([], 1, 2)
@example(list(range(9, -1, -1)), 1, 2)
def test_external_sorting_is_sorting(numbers: list[int], chunk: int, most_spills: int) -> None:
    items = list(enumerate(numbers))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(natural, "_MOST_SPILLS", most_spills)
        result = list(sorted_externally(items, key=lambda item: item[1], chunk=chunk))
    assert result == sorted(items, key=lambda item: item[1]), "stable, too"


class Item:
    """Something to sort that tells how many of it are in memory."""

    alive: ClassVar[weakref.WeakSet[Item]] = weakref.WeakSet()
    most = 0

    def __init__(self, number: int) -> None:
        self.number = number
        Item.alive.add(self)
        if number % 100 == 0:
            Item.most = max(Item.most, len(Item.alive))

    @override
    def __reduce__(self) -> tuple[Callable[[int], Item], tuple[int]]:
        return (Item, (self.number,))


def test_only_a_part_is_ever_in_memory() -> None:
    count = 40_000
    numbers = random.Random(3).sample(range(count), count)
    result = sorted_externally(map(Item, numbers), key=lambda item: item.number, chunk=4_000)
    for expected, item in enumerate(result):
        assert item.number == expected
    assert 4_000 <= Item.most < 12_000


def test_few_files_are_ever_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(natural, "_MOST_SPILLS", 5)
    before = open_files()
    result = sorted_externally(range(1_000, 0, -1), key=int, chunk=2)
    assert list(islice(result, 10)) == list(range(1, 11))
    assert open_files() - before <= 5
    result.close()  # type: ignore[attr-defined]
    assert open_files() == before, "also when no one wants the rest"


def test_a_full_disk_is_said_to_be_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_files()
    with small_disk(tmp_path / "small") as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        with pytest.raises(SourceError, match=r"no room for temporary files.*No space left"):
            list(sorted_externally(range(100_000), key=int, chunk=20_000))
    assert open_files() == before
