"""Dead, blocked and fenced workers: how soon a shard is taken from the dead,
and that nobody else loses one.
"""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
from podrunner.process import ContainerProcess

from bench.cache import cache_folder
from bench.mongodb import mongodb_uri
from bench.plane import load, quantile, until
from bench.podprocesses import PodJob, kill
from bench.result import Benchmark, Row, Scale, at_most
from fpj_core.errors import FencedError
from fpj_core.model import Counts, Derivative, Job, Shard, ShardBatch, ShardState
from fpj_core.store import open_store
from fpj_core.store.protocol import Store

_SUSPECT_SECONDS = 15.0
_RESTART_SECONDS = 10.0
"""How long the Job controller waits before it makes a pod again."""
_BLOCKED_SECONDS = 10.0
_SLOWNESS = 1.0


# The dead -----------------------------------------------------------------------------------------


def _is_held_again(job: PodJob, index: int, epoch: int) -> bool:
    """Whether the shard has a holder after the one of that epoch."""
    return job.epoch(index) > epoch


def dead(scale: Scale) -> Iterator[Row]:
    """Of two pods of a job one is killed with -9, again and again.

    Its successor comes when the Job controller says.
    """
    jobs, rounds = scale.pick((2, 1), (4, 10))
    noticed: list[float] = []
    reclaimed: list[float] = []

    def go(job: PodJob) -> None:
        pods = {index: job.start("shard", index) for index in range(2)}
        try:
            until(lambda: job.at_work, "both shards are taken", 120)
            for number in range(rounds):
                index = number % 2
                epoch = job.epoch(index)
                time.sleep(1 + number % 3)  # somewhere between two heartbeats
                kill(pods[index])
                killed = time.time()
                silent = job.store.shard(job.uid, 1, index)
                assert silent
                noticed.append(silent.heartbeat_at + _SUSPECT_SECONDS - killed)
                time.sleep(_RESTART_SECONDS)
                pods[index] = job.start("shard", index)
                until(partial(_is_held_again, job, index, epoch), "a new holder", 120)
                reclaimed.append(time.time() - killed)
        finally:
            for pod in pods.values():
                kill(pod)

    with _jobs(jobs, images=2 * 60 * rounds + 120) as made:
        _in_threads(go, made)
    note = (
        f"{len(reclaimed)} kills of {jobs} jobs at a time, new pods after {_RESTART_SECONDS:g} s;"
        f" {load()}"
    )
    yield Row(
        "a dead shard is free to take after, p99", quantile(noticed, 0.99), "s", at_most(15), note
    )
    yield Row("a dead shard is taken after, median", quantile(reclaimed, 0.5), "s")
    yield Row("a dead shard is taken after, p99", quantile(reclaimed, 0.99), "s", at_most(20), note)


# The blocked --------------------------------------------------------------------------------------


def blocked(scale: Scale) -> Iterator[Row]:
    """All processes of a pod get no CPU for ten seconds, again and again,
    while another pod waits for its shard.
    """
    jobs, rounds = scale.pick((2, 1), (4, 8))
    rescues: list[int] = []

    def go(job: PodJob) -> None:
        pods = [job.start("shard", index) for index in range(2)]
        try:
            until(lambda: job.at_work, "both shards are taken", 120)
            before = sum(job.epoch(index) for index in range(2))
            waiting = [job.start("shard", index) for index in range(2)]
            pods += waiting
            until(
                lambda: all("waiting" in pod.log for pod in waiting),
                "pods wait for the shards",
                120,
            )
            for _ in range(rounds):
                for pod in pods[:2]:
                    pod.signal_all(signal.SIGSTOP)
                time.sleep(_BLOCKED_SECONDS)
                for pod in pods[:2]:
                    pod.signal_all(signal.SIGCONT)
                time.sleep(_BLOCKED_SECONDS / 2)
            rescues.append(sum(job.epoch(index) for index in range(2)) - before)
        finally:
            for pod in pods:
                kill(pod)

    with _jobs(jobs, images=2 * 20 * rounds + 120) as made:
        _in_threads(go, made)
    note = f"{jobs * rounds * 2} times {_BLOCKED_SECONDS:g} s, with pods in wait; {load()}"
    yield Row("shards taken from blocked workers", sum(rescues), "", at_most(0), note)


# The fenced ---------------------------------------------------------------------------------------


def fenced(scale: Scale) -> Iterator[Row]:
    """Holders of lost claims write whatever a holder writes,
    while the rightful ones do their work.
    """
    zombies = scale.pick(1_000, 10_000)
    with (
        tempfile.TemporaryDirectory(prefix="store-", dir=cache_folder()) as folder,
        closing(open_store(str(Path(folder, "store.db")))) as store,
    ):
        yield from _fenced(store, "SQLite", zombies)
    with mongodb_uri() as uri, closing(open_store(uri)) as store:
        yield from _fenced(store, "MongoDB", zombies)


_THREADS, _SHARDS, _STEPS = 8, 20, 20
_COLLECTION = "fenced"


def _fenced(store: Store, name: str, zombies: int) -> Iterator[Row]:
    now = time.time()
    job = store.create_job(Job("fenced", "fenced", _COLLECTION, {}, "", created_at=now))
    cut = [
        Shard(job.id, 1, n, _COLLECTION, n * _STEPS, (n + 1) * _STEPS, n * _STEPS)
        for n in range(_SHARDS)
    ]
    store.put_shards(job.id, 1, cut)
    dead = [_claim(store, job.id, n, "zombie", now) for n in range(_SHARDS)]
    alive = [_claim(store, job.id, n, "holder", now + 60) for n in range(_SHARDS)]
    accepted: list[int] = []

    def haunt(number: int) -> None:
        shard = dead[number % _SHARDS]
        try:
            _ZOMBIE_WRITES[number % len(_ZOMBIE_WRITES)](store, shard)
        except FencedError:
            return
        accepted.append(number)

    began = time.monotonic()
    with ThreadPoolExecutor(_THREADS) as threads:
        haunted = [threads.submit(haunt, number) for number in range(zombies)]
        for step in range(_STEPS):
            for shard in alive:
                store.flush(_batch(shard, shard.start + step, "holder"), now)
        for each in haunted:
            each.result()
    seconds = time.monotonic() - began
    for shard in alive:
        store.finish_shard(shard, ShardState.SUCCEEDED, now)
    counts, states = store.job_counts(job.id, 1)
    exact = counts.completed == _SHARDS * _STEPS and states == {ShardState.SUCCEEDED: _SHARDS}
    theirs = sum(
        each.folder != "holder"
        for each in store.derivatives(_COLLECTION, 0, _SHARDS * _STEPS, ["full"])
    )
    note = (
        f"{zombies:,} attempts in {seconds:.1f} s: results, heartbeats, ends; counts"
        f" {'exact' if exact else 'WRONG'}"
    )
    yield Row(
        f"writes of fenced workers accepted, {name}",
        len(accepted) + theirs + (not exact),
        "",
        at_most(0),
        note,
    )


def _claim(store: Store, job: str, index: int, holder: str, now: float) -> Shard:
    claimed = store.claim_shard(job, 1, holder, now, index=index)
    assert claimed
    return claimed


def _flush_lost(store: Store, shard: Shard) -> None:
    store.flush(_batch(shard, shard.start, "zombie"), time.time())


def _flush_whole(store: Store, shard: Shard) -> None:
    store.flush(replace(_batch(shard, shard.start, "zombie"), cursor=shard.stop), time.time())


def _beat(store: Store, shard: Shard) -> None:
    store.heartbeat(shard, time.time())


def _finish(store: Store, shard: Shard) -> None:
    store.finish_shard(shard, ShardState.SUCCEEDED, time.time())


_ZOMBIE_WRITES: tuple[Callable[[Store, Shard], None], ...] = (
    _flush_lost,
    _flush_whole,
    _beat,
    _finish,
)


def _batch(shard: Shard, ordinal: int, who: str) -> ShardBatch:
    """One image's result; the cache folder's name says whose."""
    derivative = Derivative(
        image=f"image-{ordinal}",
        tier="full",
        collection=_COLLECTION,
        ordinal=ordinal,
        digest="digest",
        source_version="1",
        folder=who,
        path=f"{who}/{ordinal}.jpg",
        width=1,
        height=1,
        bytes=1,
        job=shard.job,
        created_at=0.0,
    )
    one = Counts(completed=1, bytes_written=1)
    return ShardBatch(
        shard.job,
        1,
        shard.index,
        _COLLECTION,
        shard.epoch,
        0,
        ordinal,
        ordinal + 1,
        one,
        derivatives=(derivative,),
    )


# A pod's first image ------------------------------------------------------------------------------


def first(scale: Scale) -> Iterator[Row]:
    """From the start of a worker pod's process until its first image is made,
    with all CPU that it took.
    """
    times = scale.pick(2, 5)
    walls, cpus = [], []
    with _jobs(times, images=20, shards=1, slowness=0.0) as made:
        for job in made:
            began = time.time()
            pod = job.start("shard", 0)
            cpu = 0.0
            while not _made(job) and pod.code is None:
                cpu = max(cpu, _cpu_of(pod))
                time.sleep(0.02)
            walls.append(min(_made(job)) - began)
            cpus.append(cpu)
            pod.wait(60)
            kill(pod)
    yield Row(
        "pod's start to its first image, median",
        quantile(walls, 0.5),
        "s",
        at_most(3),
        f"{times} pods; {load()}",
    )
    yield Row(
        "  CPU until it was recorded",
        quantile(cpus, 0.5),
        "s",
        at_most(3),
        "with what followed until the first flush",
    )


def _made(job: PodJob) -> list[float]:
    return [
        each.created_at
        for each in job.store.derivatives(job.collection, 0, 1_000, ["full", "thumbnail"])
    ]


def _cpu_of(pod: ContainerProcess) -> float:
    total = 0.0
    for pid in pod._session():
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


# Helpers ------------------------------------------------------------------------------------------


class _jobs:  # noqa: N801 - used as a function
    """Jobs over one store, planned one after another."""

    def __init__(
        self, count: int, *, images: int, shards: int = 2, slowness: float = _SLOWNESS
    ) -> None:
        self._count, self._images, self._shards, self._slowness = count, images, shards, slowness

    def __enter__(self) -> list[PodJob]:
        self._folder = tempfile.TemporaryDirectory(prefix="pods-", dir=cache_folder())
        self._mongodb = mongodb_uri()
        url = self._mongodb.__enter__()
        self._store = open_store(url)
        given = {"images": self._images, "shards": self._shards}
        return [
            PodJob(self._store, url, Path(self._folder.name), slowness=self._slowness, **given)
            for _ in range(self._count)
        ]

    def __exit__(self, *error: object) -> None:
        self._store.close()
        self._mongodb.__exit__(None, None, None)
        self._folder.cleanup()


def _in_threads(work: Callable[[PodJob], None], jobs: list[PodJob]) -> None:
    failed: list[BaseException] = []

    def guarded(job: PodJob) -> None:
        try:
            work(job)
        except BaseException as error:  # noqa: BLE001 - raised below
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


BENCHMARKS = (
    Benchmark("op-dead", "Shards of dead workers", dead),
    Benchmark("op-blocked", "Workers without a CPU", blocked),
    Benchmark("op-fenced", "Writes of fenced workers", fenced),
    Benchmark("op-first", "A worker pod's first image", first),
)
