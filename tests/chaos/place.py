"""Where the faults of a seed happen: a namespace, its collections, and the job that is active."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from e2e.installation import Site, misbehaving
from e2e.photographs import TIERS, photographs, running
from PIL import Image
from waiting import T, wait_for
from world import FINISHED, Document

from chaos.injecting import MissedError
from chaos.proxied import Proxied
from fpj_cluster import Cluster

_TARGET_SECONDS = 20.0
_LOOK = 0.25
"""Seconds between two looks: each asks the API server,
and looks through all processes of the machine.
"""
_MANY = 100
"""Restarts and recoveries before Kubernetes and fpj give up:
there are more faults here than elsewhere.
"""
_MOST_GONE = 30
"""Part of a collection's images, in percent, of which faults may delete:
sources that shrink much more are refused.
"""


@dataclass
class Collection:
    """Images of a source, and what faults changed of them."""

    name: str
    folder: Path
    number: int
    changed: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)

    @property
    def keys(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def paint(self, key: str, seed: int) -> None:
        """Another picture under that key, in one step."""
        grain = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
        picture = Image.fromarray(grain).resize((320, 240), Image.Resampling.BICUBIC)
        unfinished = self.folder.with_name(f".{key}.unfinished")
        picture.save(unfinished, format="JPEG", quality=85)
        os.replace(unfinished, self.folder / key)
        self.changed.add(key)

    def delete(self, key: str) -> None:
        (self.folder / key).unlink()
        self.changed.add(key)
        self.gone.add(key)

    @property
    def may_shrink(self) -> bool:
        return len(self.gone) < self.number * _MOST_GONE // 100


@dataclass
class Place:
    """What faults hit. One job at a time is active; each has a collection of its own."""

    fpj: Proxied
    cluster: Cluster
    site: Site
    images: int
    slowness: float
    collections: list[Collection] = field(default_factory=list)
    meanwhile: Callable[[], object] = bool
    """Called while a target is waited for: other faults may have to end."""

    @property
    def namespace(self) -> str:
        return self.site.namespace

    @property
    def current(self) -> Collection:
        return self.collections[-1]

    @property
    def job(self) -> str:
        """The latest job's name, which is its collection's."""
        return self.current.name

    def keep_busy(self) -> None:
        """Start the next job once the last one has ended."""
        if not self.collections or self.site.status(self.job).get("phase") in FINISHED:
            self.start_job()

    def warm_up(self) -> None:
        """Wait until a worker of the first job is active."""
        self.keep_busy()
        self.site.until(lambda: running(self.site, self.job), "a worker is active", 180)

    def start_job(self) -> None:
        """Another collection, and a job over it.

        What fails halfway is continued by the next call.
        """
        name = f"c{len(self.collections)}"
        folder = self.site.folder / name
        if not folder.exists():
            photographs(folder, self.images + len(self.collections), broken=0)
        self.site.claim(name, folder)
        self.run(name, name, misbehaving(self.slowness))
        self.collections.append(Collection(name, folder, self.images))

    def run(self, name: str, collection: str, template: Document | None = None) -> None:
        """A job over a collection. Limits that a person would set lower do not end it."""
        sharding = {"parallelism": 2, "workersPerPod": 1, "shardSize": 12, "batchSize": 4}
        self.site.job(
            name,
            collection,
            collection=collection,
            sharding=sharding | {"backoffLimitPerShard": _MANY},
            recovery={"maxAttempts": _MANY},
            workerTemplate=template or {},
            **TIERS,
        )

    def target(self, found: Callable[[], T], what: str) -> T:
        """What a fault is to hit.

        It may take a moment to be there; the next job is started if need be.
        """

        def there() -> T:
            self.meanwhile()
            self.keep_busy()
            return found()

        try:
            return wait_for(there, what, _TARGET_SECONDS, _LOOK)
        except AssertionError as error:
            raise MissedError(what) from error
