"""Counters where no server is needed: what is counted again, what a repair leaves alone,
what a bulk write answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from pymongo.errors import BulkWriteError

from fpj_core.ids import image_id
from fpj_core.model import ImageRecord
from fpj_core.store import counters, open_store
from fpj_core.store.counters import IMAGES, Counted, CounterCheck
from fpj_core.store.mongodb_counters import upserted
from fpj_core.store.protocol import Store

COLLECTION = "team.photos"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "store.db"))
    yield opened
    opened.close()


def add(store: Store, count: int) -> None:
    keys = [f"{number}.jpg" for number in range(count)]
    store.upsert_images(
        [
            ImageRecord(COLLECTION, n, image_id(COLLECTION, k), k, 10, "v1")
            for n, k in enumerate(keys)
        ],
        0,
    )


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7])
def test_every_image_is_counted_wherever_a_window_ends(
    store: Store, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(counters, "_WINDOW", 3)
    add(store, count)
    assert list(store.verify_counters()) == [CounterCheck(COLLECTION)]


def test_a_repair_leaves_alone_what_was_counted_meanwhile(store: Store) -> None:
    add(store, 2)
    counted = cast("Counted", store)
    assert not counted.set_amount(COLLECTION, IMAGES, (1, 10), (7, 70))
    assert counted.recorded_amounts(COLLECTION) == {IMAGES: (2, 20)}
    assert counted.set_amount(COLLECTION, IMAGES, (2, 20), (7, 70))
    assert counted.recorded_amounts(COLLECTION) == {IMAGES: (7, 70)}


class Answering:
    """A collection of MongoDB whose bulk write fails with these details."""

    def __init__(self, **details: Any) -> None:
        self._error = BulkWriteError({"upserted": [{"index": 0}], "writeErrors": []} | details)

    def bulk_write(self, _writes: object, *, ordered: bool) -> None:
        assert not ordered
        raise self._error


def write(code: int, index: int) -> dict[str, int]:
    return {"code": code, "index": index}


def test_only_a_newer_record_is_one_that_stays() -> None:
    newer = [write(11_000, 2), write(11_000, 4)]
    assert upserted(cast("Any", Answering(writeErrors=newer)), []) == ({0}, {2, 4})
    for refused in (
        Answering(writeErrors=[*newer, write(13, 5)]),
        Answering(writeErrors=[write(10_334, 1)]),
        Answering(writeErrors=newer, writeConcernErrors=[{"code": 64}]),
    ):
        with pytest.raises(BulkWriteError):
            upserted(cast("Any", refused), [])
