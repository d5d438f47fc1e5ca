"""The file check: what is recorded but not there is forgotten, so that it is made again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from unit.worker.fakes import COLLECTION, FULL, THUMBNAIL, MemoryFolder
from unit.worker.test_shard import derivative, fill, have

from fpj_core.store.protocol import Store
from fpj_worker import verify
from fpj_worker.verify import forget_made_by_others, forget_missing_files

TIERS = ("full", "thumbnail")


def check(store: Store, folder: MemoryFolder, tiers: Sequence[str] = TIERS) -> int:
    return forget_missing_files(store, COLLECTION, tiers, "cache", folder)


def recorded(store: Store) -> list[tuple[int, str]]:
    return [(each.ordinal, each.tier) for each in store.derivatives(COLLECTION, 0, 10_000, TIERS)]


def test_files_that_are_there_stay_recorded(store: Store) -> None:
    folder = MemoryFolder()
    have(store, folder, *(derivative(n, tier) for n in range(5) for tier in (FULL, THUMBNAIL)))
    assert check(store, folder) == 0
    assert len(recorded(store)) == 10


def test_what_is_gone_cut_short_or_elsewhere_is_forgotten(store: Store) -> None:
    folder = MemoryFolder()
    have(
        store,
        folder,
        *(derivative(n, FULL) for n in range(5)),
        replace(derivative(5, FULL), folder="elsewhere"),
    )
    del folder.files[derivative(1, FULL).path]
    folder.files[derivative(2, FULL).path] -= 1
    folder.files[derivative(3, FULL).path] = 0
    assert check(store, folder) == 4
    assert recorded(store) == [(0, "full"), (4, "full")]


def test_other_tiers_and_collections_are_not_its_business(store: Store) -> None:
    folder = MemoryFolder()
    other = replace(derivative(0, FULL), collection="other")
    have(store, folder, derivative(0, FULL), derivative(0, THUMBNAIL))
    have(store, folder, other)
    folder.files.clear()
    assert check(store, folder, ["thumbnail"]) == 1
    assert recorded(store) == [(0, "full")]
    forget_made_by_others(store, COLLECTION, ["thumbnail"], "after")
    assert recorded(store) == [(0, "full")]


@pytest.mark.parametrize("count", [0, 1, 10, 11, 35])
def test_it_goes_in_batches_while_it_deletes(
    store: Store, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(verify, "_BATCH", 10)
    folder = MemoryFolder()
    have(store, folder, *(derivative(n, FULL) for n in range(count)))
    for ordinal in range(0, count, 2):
        del folder.files[derivative(ordinal, FULL).path]
    calls: list[None] = []
    forgotten = forget_missing_files(
        store, COLLECTION, TIERS, "cache", folder, lambda: calls.append(None)
    )
    assert forgotten == len(range(0, count, 2))
    assert [ordinal for ordinal, _ in recorded(store)] == list(range(1, count, 2))
    assert len(calls) >= count


@pytest.mark.parametrize("count", [0, 1, 10, 11, 35])
def test_what_others_made_is_forgotten_in_batches(
    store: Store, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(verify, "_BATCH", 10)
    fill(store, count)
    ours = [derivative(n, FULL, job="ours") for n in range(0, count, 2)]
    have(store, MemoryFolder(), *ours, *(derivative(n, THUMBNAIL) for n in range(count)))
    calls: list[None] = []
    forget_made_by_others(store, COLLECTION, TIERS, "ours", lambda: calls.append(None))
    assert recorded(store) == [(n, "full") for n in range(0, count, 2)]
    assert len(calls) >= -(-count // 10)
