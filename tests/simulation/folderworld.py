"""Schedules of cache folders: jobs that compete for the room in one, and evictors.

Everything of `simulation.world` is in it, and the operator looks after cache folders.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

from typing_extensions import override

from fpj_core.folders.ownership import new_marker
from fpj_core.kube.names import store_collection
from fpj_core.kube.records import folder_name
from fpj_core.model import Folder
from fpj_core.v1alpha1 import API_VERSION
from fpj_worker.inventory import take_inventory
from simulation import folderchecks, folderfaults, pods
from simulation.apiserver import Document, Ref
from simulation.disks import Photos, SimFolder
from simulation.folderdisks import FolderDisk, FolderView
from simulation.folderstore import FolderStoreChecks
from simulation.world import NAMESPACE, Result, World

CACHE: Ref = ("CacheFolder", NAMESPACE, "cache")
FOLDER = folder_name(NAMESPACE, "cache")
SMALLEST, LARGEST = 20_000, 25_000
"""Bytes of a file: about what fpj expects of a thumbnail before it has made any."""
_MOST_SECONDS = 4_000.0
_EVICTED_SECONDS = 900.0
_LATER_SECONDS = 3_700.0
"""After which nothing is too young to be called an orphan."""


class FolderWorld(World):
    """One schedule."""

    events = folderfaults.EVENTS
    often = folderfaults.OFTEN
    moments = folderfaults.MOMENTS
    checks_folders = True
    store_checks = FolderStoreChecks
    checks: folderchecks.FolderChecks
    disk: FolderDisk

    def __init__(self, seed: int, force: tuple[str, ...] = ()) -> None:
        super().__init__(seed, force)
        dice = self.dice
        self.albums = {
            f"album-{album}": Photos(
                {f"{album}-{number:02}.jpg": "v1" for number in range(dice.randint(3, 9))}
            )
            for album in range(dice.choice((2, 2, 3, 4)))
        }
        self.collections = list(self.albums)
        self.photos = self.albums["album-0"]
        self.keeps = {name: dice.random() < 0.2 for name in self.albums}
        """Of which albums what was made of vanished photographs stays."""
        self.disk = FolderDisk()
        self.store.checks.unsynced = self.disk.not_on_disk
        self.disk.on_written = self.checks.on_written
        self.disk.on_removed = self.checks.on_removed
        self.mounted = self.mounted_for_runs = self.disk
        """What pods that start now have as the folder, and those that evict."""
        self.network.on_call = _stepped
        self.network.gives_way = dice.choice((0.3, 1.0))
        self.deadly = dice.choice((0.0, 0.2, 0.6))
        """How often a pod is killed at one of its steps."""
        self.specs: list[tuple[float, Document]] = []
        """The folder's specs, each with when it came into force."""
        self.numbers = 0

    @property
    def own_checks(self) -> FolderStoreChecks:
        """What holds of the store's calls."""
        found = self.store.checks
        assert isinstance(found, FolderStoreChecks)
        return found

    @override
    def make_checks(self) -> folderchecks.FolderChecks:
        self.store.checks.world = self  # type: ignore[attr-defined]
        self.store.checks.is_there = lambda key: any(
            key in each.versions for each in self.albums.values()
        )
        return folderchecks.FolderChecks(self)

    @override
    def photos_of(self, collection: str) -> Photos:
        return next(
            photos
            for name, photos in self.albums.items()
            if store_collection(NAMESPACE, name) == collection
        )

    @override
    def can_be_made(self, key: str) -> bool:
        return any(key in each.versions for each in self.albums.values())

    @override
    def folder_of(self, process: pods.PodProcess) -> SimFolder:
        runs = "-evict-" in process.name
        return FolderView(self.mounted_for_runs if runs else self.mounted, kernel=self.kernel)

    @override
    def size_of(self, key: str, digest: str) -> int:
        return SMALLEST + sum(map(ord, key + digest)) * 97 % (LARGEST - SMALLEST)

    @override
    def on_pod(self, process: pods.PodProcess, command: str) -> None:
        rate = self.deadly if command == "evict" else self.deadly / 4
        if not self.calm and self.dice.random() < rate:
            process.dies_after = self.dice.randint(1, 70 if command == "evict" else 150)

    # People ---------------------------------------------------------------------------------------

    @property
    def total(self) -> int:
        """Bytes that all there is to make may come to."""
        return sum(len(each.versions) for each in self.albums.values()) * LARGEST

    def spec_of(self, share: float, **policy: Any) -> Document:
        """A folder's spec with room for this share of everything."""
        spec: Document = {
            "storage": {"persistentVolumeClaim": {"claimName": "cache"}},
            "maxBytes": max(int(self.total * share), 3 * LARGEST),
        }
        return spec | ({"policy": policy} if policy else {})

    def apply_folder(self, spec: Document) -> None:
        """Make the folder, or edit it."""
        if CACHE in self.api.objects:
            self.api.edit(CACHE, lambda document: document.update(spec=spec))
        else:
            metadata = {"name": "cache", "namespace": NAMESPACE}
            kinds = {"apiVersion": API_VERSION, "kind": "CacheFolder"}
            self.api.put({**kinds, "metadata": metadata, "spec": spec})
        self.specs.append((self.kernel.loop.now, json.loads(json.dumps(spec))))
        self.kernel.note("people", f"CacheFolder {json.dumps(spec)}")

    def some_policy(self) -> Document:
        """A policy by the dice: limits, pins, ages."""
        dice = self.dice
        policy: Document = {}
        if dice.random() < 0.3:
            policy |= {"eviction": dice.choice(("Cost", "LRU", "Priority"))}
        if dice.random() < 0.3:
            policy |= {"highWatermark": dice.choice((60, 95)), "lowWatermark": 40}
        if dice.random() < 0.3:
            policy["minimumAgeSeconds"] = dice.choice((5, 60, 600))
        if dice.random() < 0.3:
            policy["ttl"] = dice.choice((60, 300))
        collections = []
        for name, photos in self.albums.items():
            kind = dice.random()
            if kind < 0.15:
                collections.append({"id": name, "pinned": True})
            elif kind < 0.35 and photos.versions:
                keys = dice.sample(sorted(photos.versions), min(2, len(photos.versions)))
                collections.append({"id": name, "pinnedImages": keys})
            elif kind < 0.5:
                collections.append({"id": name, "maxBytes": 3 * LARGEST})
        return policy | ({"collections": collections} if collections else {})

    def new_job(self, album: str = "") -> None:
        """Another job of an album."""
        album = album or self.dice.choice(sorted(self.albums))
        spec = self._spec()
        spec["collection"] = {
            "id": album,
            "source": {"persistentVolumeClaim": {"claimName": album}},
            "vanished": "Keep" if self.keeps[album] else "Delete",
        }
        spec["cacheFolder"] = "cache"
        self.numbers += 1
        self.create_job(f"{album}-{self.numbers}", spec)

    # The story ------------------------------------------------------------------------------------

    @override
    async def _story(self) -> None:
        dice = self.dice
        self.apply_folder(self.spec_of(dice.choice((0.3, 0.6, 1.2)), **self.some_policy()))
        for album in self.albums:
            soon = dice.uniform(0.0, dice.choice((0.1, 30.0)))
            self.later(soon, partial(self.new_job, album))
        self._choose_faults()
        calm_at = self.kernel.loop.now + dice.choice((60.0, 150.0, 300.0))
        while self.kernel.loop.now < calm_at:
            await asyncio.sleep(5.0)
            self.checks.while_it_runs()
        self._heal()
        await self._until(self._all_finished, _MOST_SECONDS, "a job never ends")
        await asyncio.sleep(25.0)
        self.checks.at_rest()
        self.phases = self._phases()
        await self._end_over_quota()
        self._verify()

    @override
    def _heal(self) -> None:
        super()._heal()
        self.disk.stuck.clear()
        self.later(45.0, lambda: self.apply_folder(self.spec_of(4.0)))

    async def _end_over_quota(self) -> None:
        """The folder may hold less, and nobody works: it must come to hold that."""
        self.apply_folder(self.spec_of(0.4))
        await self._until(self.checks.not_evicted, _EVICTED_SECONDS, "the folder stays too full")

    def _verify(self) -> None:
        """`fpj verify --repair` and another `fpj verify`, an hour later: nothing differs."""
        for replica in self.replicas:
            if replica.process is not None:
                replica.process.kill()
        self.kernel.loop.now += _LATER_SECONDS
        self.checks.at_the_end()
        folder = FolderView(self.disk, kernel=self.kernel)
        take_inventory(self.store.real, folder, FOLDER, repair=True)
        again = take_inventory(self.store.real, folder, FOLDER)
        self.kernel.note("verify", f"{again.compared} files, {again.left} differ")
        self.checks.after_verify(again)

    # Folders in its place -------------------------------------------------------------------------

    def mount(self, disk: FolderDisk, *, only_for_runs: bool = False) -> None:
        """Pods that start from now on have this folder."""
        self.mounted_for_runs = disk
        if not only_for_runs:
            self.mounted = disk

    def another_disk(self) -> FolderDisk:
        """A folder of another store, with files of the same names."""
        disk = FolderDisk(files=dict(self.disk.files), theirs=True)
        disk.marker = new_marker("0" * 32, Folder(FOLDER, ""))
        disk.on_removed = self.checks.on_theirs
        return disk

    def empty_disk(self) -> FolderDisk:
        """The mount point of a volume that is not mounted."""
        return FolderDisk()


def _stepped(process: object) -> None:
    if isinstance(process, pods.PodProcess):
        process.step()


def run(seed: int, force: tuple[str, ...] = ()) -> Result:
    """One schedule; ``force`` names events that surely happen in it."""
    return FolderWorld(seed, force).run()
