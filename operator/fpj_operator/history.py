"""How long the store remembers jobs whose resource was deleted: their records, shards and failures, never outputs.

A job's record stays as long as its resource. After that it answers what failed and when, until there are enough newer
ones of the collection, or it is too old. Only the leader forgets, a bounded number of jobs at a time; and only what it
knows to be over: the job has ended, and the API server says that there is no such resource any more.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace

from fpj_core.cluster import Cluster, ClusterError
from fpj_core.errors import StoreError
from fpj_core.jobs import change_job
from fpj_core.model import Job, Phase
from fpj_core.store.protocol import Store
from fpj_operator.settings import OperatorSettings
from fpj_operator.state import Key

_SECONDS = 600.0
_PAGE, _MOST_READ = 500, 100_000
_TICK = 0.001
_MOST_CHECKED = 200
"""Jobs of a pass about which the API server is asked, and which are forgotten at most."""

UidOf = Callable[[Key], Awaitable[str | None]]
"""The uid of the resource of that name now; None if there is none. Raises `ClusterError`."""

log = logging.getLogger("fpj.history")


async def keep_history(cluster: Cluster, store: Store, settings: OperatorSettings) -> None:
    """Forever; what fails is tried again with the next pass. A start has enough to do without the first."""

    async def uid_of(key: Key) -> str | None:
        found = await cluster.get("FileProcessingJob", key.namespace, key.name)
        return str(found["metadata"]["uid"]) if found else None

    while True:
        await asyncio.sleep(_SECONDS)
        try:
            await prune(store, uid_of, settings, time.time())
        except (ClusterError, StoreError) as error:
            log.warning("old records are kept for now: %s", error)


async def prune(store: Store, uid_of: UidOf, settings: OperatorSettings, now: float) -> int:
    """One pass; how many jobs were forgotten. Raises `ClusterError` and `StoreError`."""
    forgotten = 0
    for job in await asyncio.to_thread(_outdated, store, settings, now):
        key = key_of(job)
        if key is None or await uid_of(key) == job.id:
            continue
        if job.phase.finished:
            await asyncio.to_thread(store.delete_job, job.id)
            forgotten += 1
        else:  # deleted while no operator ran: it ends now, and its time begins
            await asyncio.to_thread(_cancel, store, job.id, now)
    if forgotten:
        log.info("%d old jobs forgotten", forgotten)
    return forgotten


def key_of(job: Job) -> Key | None:
    """The resource of a job; None for one of `fpj run`, which has none."""
    metadata = job.manifest.get("metadata")
    if not isinstance(metadata, Mapping) or metadata.get("uid") != job.id or not metadata.get("namespace"):
        return None
    return Key(metadata["namespace"], metadata["name"])


def _outdated(store: Store, settings: OperatorSettings, now: float) -> list[Job]:
    """Jobs to be asked about, of namespaces that are ours: ended ones beyond the limits, and any that are very old."""
    seen: Counter[str] = Counter()
    found = []
    for job in _all(store):
        key = key_of(job)
        if key is None or (settings.namespaces and key.namespace not in settings.namespaces):
            continue
        seen[job.collection] += job.phase.finished
        if _beyond(job, seen[job.collection], settings, now):
            found.append(job)
    # By chance: the oldest may all have their resources still, and would be asked about in each pass.
    return random.sample(found, min(_MOST_CHECKED, len(found)))


def _all(store: Store) -> Iterator[Job]:
    """Newest first, each once. Those of the second at which a page ends are read again: pages are cut by time."""
    before, seen = None, set[str]()
    while len(seen) < _MOST_READ:
        page = store.jobs(limit=_PAGE, before=before)
        fresh = [job for job in page if job.id not in seen]
        yield from fresh
        seen.update(job.id for job in fresh)
        if len(page) < _PAGE:
            return
        last = page[-1].created_at
        before = last + _TICK if fresh else last


def _cancel(store: Store, uid: str, now: float) -> None:
    def cancelled(job: Job) -> Job:
        return replace(job, phase=Phase.CANCELLED, reason="Deleted", message="", finished_at=now)

    change_job(store, uid, cancelled)


def _beyond(job: Job, place: int, settings: OperatorSettings, now: float) -> bool:
    too_many = 0 < settings.history_limit < place
    ended = job.finished_at if job.phase.finished else job.last_progress_at or job.created_at
    too_old = 0 < settings.history_seconds < now - (ended or now)
    return too_old or (job.phase.finished and too_many)
