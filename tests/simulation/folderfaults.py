"""What may go wrong with cache folders; see `simulation.faults`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from fpj_core.folders.ownership import new_marker
from fpj_core.kube import names
from fpj_core.model import Folder
from simulation import faults
from simulation.apiserver import Document
from simulation.faults import Event

if TYPE_CHECKING:
    from simulation.folderworld import FolderWorld
    from simulation.world import World

_NOT_HERE = frozenset(
    {"store_emptied", "store_copied", "store_saved", "store_restored", "store_loses_shards"}
    | {"source_unmounted", "clock_jumps", "store_clock_jumps"}
)
"""What is searched by the other schedules; the marker of a replaced store is another's."""

EVENTS: dict[str, Event] = {
    name: what for name, what in faults.EVENTS.items() if name not in _NOT_HERE
}


def event(function: Event) -> Event:
    EVENTS[function.__name__] = function
    return function


def _of(world: World) -> FolderWorld:
    return cast("FolderWorld", world)


@event
def another_job(world: World) -> None:
    _of(world).new_job()


@event
def policy_edited(world: World) -> None:
    mine = _of(world)
    share = mine.dice.choice((0.2, 0.4, 0.7, 1.5))
    mine.apply_folder(mine.spec_of(share, **mine.some_policy()))


@event
def cleanup_requested(world: World) -> None:
    """Twice within a moment, sometimes."""
    for _ in range(world.dice.choice((1, 1, 2))):
        world.resumes += 1
        mark = {names.CLEANUP_ANNOTATION: f"clean-{world.resumes}"}
        world.api.edit(("CacheFolder", "team", "cache"), partial(_annotated, mark))


def _annotated(mark: dict[str, str], document: Document) -> None:
    document["metadata"].setdefault("annotations", {}).update(mark)


@event
def photographs_vanish(world: World) -> None:
    """Some of an album, and a job notices."""
    mine = _of(world)
    album = mine.dice.choice(sorted(mine.albums))
    photos = mine.albums[album]
    for key in mine.dice.sample(sorted(photos.versions), min(2, len(photos.versions) - 1)):
        del photos.versions[key]
    mine.new_job(album)


@event
def folder_not_mounted(world: World) -> None:
    """Pods that start have the empty mount point.

    While nothing is recorded, nobody could tell that from a new folder.
    """
    mine = _of(world)
    if not mine.own_checks.kept:
        return
    mine.was_unmounted = True
    mine.mount(mine.empty_disk())
    mine.later(mine.dice.choice((5.0, 30.0, 100.0)), lambda: mine.mount(mine.disk))


@event
def folder_of_another_store(world: World) -> None:
    """Pods that evict have another installation's folder, with files of the same names.

    Jobs may work there: after a store was lost, they make everything again.
    """
    mine = _of(world)
    mine.mount(mine.another_disk(), only_for_runs=True)
    mine.later(
        mine.dice.choice((5.0, 30.0, 100.0)), lambda: mine.mount(mine.disk, only_for_runs=True)
    )


@event
def marker_lost(world: World) -> None:
    """Somebody deletes it, also under those who work."""
    mine = _of(world)
    _marked_for_a_while(mine, None)


@event
def marker_of_another_store(world: World) -> None:
    """Another installation has taken the folder over."""
    mine = _of(world)
    _marked_for_a_while(mine, new_marker("0" * 32, Folder("team.cache", "")))


def _marked_for_a_while(world: FolderWorld, marker: bytes | None) -> None:
    before = world.disk.marker
    if before is None or world.disk.theirs:
        return
    world.was_unmounted = True
    world.disk.marker, world.disk.theirs = marker, marker is not None
    world.disk.marked_at = world.kernel.loop.now

    def back() -> None:
        world.disk.marker, world.disk.theirs = before, False

    world.later(world.dice.choice((2.0, 20.0, 60.0)), back)


@event
def files_stick(world: World) -> None:
    """Some files cannot be removed for a while."""
    disk = _of(world).disk
    paths = sorted(disk.files)
    disk.stuck.update(world.dice.sample(paths, min(3, len(paths))))
    world.later(world.dice.choice((10.0, 60.0, 150.0)), disk.stuck.clear)


@event
def evictor_frozen(world: World) -> None:
    """For longer than its leases last, also."""
    running = [
        process
        for ref, process in world.cluster.running.items()
        if "-evict-" in ref[2] and not process.dead
    ]
    if running:
        process = world.dice.choice(running)
        until = world.kernel.loop.now + world.dice.choice((5.0, 70.0, 130.0))
        process.frozen_until = until


OFTEN: tuple[str, ...] = (
    *("another_job", "policy_edited", "cleanup_requested", "photographs_vanish"),
    *("worker_killed", "evictor_frozen", "spec_edited", "suspended_and_resumed"),
)

MOMENTS: tuple[str, ...] = (
    *("-> Indexing", "-> Running", "-> Completed", "store.flush", "store.claim_shard"),
    *("store.start_removals", "store.end_removals", "removes ", "store.reserve"),
    *("store.acquire_lease", "store.refresh_folder", "store.upsert_folder"),
    *("POST Job", "exit ", "file ", "PATCH CacheFolder"),
)
