"""What a process may write is reserved before, in steps, and given back."""

from __future__ import annotations

from typing import Any

import pytest
from unit.worker.fakes import COLLECTION, FULL, THUMBNAIL, Clock, MemoryFolder
from unit.worker.test_shard import derivative, fill, have

from fpj_core.model import Folder
from fpj_core.store.protocol import Store
from fpj_core.store.room import RESERVED_SECONDS
from fpj_worker.room import Allowance, allowance_for

LIMIT = 10_000


@pytest.fixture(autouse=True)
def folder(store: Store, clock: Clock) -> None:
    store.upsert_folder(Folder("cache", "memory", max_bytes=LIMIT))


def allowance(store: Store, **changes: Any) -> Allowance:
    given: dict[str, Any] = {"holder": "me", "guess": 100, "batch": 20}
    return Allowance(store, "cache", **(given | changes))


def reserved(store: Store) -> int:
    """By others than who asks here."""
    return store.reserve("cache", "who asks", 0).reserved


def test_a_batch_is_reserved_at_once(store: Store) -> None:
    mine = allowance(store)
    assert all(mine.take() for _ in range(20))
    assert reserved(store) == 2_000
    assert mine.take()
    assert reserved(store) == 4_000, "20 in hand, and 20 more"


def test_what_is_recorded_is_reserved_no_more(store: Store) -> None:
    mine = allowance(store)
    for _ in range(20):
        mine.take()
        mine.settle(50)
    mine.recorded(1_000)
    assert mine.take()
    assert reserved(store) <= 2_000, "images are half as large as was guessed"


def test_the_last_room_is_used_image_by_image(store: Store) -> None:
    mine = allowance(store, guess=3_000)
    assert [mine.take() for _ in range(4)] == [True, True, True, False]
    assert reserved(store) == 9_000
    mine.settle(1_000)
    mine.settle(1_000)
    mine.settle(1_000)
    mine.recorded(3_000)
    assert mine.take(), "they were smaller"


def test_an_image_that_fails_gives_its_room_back(store: Store) -> None:
    mine = allowance(store, guess=6_000)
    assert mine.take()
    assert not mine.take()
    mine.settle(0)
    mine.recorded(0)
    assert mine.take()


def test_a_refusal_is_not_asked_again_at_once(store: Store, clock: Clock) -> None:
    mine = allowance(store, guess=6_000)
    mine.take()
    assert not mine.take()
    store.upsert_folder(Folder("cache", "memory", max_bytes=LIMIT * 2))
    assert not mine.take()
    clock.now += 1.0
    assert mine.take()


def test_a_guess_alone_does_not_refuse_the_first_image(store: Store) -> None:
    mine = allowance(store, guess=LIMIT * 2, known=False)
    assert [mine.take(), mine.take()] == [True, False]
    mine.settle(4_000)
    mine.recorded(4_000)
    assert mine.take()
    known = allowance(store, guess=LIMIT * 2, holder="another")
    assert not known.take()


def test_a_refusal_says_what_is_lacking(store: Store) -> None:
    store.reserve("cache", "another", 9_950)
    mine = allowance(store)
    assert not mine.take()
    text = str(mine.refusal())
    assert "holds 0 B of 9.8 KiB, and 9.7 KiB are reserved; 100 B more are needed" in text
    assert "--max-bytes" in text


def test_a_reservation_is_kept_while_it_is_used(store: Store, clock: Clock) -> None:
    mine = allowance(store)
    mine.take()
    for _ in range(10):
        clock.now += RESERVED_SECONDS / 3
        mine.keep()
    assert reserved(store) == 2_000
    mine.release()
    assert reserved(store) == 0
    clock.now += RESERVED_SECONDS
    mine.keep()
    assert reserved(store) == 0


def test_what_a_collection_has_on_record_is_the_estimate(store: Store) -> None:
    fill(store, 3)
    record = Folder("cache", "memory", max_bytes=LIMIT)
    tiers = (FULL, THUMBNAIL)
    unknown = allowance_for(store, record, "me", COLLECTION, tiers, 20)
    assert unknown is not None
    assert unknown.take(), "by a guess"
    unknown.release()
    made = [derivative(n, tier) for n in range(3) for tier in tiers]
    have(store, MemoryFolder(), *made)
    known = allowance_for(store, record, "me", COLLECTION, tiers, 1)
    assert known is not None
    assert known.take()
    assert reserved(store) == sum(each.bytes for each in made) // 3
    unlimited = Folder("other", "memory")
    assert allowance_for(store, unlimited, "me", COLLECTION, tiers, 20) is None
