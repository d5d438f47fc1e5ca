"""An object read by range: the right bytes, few requests, and never two contents mixed."""

from __future__ import annotations

import random
from typing import Any

import obstore
import pytest
from obstore.store import MemoryStore
from unit.sources.archives import JPEG, packed

from fpj_core.errors import ContentChangedError, ErrorType, ImageError
from fpj_core.ranged import RangedObject, pieces
from fpj_core.sources.archive import Archives
from fpj_core.sources.base import Problems

LIMIT = 2**30
Asked = list[tuple[int, int]]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What is asked for from now on: (start, stop), a suffix as (-bytes, 0)."""
    found: Asked = []
    get = obstore.get

    def counting(store: Any, path: str, *, options: Any = None) -> Any:
        where = (options or {}).get("range", (0, 0))
        found.append((-where["suffix"], 0) if isinstance(where, dict) else where)
        return get(store, path, options=options)

    monkeypatch.setattr(obstore, "get", counting)
    return found


def archives(store: MemoryStore) -> Archives:
    return Archives(lambda path: RangedObject(store, path.decode(), "the archive"))


def content(reader: Archives, name: str, member: str) -> bytes:
    with reader.open_member(name.encode(), member, max_file_size=LIMIT) as opened:
        if opened.data is not None:
            return opened.data
        with open(opened.path or b"", "rb") as stream:
            return stream.read()


@pytest.mark.parametrize("size", [1, 100, 70_000, 2_000_000])
def test_reading_anywhere_gives_what_is_there(store: MemoryStore, size: int) -> None:
    data = random.Random(size).randbytes(size)
    obstore.put(store, "a", data)
    reader = RangedObject(store, "a", "the object")
    chance = random.Random(1)
    for _ in range(50):
        if chance.random() < 0.3:
            start = chance.randrange(size)
            reader.expect(start, start + chance.randrange(size + 9))
        place, wanted = chance.randrange(size + 10), chance.randrange(100_000)
        reader.seek(place)
        part = reader.read(wanted)
        assert part == data[place : place + len(part)]
        assert part or place >= size or not wanted
    reader.seek(0)
    assert reader.readall() == data
    with pytest.raises(OSError, match="before the beginning"):
        reader.seek(-1)


def test_an_archive_costs_one_request_and_each_member_one(store: MemoryStore, asked: Asked) -> None:
    pages = {
        f"{number}.jpg": JPEG + random.Random(number).randbytes(300_000) for number in range(30)
    }
    obstore.put(store, "a.zip", packed(pages))
    reader = archives(store)
    assert len(list(reader.list_members(b"a.zip", "a.zip", Problems()))) == 30
    assert len(asked) == 1, "the end of the archive holds its table of contents"
    asked.clear()
    for name in random.Random(1).sample(sorted(pages), 30):
        assert content(reader, "a.zip", name) == pages[name]
    assert len(asked) == 30
    assert sum(stop - start for start, stop in asked) < 30 * 302_000


def test_small_members_come_together(store: MemoryStore, asked: Asked) -> None:
    pages = {
        f"{number:03}.jpg": JPEG + random.Random(number).randbytes(20_000) for number in range(100)
    }
    obstore.put(store, "a.zip", packed(pages))
    reader = archives(store)
    assert all(content(reader, "a.zip", name) == pages[name] for name in pages)
    assert len(asked) <= 1 + 6


def test_a_large_member_comes_in_parts_that_memory_bounds(store: MemoryStore, asked: Asked) -> None:
    large = random.Random(1).randbytes(20 * 2**20)
    obstore.put(
        store,
        "a.zip",
        packed({"a.jpg": large, "b.jpg": JPEG + random.Random(2).randbytes(100_000)}),
    )
    reader = archives(store)
    assert content(reader, "a.zip", "a.jpg") == large
    assert len(asked) <= 1 + 3
    assert max(stop - start for start, stop in asked) <= 8 * 2**20


def test_a_large_table_of_contents_is_one_request(store: MemoryStore, asked: Asked) -> None:
    obstore.put(store, "a.zip", packed({f"{number:0200}.jpg": JPEG for number in range(2_000)}))
    assert len(list(archives(store).list_members(b"a.zip", "a.zip", Problems()))) == 2_000
    assert len(asked) == 2


def test_small_members_of_unknown_names_share_requests(store: MemoryStore, asked: Asked) -> None:
    obstore.put(store, "a.zip", packed({f"{number}.xmp": bytes(500) for number in range(1_000)}))
    assert list(archives(store).list_members(b"a.zip", "a.zip", Problems())) == []
    assert len(asked) <= 2 + 600_000 // 2**16 + 1


def test_no_two_contents_are_mixed(store: MemoryStore) -> None:
    obstore.put(
        store, "a.zip", packed({"1.jpg": JPEG + bytes(200_000), "2.jpg": JPEG + bytes(100_000)})
    )
    reader = archives(store)
    assert content(reader, "a.zip", "1.jpg") == JPEG + bytes(200_000)
    obstore.put(
        store, "a.zip", packed({"1.jpg": JPEG + b"x" * 200_000, "2.jpg": JPEG + bytes(100_000)})
    )
    with pytest.raises(ContentChangedError) as changed:
        content(reader, "a.zip", "1.jpg")
    assert changed.value.error_type.transient
    reader.forget(b"a.zip")
    assert content(reader, "a.zip", "1.jpg") == JPEG + b"x" * 200_000


def test_a_whole_object_in_pieces_is_of_one_content(store: MemoryStore) -> None:
    data = random.Random(1).randbytes(40 * 2**20)
    obstore.put(store, "a", data)
    assert b"".join(pieces(store, "a", "the object", LIMIT)) == data
    with pytest.raises(ImageError) as refused:
        list(pieces(store, "a", "the object", len(data) - 1))
    assert refused.value.error_type is ErrorType.TOO_LARGE
    reading = pieces(store, "a", "the object", LIMIT)
    next(reading)
    obstore.put(store, "a", data[::-1])
    with pytest.raises(ContentChangedError):
        next(reading)


def test_what_became_empty_is_no_archive(store: MemoryStore) -> None:
    obstore.put(store, "a.zip", b"")
    problems = Problems()
    assert list(archives(store).list_members(b"a.zip", "a.zip", problems)) == []
    assert [each.error_type for each in problems.first] == [ErrorType.CORRUPT_IMAGE]
