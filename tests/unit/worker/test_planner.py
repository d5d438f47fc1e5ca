"""Planning: stopped anywhere it starts over and comes to the same,
and it holds no more than a shard at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from unit.worker.fakes import COLLECTION, FULL, THUMBNAIL, MemoryFolder, job
from unit.worker.test_shard import derivative, fill, have

from fpj_core.errors import FpjError
from fpj_core.model import Shard
from fpj_core.planning import cut_shards
from fpj_core.store.protocol import Store, nothing
from fpj_worker import planner
from fpj_worker.planner import Planned, Planner, PlanSettings

TIERS = (FULL, THUMBNAIL)
IMAGES = 60


class StoppedError(FpjError):
    """SIGTERM has come."""


def plan(
    store: Store,
    folder: MemoryFolder,
    on_tick: Callable[[], None] = nothing,
    *,
    force: bool = False,
) -> Planned:
    settings = PlanSettings(TIERS, "cache", lambda _pending: 4, check_files=True, force=force)
    stored = store.create_job(job("ours"))
    return Planner(store, folder, COLLECTION, settings, on_tick=on_tick).plan(
        stored, 1, resumed=True
    )


def prepare(store: Store, monkeypatch: pytest.MonkeyPatch) -> MemoryFolder:
    """Half of the images are done, some by this job; a few files are gone."""
    monkeypatch.setattr("fpj_core.store.sqlite._WINDOW", 7)
    fill(store, IMAGES)
    folder = MemoryFolder()
    done = [derivative(n, tier) for n in range(IMAGES) if n % 10 < 5 for tier in TIERS]
    have(store, folder, *(replace(each, job="ours") if each.ordinal % 3 else each for each in done))
    for ordinal in (3, 20, 44):
        del folder.files[derivative(ordinal, FULL).path]
    return folder


@pytest.mark.parametrize("force", [False, True])
def test_stopped_at_any_tick_it_comes_to_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    folder = prepare(store, monkeypatch)
    ticks = 0

    def count() -> None:
        nonlocal ticks
        ticks += 1

    planned = plan(store, folder, count, force=force)
    shards = [replace(each, epoch=0) for each in store.shards("ours", 1)]
    assert planned.shards == len(shards)
    assert ticks > 6 * IMAGES // 7 + planned.shards, (
        "for each window of each step, and for each shard"
    )
    left = 0

    def stop() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise StoppedError

    # What is forgotten once need not be checked again: later ones tick less.
    for after in range(ticks + 1):
        left = after
        try:
            again = plan(store, folder, stop, force=force)
        except StoppedError:
            continue
        break
    assert after > ticks // 2
    assert again == planned
    assert [replace(each, epoch=0) for each in store.shards("ours", 1)] == shards


def test_it_is_told_of_ticks_where_everything_is_up_to_date(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fpj_core.store.sqlite._WINDOW", 7)
    fill(store, IMAGES)
    folder = MemoryFolder()
    have(store, folder, *(derivative(n, tier) for n in range(IMAGES) for tier in TIERS))
    stages: dict[str, int] = {"": 0}

    def tick() -> None:
        stages[next(reversed(stages))] += 1

    settings = PlanSettings(TIERS, "cache", lambda _pending: 4, check_files=True, force=False)
    watched = Planner(
        store, folder, COLLECTION, settings, lambda stage: stages.update({stage: 0}), tick
    )
    assert watched.plan(store.create_job(job("ours")), 1, resumed=False).shards == 0
    assert stages["Check"] >= 2 * IMAGES, "for each file"
    assert stages["Plan"] >= IMAGES // 7


def test_shards_are_written_as_they_are_cut(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = prepare(store, monkeypatch)
    cut = written = 0
    put_shards = store.put_shards

    def cutting(*arguments: Any) -> Iterator[Shard]:
        nonlocal cut
        for shard in cut_shards(*arguments):
            cut += 1
            yield shard

    def putting(name: str, attempt: int, shards: Iterable[Shard], planner_: str) -> int:
        def seen() -> Iterator[Shard]:
            nonlocal written
            for shard in shards:
                written += 1
                assert cut == written, "however many there are, one is held"
                yield shard

        return put_shards(name, attempt, seen(), planner_)

    monkeypatch.setattr(planner, "cut_shards", cutting)
    monkeypatch.setattr(store, "put_shards", putting)
    assert plan(store, folder).shards == written > 5


def test_each_image_is_read_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many shards there are: a plan over 50 million images is a matter of minutes because
    of that.
    """
    folder = prepare(store, monkeypatch)
    statements: list[str] = []
    store._connection._sqlite.set_trace_callback(statements.append)  # type: ignore[attr-defined]
    settings = PlanSettings(TIERS, "cache", lambda _pending: 4, check_files=False, force=False)
    planned = Planner(store, folder, COLLECTION, settings).plan(
        store.create_job(job("ours")), 1, resumed=False
    )
    assert planned.shards > 5
    reads = [each for each in statements if "FROM images" in each and "max(ordinal)" not in each]
    assert len(reads) == -(-IMAGES // 7), "one query for each window"
