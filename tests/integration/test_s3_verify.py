"""A cache folder in a bucket is compared with the store, repaired, and emptied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from integration.conftest import Objects, Proxy

from fpj_core.errors import CacheFolderError
from fpj_core.folders.comparing import Kind
from fpj_core.folders.ownership import MARKER, new_marker
from fpj_core.folders.s3 import S3FolderConfig
from fpj_core.ids import image_id
from fpj_core.model import Counts, Derivative, Folder, Shard, ShardBatch
from fpj_core.store import open_store
from fpj_core.store.protocol import Store, nothing
from fpj_worker.forgetting import forget, holdings_of
from fpj_worker.inventory import take_inventory
from fpj_worker.locking import locked

COLLECTION = "photos"


def derivative(ordinal: int) -> Derivative:
    image = image_id(COLLECTION, f"{ordinal}.jpg")
    path = f"{COLLECTION}/full/{image[:2]}/{image}.jpg"
    return Derivative(
        image, "full", COLLECTION, ordinal, "d", "v", "cache", path, 4, 3, 4, "job", 1.0
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "fpj.db"))
    yield opened
    opened.close()


def fill(store: Store, objects: Objects, count: int) -> None:
    folder = Folder("cache", f"s3://{objects.name}/cache")
    store.upsert_folder(folder)
    store.put_shards("job", 1, [Shard("job", 1, 0, COLLECTION, 0, count, 0)])
    claimed = store.claim_shard("job", 1, "me", 1.0)
    assert claimed
    made = tuple(derivative(number) for number in range(count))
    store.flush(
        ShardBatch(
            "job", 1, 0, COLLECTION, claimed.epoch, 0, 0, count, Counts(completed=count), made
        ),
        1.0,
    )
    objects.put(f"cache/{MARKER}", new_marker(store.identity(), folder))
    objects.fill((f"cache/{each.path}" for each in made), b"data")


def test_a_bucket_is_compared_and_repaired(
    objects: Objects, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, objects, 12)
    folder = S3FolderConfig(objects.bucket("cache")).build()
    assert take_inventory(store, folder, "cache").compared == 12
    objects.remove(f"cache/{derivative(0).path}")
    objects.put(f"cache/{derivative(1).path}", b"other")
    unrecorded = f"cache/{derivative(99).path}"
    objects.put(unrecorded, b"x")
    foreign = [
        "cache/notes.txt",
        "cache/mine/a/b.jpg",
        "cache/mine/c.jpg",
        f"cache/{COLLECTION}/full/deep/er/x.jpg",
        f"cache/{COLLECTION}/full/zz//odd.jpg",
        "elsewhere/x.jpg",
    ]
    for each in foreign:
        objects.put(each, b"mine")
    before = objects.keys()
    found = take_inventory(store, folder, "cache")
    assert found.troubles == []
    assert {kind: tally.files for kind, tally in found.kinds.items() if tally.files} == {
        Kind.MISSING: 1,
        Kind.WRONG_SIZE: 1,
        Kind.UNRECORDED: 1,
        Kind.FOREIGN: 4,
    }
    assert "mine/" in found.kinds[Kind.FOREIGN].names
    assert objects.keys() == before
    assert take_inventory(store, folder, "cache", repair=True).young == 1
    assert objects.get(unrecorded) == b"x"
    monkeypatch.setattr("fpj_worker.inventory._YOUNG_SECONDS", 0.0)
    assert take_inventory(store, folder, "cache", repair=True).left == 0
    kept = {f"cache/{derivative(n).path}" for n in range(2, 12)}
    assert set(objects.keys()) == {*kept, *foreign, f"cache/{MARKER}"}


def test_a_bucket_is_listed_page_by_page(objects: Objects, store: Store, proxy: Proxy) -> None:
    fill(store, objects, 2_500)
    folder = S3FolderConfig(objects.bucket("cache", endpoint=proxy.url)).build()
    proxy.requests.clear()
    found = take_inventory(store, folder, "cache")
    assert (found.compared, found.left) == (2_500, 0)
    assert len(proxy.requests) <= 8, "a page per thousand, one per collection, and the marker"


def test_a_bucket_of_another_store_is_left_alone(objects: Objects, store: Store) -> None:
    fill(store, objects, 2)
    objects.put(f"cache/{MARKER}", new_marker("0" * 32, Folder("cache", "")))
    objects.remove(f"cache/{derivative(0).path}")
    folder = S3FolderConfig(objects.bucket("cache")).build()
    assert "another store" in str(take_inventory(store, folder, "cache", repair=True).marker)
    objects.remove(f"cache/{MARKER}")
    assert "no marker" in str(take_inventory(store, folder, "cache", repair=True).marker)
    assert len(list(store.derivative_files(COLLECTION, None))) == 2


def test_a_bucket_that_is_gone_is_a_trouble(objects: Objects, store: Store) -> None:
    fill(store, objects, 2)
    folder = S3FolderConfig(replace(objects.bucket("cache"), bucket="no-such-bucket")).build()
    found = take_inventory(store, folder, "cache", repair=True)
    assert (len(found.troubles), found.compared) == (1, 0)
    assert len(list(store.derivative_files(COLLECTION, None))) == 2


def test_a_collection_in_a_bucket_is_forgotten(objects: Objects, store: Store) -> None:
    fill(store, objects, 5)
    objects.put("cache/notes.txt", b"mine")
    gone = S3FolderConfig(replace(objects.bucket("cache"), bucket="no-such-bucket")).build()
    folder = S3FolderConfig(objects.bucket("cache")).build()
    with locked(store, COLLECTION, "forget") as lock:
        held = holdings_of(store, COLLECTION, nothing)
        with pytest.raises(CacheFolderError):
            forget(store, held, {"cache": gone}, lock, nothing)
        assert len(objects.keys()) == 7
        assert forget(store, held, {"cache": folder}, lock, nothing).removed.files == 5
    assert objects.keys() == [f"cache/{MARKER}", "cache/notes.txt"]
    assert store.collections() == []
