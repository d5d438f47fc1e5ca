"""A bucket's server fails midway through an eviction, or through the removal of what was evicted:
the next one finishes it, records and objects agree, and nothing else is touched.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from integration.conftest import Objects, Proxy, _Passing
from integration.test_s3_verify import COLLECTION, fill
from typing_extensions import override

from fpj_core.errors import CacheFolderError
from fpj_core.folders.s3 import S3FolderConfig
from fpj_core.model import Folder
from fpj_core.store import open_store
from fpj_core.store.protocol import Store, nothing
from fpj_worker.eviction import Evicted, Evictor

IMAGES = 10
OUTSIDE = ("originals/0.jpg", f"{COLLECTION}/full/ab/x.jpg", f"cache-2/{COLLECTION}/0.jpg")
"""Objects beside the folder's prefix."""
_KEY = re.compile(rb"<Key>([^<]+)</Key>")


class Deletions(Proxy):
    """Passes deletions on in part. ``refused`` are ends of keys that may not be deleted;
    ``troubles`` is what happens to the next requests: "lost" answers nothing after it was done,
    "half" does half of it and answers 503.
    """

    def __init__(self, objects: Objects) -> None:
        super().__init__(objects.endpoint)
        self.objects = objects
        self.RequestHandlerClass = _Deleting
        self.refused: tuple[str, ...] = ()
        self.troubles: list[str] = []
        self.asked: list[str] = []
        """Keys that were to be deleted."""


class _Deleting(_Passing):
    @override
    def do_POST(self) -> None:
        server = cast("Deletions", self.server)
        trouble = server.troubles.pop(0) if server.troubles else ""
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        keys = [key.decode() for key in _KEY.findall(content)]
        server.asked += keys
        fine = [key for key in keys if not key.endswith(server.refused or ("\0",))]
        self._delete(fine[: len(fine) // 2] if trouble == "half" else fine)
        if trouble == "half":
            self._answer(503, {}, b"<Error><Code>SlowDown</Code></Error>")
        elif trouble == "lost":
            self.close_connection = True
        else:
            gone = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in fine)
            left = "".join(
                f"<Error><Key>{key}</Key><Code>AccessDenied</Code><Message>no</Message></Error>"
                for key in keys
                if key not in fine
            )
            body = f"<DeleteResult>{gone}{left}</DeleteResult>".encode()
            self._answer(200, {"Content-Type": "application/xml"}, body)

    def _delete(self, keys: list[str]) -> None:
        for key in keys:
            cast("Deletions", self.server).objects.remove(key)


@pytest.fixture
def deletions(objects: Objects) -> Iterator[Deletions]:
    with Deletions(objects) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join(30)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "fpj.db"))
    yield opened
    opened.close()


def evict(store: Store, objects: Objects, server: Deletions) -> Evicted:
    """Down to 6 of 10 objects of 4 bytes."""
    (record,) = store.folders()
    record = replace(record, max_bytes=30)
    store.upsert_folder(record)
    folder = S3FolderConfig(objects.bucket("cache", endpoint=server.url)).build()
    return Evictor(store, folder, record, nothing).run()


def check(store: Store, objects: Objects, server: Deletions, left: int = 6) -> None:
    """What is recorded is there and nothing else is; what is not the folder's was not touched."""
    recorded = {each.path for each in store.derivatives(COLLECTION, 0, 99, ["full"])}
    there = {key.removeprefix("cache/") for key in objects.keys("cache/") if ".fpj" not in key}
    assert recorded == there and len(there) == left
    assert store.removing_from("cache") == []
    assert not any(each.drifts for each in store.verify_counters())
    assert store.folder_totals("cache")[1] == 4 * left
    assert set(objects.keys()) >= set(OUTSIDE)
    strange = [key for key in server.asked if not key.startswith(("cache/photos/", "cache/.fpj-"))]
    assert strange == []


def prepared(store: Store, objects: Objects) -> None:
    fill(store, objects, IMAGES)
    for key in OUTSIDE:
        objects.put(key, b"mine")


def last_victim(store: Store, objects: Objects) -> str:
    """The path of one that goes: of equals, those that come first."""
    folder: Any = None
    record = Folder("cache", f"s3://{objects.name}/cache", max_bytes=30)
    (*_, victim) = Evictor(store, folder, record, nothing).plan().victims()
    return next(
        each.path
        for each in store.derivatives(COLLECTION, 0, 99, ["full"])
        if each.ordinal == victim.ordinal
    )


def test_without_trouble_what_is_evicted_goes(
    objects: Objects, store: Store, deletions: Deletions
) -> None:
    prepared(store, objects)
    assert evict(store, objects, deletions).removed.files == 4
    check(store, objects, deletions)


@pytest.mark.parametrize("trouble", ["lost", "half"])
@pytest.mark.parametrize("times", [1, 30])
def test_a_deletion_without_its_answer_is_finished(
    objects: Objects, store: Store, deletions: Deletions, trouble: str, times: int
) -> None:
    """Once, the client tries again; for longer, the next eviction does."""
    prepared(store, objects)
    deletions.troubles = [trouble] * times
    if times > 1:
        with pytest.raises(CacheFolderError, match="cannot be removed"):
            evict(store, objects, deletions)
        pending = [each.path for each in store.removals(COLLECTION, "cache")]
        assert len(pending) == 4, "until it is known to be gone, it counts as held"
        assert not store.reserve("cache", "a job", 1).granted
        deletions.troubles = []
    evict(store, objects, deletions)
    check(store, objects, deletions)


def test_objects_that_may_not_be_deleted_keep_no_others(
    objects: Objects, store: Store, deletions: Deletions
) -> None:
    prepared(store, objects)
    kept = last_victim(store, objects)
    deletions.refused = (kept,)
    evicted = evict(store, objects, deletions)
    assert (evicted.removed.files, list(evicted.removed.troubles)) == (3, [kept])
    assert [each.path for each in store.removals(COLLECTION, "cache")] == [kept]
    assert f"cache/{kept}" in objects.keys("cache/")
    again = evict(store, objects, deletions)
    assert (again.removed.files, list(again.removed.troubles)) == (0, [kept])
    deletions.refused = ()
    assert evict(store, objects, deletions).removed.files == 1
    check(store, objects, deletions)


def test_without_the_right_to_delete_nothing_is_forgotten(
    objects: Objects, store: Store, deletions: Deletions
) -> None:
    prepared(store, objects)
    deletions.refused = ("",)
    with pytest.raises(CacheFolderError, match="cannot be removed"):
        evict(store, objects, deletions)
    assert len(list(store.removals(COLLECTION, "cache"))) == 4
    assert len(objects.keys("cache/photos/")) == IMAGES
    deletions.refused = ()
    evict(store, objects, deletions)
    check(store, objects, deletions)
