"""One experiment: what is injected, what must hold, what was seen, and the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e.installation import Site, misbehaving
from e2e.photographs import RESTRICTED, TIERS, photographs
from e2e.truth import Size, sizes_in
from planes import fresh_namespace
from waiting import T, wait_for

from experiments.bed import Bed
from experiments.journal import Journal


@dataclass
class Trial:
    """Prints as it goes.

    An experiment succeeds if all that must hold does, and no status says what cannot be so.
    """

    bed: Bed
    folder: Path
    say: Callable[[str], None]
    began: float = field(default_factory=time.monotonic)
    failed: list[str] = field(default_factory=list)

    def injected(self, what: str) -> None:
        self._say("injected", what)

    def seen(self, what: str) -> None:
        self._say("seen", what)

    def must(self, holds: object, what: str) -> None:
        """What has to hold, with the figure that was seen."""
        self._say("holds" if holds else "FAILS", what)
        if not holds:
            self.failed.append(what)

    def wait(self, condition: Callable[[], T], what: str, seconds: float = 60) -> T:
        """Wait for what has to come."""
        return wait_for(condition, what, seconds)

    def took(
        self, condition: Callable[[], object], what: str, seconds: float = 60, at_most: float = 0
    ) -> float:
        """How long that took to come; more than ``at_most`` seconds (of the bound,
        if 0) is a failure.
        """
        start = time.monotonic()
        wait_for(condition, what, seconds)
        elapsed = time.monotonic() - start
        self.must(elapsed <= (at_most or seconds), f"{what}: after {elapsed:.1f} s")
        return elapsed

    @contextmanager
    def place(
        self, labels: dict[str, str] | None = None, *, falls: bool = False
    ) -> Iterator[tuple[Site, Journal]]:
        """A namespace with a cache folder, and the journal of its jobs.

        With ``falls`` what is done may become less.
        """
        with fresh_namespace(self.bed.kube, RESTRICTED if labels is None else labels) as namespace:
            folder = self.folder / namespace
            folder.mkdir()
            with Journal(self.bed.api, namespace) as journal:
                yield Site(self.bed, namespace, folder), journal
                for untruth in journal.untruths(falls=falls):
                    self.must(False, untruth)

    def _say(self, kind: str, what: str) -> None:
        self.say(f"  {time.monotonic() - self.began:6.1f} s  {kind:8}  {what}")


def pictures(site: Site, name: str, number: int) -> dict[str, Size | None]:
    """A claim with so many photographs; their sizes."""
    photographs(site.folder / name, number, broken=0)
    site.claim(name, site.folder / name)
    return dict(sizes_in(site.folder / name))


def slow_job(
    site: Site,
    name: str,
    source: str,
    slowness: float = 0.25,
    collection: str | None = None,
    **spec: Any,
) -> None:
    """A job of small pictures, made so slowly that something can befall it."""
    sharding = {"parallelism": 2, "workersPerPod": 1, "shardSize": 12, "batchSize": 4} | spec.pop(
        "sharding", {}
    )
    template = misbehaving(slowness) | spec.pop("workerTemplate", {})
    site.job(
        name,
        source,
        collection=collection,
        sharding=sharding,
        workerTemplate=template,
        **TIERS,
        **spec,
    )


def done(site: Site, name: str) -> int:
    """Images that the store has as done, whatever a status says."""
    found = site.get(name)
    record = site.fpj.store.get_job(found["metadata"]["uid"]) if found else None
    if record is None or record.planned_attempt == 0:
        return 0
    counts, _ = site.fpj.store.job_counts(record.id, record.planned_attempt)
    return (record.base + counts).done


Experiment = Callable[[Trial], None]


@dataclass(frozen=True)
class Known:
    """An experiment of the list."""

    name: str
    what: str
    run: Experiment
    own_bed: bool = False
    """Whether it installs other versions, and so must be the last."""


KNOWN: dict[str, Known] = {}


def experiment(
    name: str, what: str, *, own_bed: bool = False
) -> Callable[[Experiment], Experiment]:
    """Put a function on the list."""

    def put(run: Experiment) -> Experiment:
        KNOWN[name] = Known(name, what, run, own_bed)
        return run

    return put
