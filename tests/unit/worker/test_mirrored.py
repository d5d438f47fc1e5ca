"""Runs into a folder that mirrors the source: what a file is called never depends on who made it,
or when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from unit.worker.fakes import (
    COLLECTION,
    FULL,
    THUMBNAIL,
    Clock,
    ListSource,
    MemoryFolder,
    ScriptedPool,
    job,
)
from unit.worker.test_local import Watcher
from unit.worker.test_shard import CORRUPT, context

from fpj_core.ids import image_id
from fpj_core.model import Folder, ImageLimits, ImageRecord, Layout, Shard, SourceEntry
from fpj_core.store.protocol import Store
from fpj_worker.local import LocalRun
from fpj_worker.localjob import LocalJob
from fpj_worker.planner import Planner, PlanSettings
from fpj_worker.shard import ShardProcessor

TIERS = (FULL, THUMBNAIL)


def apart(name: str, key: str) -> str:
    return f"{name}--{image_id(COLLECTION, key)[:12]}"


class Album:
    """A source, its cache folder, and runs over them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.folder = MemoryFolder()
        self.versions: dict[str, str] = {}
        self.pool = ScriptedPool(self.folder)
        self.runs = 0

    def run(
        self, *keys: str, extension: str = "jpg", failing: Sequence[str] = (), force: bool = False
    ) -> None:
        self.runs += 1
        source = ListSource([SourceEntry(key, 10, self.versions.get(key, "v1")) for key in keys])
        request = LocalJob(
            job=job(f"job-{self.runs}"),
            source=source,
            tiers=tuple(replace(tier, quality=50 + len(extension)) for tier in TIERS),
            limits=ImageLimits(),
            folder=self.folder,
            folder_record=Folder("cache", "memory", layout=Layout.MIRROR, mirrored=COLLECTION),
            workers=2,
            batch_size=5,
            shard_size=lambda _pending: 2,
            identity="list",
            accept_vanished=True,
            force=force,
        )
        run = LocalRun(self.store, request, Watcher())
        self.pool = ScriptedPool(
            self.folder, lambda task, _: CORRUPT if task.key in failing else None
        )
        self.pool.extension, self.pool.clock = extension, self.clock
        run._pool = lambda: self.pool  # type: ignore[assignment, method-assign, return-value]
        run.run()

    @property
    def made(self) -> int:
        """Images that the last run made."""
        return len(self.pool.attempts)

    def names(self, tier: str = "full") -> dict[str, str]:
        """By key, the recorded path within a tier."""
        images = {each.ordinal: each.key for each in self.store.images(COLLECTION, 0, 9_999)}
        found = self.store.derivatives(COLLECTION, 0, 9_999, [tier])
        assert all(each.path in self.folder.files for each in found)
        return {
            images[d.ordinal]: d.path.removeprefix(f"{tier}/") for d in found if d.ordinal in images
        }


@pytest.fixture
def album(store: Store, clock: Clock) -> Album:
    return Album(store, clock)


def test_files_lie_as_in_the_source_in_every_tier(album: Album) -> None:
    album.run("2019/A b.jpg", "book.cbz!/1.png", "x.jpg", "x.png", "X.gif")
    named = {
        "2019/A b.jpg": "2019/A b.jpg",
        "book.cbz!/1.png": "book.cbz/1.jpg",
        "x.jpg": "x.jpg",
        "x.png": f"{apart('x', 'x.png')}.jpg",
        "X.gif": f"{apart('X', 'X.gif')}.jpg",
    }
    assert album.names("full") == album.names("thumbnail") == named
    assert album.folder.files.keys() == {
        f"{tier}/{name}" for tier in ("full", "thumbnail") for name in named.values()
    }
    album.run(*named)
    assert album.made == 0


def test_whatever_comes_later_renames_nothing(album: Album) -> None:
    album.run("a.jpg", "b.jpg", failing=["b.jpg"])
    album.versions["a.jpg"] = "v2"
    album.run("A.jpg", "a.jpg", "a.png", "B.jpg", "b.jpg")
    names = album.names()
    assert (names["a.jpg"], names["b.jpg"]) == ("a.jpg", "b.jpg"), (
        "also of one that failed when it came first"
    )
    assert len(set(names.values())) == 5
    album.run("A.jpg", "a.png")
    assert album.names() == {key: names[key] for key in ("A.jpg", "a.png")}, (
        "and of one that has gone"
    )
    album.run(*names)
    assert album.names() == names
    album.run(*names, force=True)
    assert (album.names(), album.made) == (names, 5)


def test_another_format_replaces_the_files_under_their_names(album: Album) -> None:
    album.run("a.jpg", "a.png", "c.jpg")
    before = set(album.folder.files)
    album.run("a.jpg", "a.png", "c.jpg", extension="webp")
    assert set(album.folder.files) == {name.replace(".jpg", ".webp") for name in before}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_names_do_not_depend_on_which_pod_runs_first(
    store: Store, order: Sequence[int], clock: Clock
) -> None:
    keys = ["a.jpg", "a.png", "B.jpg", "A.gif", "b.png", "a.webp"]
    images = [
        ImageRecord(COLLECTION, n, image_id(COLLECTION, key), key, 10, "v1")
        for n, key in enumerate(keys)
    ]
    store.upsert_images(images, 0)
    folder = MemoryFolder()
    settings = PlanSettings(
        TIERS, "cache", lambda _pending: 2, check_files=True, force=False, layout=Layout.MIRROR
    )
    Planner(store, folder, COLLECTION, settings).plan(store.create_job(job()), 1, resumed=False)
    for index in order:
        pool = ScriptedPool(folder, clock=clock)
        shard = store.claim_shard("job-1", 1, "me", 0.0, index=index)
        assert isinstance(shard, Shard)
        ShardProcessor(store, pool, folder, context(layout=Layout.MIRROR)).run(shard)  # type: ignore[arg-type]
    paths = {keys[d.ordinal]: d.path for d in store.derivatives(COLLECTION, 0, 9, ["full"])}
    assert paths == {
        "a.jpg": "full/a.jpg",
        "B.jpg": "full/B.jpg",
        **{
            key: f"full/{apart(key.partition('.')[0], key)}.jpg"
            for key in ("a.png", "A.gif", "b.png", "a.webp")
        },
    }
