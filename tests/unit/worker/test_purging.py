"""What a purge marks: files of one cache folder, of the images that are meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from contract.records import COLLECTION, JOB, batch, derivative, image, shard

from fpj_core.store import open_store
from fpj_core.store.protocol import Store
from fpj_worker.locking import locked
from fpj_worker.purging import Purge, _runs, known_images


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Images 0 to 3; the even ones' files are in another folder."""
    with closing(open_store(str(tmp_path / "store.db"))) as store:
        store.upsert_images([image(n) for n in range(4)], 0)
        store.put_shards(JOB, 1, [shard(0, 0, 100)])
        claimed = store.claim_shard(JOB, 1, "worker", 1.0)
        assert claimed
        made = [derivative(n, "full") for n in range(4)]
        made = [replace(each, folder="other") if each.ordinal % 2 == 0 else each for each in made]
        store.flush(replace(batch(claimed, 0, 100, fence=0), derivatives=tuple(made)), 2.0)
        yield store


@pytest.mark.parametrize(
    ("mark", "marked"),
    [
        (lambda purge: purge.mark_images("cache", [0, 1, 2]), [1]),
        (lambda purge: purge.mark_images("other", [0, 1]), [0]),
        (lambda purge: purge.mark_images("none", [0, 1]), []),
        (lambda purge: purge.mark_all("cache"), [1, 3]),
    ],
)
def test_only_what_is_in_the_folder_is_marked(
    store: Store, mark: Callable[[Purge], None], marked: list[int]
) -> None:
    with locked(store, COLLECTION, "purge") as lock:
        mark(Purge(store, COLLECTION, lock))
    found = [each for name in ("cache", "other") for each in store.removals(COLLECTION, name)]
    assert sorted(each.ordinal for each in found) == marked
    left = [each.ordinal for each in store.derivatives(COLLECTION, 0, 9, ["full"])]
    assert left == [n for n in range(4) if n not in marked]


def test_images_are_known_by_their_keys(store: Store) -> None:
    store.mark_deleted(COLLECTION, [2], 0)
    keys = [image(2).key, "none", image(0).key, "none"]
    assert known_images(store, COLLECTION, keys) == ({0, 2}, ["none"]), "deleted ones, too"


@pytest.mark.parametrize(
    ("given", "runs"),
    [([], []), ([5], [(5, 6)]), ([3, 1, 2, 7], [(1, 4), (7, 8)])],
)
def test_ranges_hold_what_is_meant_alone(given: list[int], runs: list[tuple[int, int]]) -> None:
    assert list(_runs(given)) == runs
