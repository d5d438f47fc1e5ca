"""A job from its creation to its end, simulated: pods start, work on shards and end, in waves.

Pure and repeatable.

What pods do between two events is not simulated image by image. All pods of a job work at the same
pace, so one clock counts their work; where the store or the node cannot bear them all, that clock
runs slower for everybody.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from fpj_core.kube.names import WAVE
from fpj_core.v1alpha1.defaults import shard_size
from fpj_fleet.figures import Figures

_READ = 1_000
"""Images that a worker reads at a time."""
_FEW = 10
"""So few pods each sum all shards at their end; of more, one a second does.

See `fpj_worker.pod.report`.
"""
_BIN_SECONDS = 10.0
"""Peaks are means over so long."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a job works on, and with what."""

    images: int
    pods: int
    image_ms: float
    """CPU of one image, in milliseconds."""
    workers: int = 4
    """Processes of a pod; each has a core of its own, unless ``cores`` are fewer."""
    shard_size: int | None = None
    cores: float = math.inf
    """For all pods together."""
    store_cores: float = 4.0
    default_limits: bool = True
    """Whether Job controller and scheduler have the limits of requests that Kubernetes gives them
    by default.
    """
    spread: bool = True
    """Whether shards differ in what their images cost."""


@dataclass(frozen=True, slots=True)
class Load:
    """Operations a second."""

    mean: float
    peak: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the job takes.

    ``stages`` are seconds; ``store`` commands and ``api`` requests are those while pods run.
    """

    seconds: float
    stages: Mapping[str, float]
    shards: int
    waves: int
    busy: float
    """The share of the pods' time in which images are made."""
    tail: float
    """Seconds in which pods had nothing left to do while others of their wave still worked,
    over all waves.
    """
    store: Mapping[str, Load]
    store_cores: float
    """That the store's server uses, on average while pods run."""
    api: Mapping[str, Load]

    @property
    def images_per_second(self) -> float:
        """See ``stages``: over the whole job. Set by `simulate`."""
        return self.stages["images a second"]

    def total(self, loads: Mapping[str, Load]) -> Load:
        """Of all kinds together; the peaks need not be at the same time,
        so theirs is an upper bound.
        """
        return Load(
            sum(each.mean for each in loads.values()), sum(each.peak for each in loads.values())
        )


def report_pause(pods: int, figures: Figures) -> float:
    """Seconds between two tries of a pod to be the one that reports.

    See `fpj_worker.pod.report.pause_after_miss`.
    """
    return figures["worker.report_try"] * min(max(pods / 10, 1.0), 10.0)


def simulate(fleet: Fleet, figures: Figures) -> Outcome:
    """Simulate a first run over a collection that nothing is known of."""
    size = fleet.shard_size or shard_size(fleet.images, fleet.pods)
    shards = math.ceil(fleet.images / size)
    stages = {
        "take up": figures["job.take_up"],
        "list": figures["job.bind"] + figures["pod.start"] + fleet.images / figures["index.rate"],
        "plan": fleet.images / figures["index.plan_rate"],
        "hand over": figures["job.hand_over"],
    }
    run = _Run(fleet, figures, size, shards)
    began = run.now = sum(stages.values())
    run.play()
    stages["process"] = run.now - began
    stages["end"] = figures["job.end"]
    seconds = sum(stages.values())
    process = max(stages["process"], 1e-9)
    pods_at_once = min(fleet.pods, WAVE, shards)
    return Outcome(
        seconds=seconds,
        stages=stages | {"images a second": fleet.images / seconds},
        shards=shards,
        waves=math.ceil(shards / WAVE),
        busy=run.worked / (process * pods_at_once),
        tail=run.tail,
        store=_loads(run.tally, _store_kinds(fleet, figures), process),
        store_cores=run.store_busy / process,
        api=_loads(run.tally, _api_kinds(figures), process),
    )


_Kinds = Mapping[str, tuple[str, float]]
"""By kind of operation: what it goes with, and how many there are of it for one."""


def _store_kinds(fleet: Fleet, figures: Figures) -> _Kinds:
    commands = figures.commands
    return {
        "results recorded": ("flushes", commands["flush"]),
        "images read": ("images", commands["read"] / _READ),
        "signs of life": ("pod seconds", 1 / figures["worker.heartbeat"]),
        "questions who reports": ("pod seconds", 1 / report_pause(fleet.pods, figures)),
        "the server's time": ("pod seconds", 1 / figures["store.clock"]),
        "pods that start": ("starts", commands["connect"] + commands["claim"] + commands["begin"]),
        "pods that end": ("ends", commands["finish"]),
    }


def _api_kinds(figures: Figures) -> _Kinds:
    return {name: ("starts", each) for name, each in figures.requests.items()} | {
        "status writes": ("seconds", figures["job.status_writes"]),
        "reads by the operator": ("seconds", figures["api.operator_reads"]),
    }


def _loads(tally: _Tally, kinds: _Kinds, seconds: float) -> dict[str, Load]:
    return {name: tally.load(of, seconds, factor) for name, (of, factor) in kinds.items()}


class _Limit:
    """Requests that wait for their turn: so many a second, after a first burst."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = 0.0

    def pass_at(self, now: float, requests: float = 1.0) -> float:
        """When requests made at ``now`` are through.

        Callers come in the order of their times, or nearly so.
        """
        at = max(now, self._at)
        self._tokens = min(self._burst, self._tokens + (at - self._at) * self._rate)
        self._at = at
        self._tokens -= requests
        return at if self._tokens >= 0 else at - self._tokens / self._rate


@dataclass
class _Tally:
    """How many there are of something, and how they lie in time, by bins."""

    totals: dict[str, float] = field(default_factory=dict)
    bins: dict[str, defaultdict[int, float]] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)
    """A second, in whole bins."""

    def add(self, name: str, number: float, start: float, stop: float) -> None:
        """So many, evenly over a time."""
        self.totals[name] = self.totals.get(name, 0.0) + number
        bins = self.bins.setdefault(name, defaultdict(float))
        first, last = int(start // _BIN_SECONDS), int(stop // _BIN_SECONDS)
        if first == last or stop <= start:
            bins[first] += number
            return
        rate = number / (stop - start)
        bins[first] += rate * ((first + 1) * _BIN_SECONDS - start)
        bins[last] += rate * (stop - last * _BIN_SECONDS)
        # Whole bins, which nobody else adds to: `_Run` lets time pass for all pods at once.
        if last - first > 1:
            self.peaks[name] = max(self.peaks.get(name, 0.0), rate)

    def load(self, name: str, seconds: float, factor: float) -> Load:
        """``factor`` operations for each, a second."""
        mean = self.totals[name] / seconds
        peak = max(mean, self.peaks.get(name, 0.0), max(self.bins[name].values()) / _BIN_SECONDS)
        return Load(mean * factor, peak * factor)


class _Run:
    """The waves of worker pods."""

    def __init__(self, fleet: Fleet, figures: Figures, size: int, shards: int) -> None:
        self._fleet = fleet
        self._figures = figures
        self._size = size
        self._shards = shards
        self._chance = random.Random(0)  # noqa: S311 - the same each time, on purpose
        limits = "default" if fleet.default_limits else "raised"
        created, bound = (
            figures[f"limits.job_controller_{limits}"],
            figures[f"limits.scheduler_{limits}"],
        )
        self._jobs, self._binds = _Limit(created, created * 1.5), _Limit(bound, bound * 2)
        self._pod_rate = fleet.workers * 1000 / (fleet.image_ms * figures["worker.overhead"])
        """Images a second of a pod that nothing holds up."""
        self.now = 0.0
        self.worked = self.store_busy = self.tail = 0.0
        self.tally = _Tally()

    def play(self) -> None:
        """All waves."""
        for first in range(0, self._shards, WAVE):
            if first:
                self.now += self._figures["job.wave_gap"]
            self._wave(min(WAVE, self._shards - first), last=first + WAVE >= self._shards)

    def _wave(self, shards: int, *, last: bool) -> None:
        waiting = [self._work(last=last and number == shards - 1) for number in range(shards)]
        waiting.reverse()
        starts: list[tuple[float, float]] = []  # (time, seconds of work)
        ends: list[tuple[float, float]] = []  # (work clock, seconds of work)
        clock, done = 0.0, self.now
        ended = self.now
        idle: float | None = None
        for _ in range(min(self._fleet.pods, shards)):
            heapq.heappush(starts, (self._start(self.now), waiting.pop()))
        while starts or ends:
            pace = self._pace(len(ends))
            start = starts[0][0] if starts else math.inf
            end = self.now + (ends[0][0] - clock) / pace if ends else math.inf
            if start <= end:
                clock += self._pass(start, len(ends), pace)
                _, work = heapq.heappop(starts)
                heapq.heappush(ends, (clock + work, work))
                continue
            clock += self._pass(end, len(ends), pace)
            _, work = heapq.heappop(ends)
            self._ended(work)
            ended = self.now
            noticed = self._jobs.pass_at(self.now + self._figures["pod.end_noticed"])
            done = max(done, noticed)
            if waiting:
                heapq.heappush(starts, (self._start(noticed), waiting.pop()))
            elif idle is None:
                idle = ended
        self.tail += ended - (ended if idle is None else idle)
        # That the last pod's end is noticed is part of what `job.end` was measured over.
        self.now = max(ended, done - self._figures["pod.end_noticed"] if last else done)

    def _work(self, *, last: bool) -> float:
        """Seconds that a shard takes a pod at full pace."""
        images = (self._fleet.images - 1) % self._size + 1 if last else self._size
        differs = (
            self._chance.gauss(1.0, self._figures["worker.spread"]) if self._fleet.spread else 1.0
        )
        return images / self._pod_rate * max(differs, 0.2)

    def _start(self, now: float) -> float:
        """When a pod that is wanted now begins to work."""
        bound = self._binds.pass_at(self._jobs.pass_at(now)) + self._figures["job.bind"]
        at = bound + self._figures["pod.start"]
        self.tally.add("starts", 1.0, bound, at)
        return at

    def _ended(self, work: float) -> None:
        """A pod's last words to the store."""
        self.tally.add("ends", 1.0, self.now, self.now)
        self.store_busy += self._shards * self._figures["store.shard_scan_us"] / 1e6
        if self._fleet.pods <= _FEW:
            self.store_busy += self._shards * self._figures["store.shard_count_us"] / 1e6
        self.worked += work

    # What goes on all the time --------------------------------------------------------------------

    def _pace(self, pods: int) -> float:
        """The share of their full pace at which so many pods can work."""
        if not pods:
            return 1.0
        node = self._fleet.cores / (pods * self._fleet.workers)
        idle = pods * self._per_pod_commands() * self._figures["store.command_us"] / 1e6
        wanted = pods * self._pod_rate * self._figures["store.image_us"] / 1e6
        store = max(self._fleet.store_cores - idle, 0.05 * self._fleet.store_cores) / wanted
        return min(1.0, node, store)

    def _per_pod_commands(self) -> float:
        """Signs of life and questions of one pod, a second."""
        claims = 1 / report_pause(self._fleet.pods, self._figures)
        return 1 / self._figures["worker.heartbeat"] + claims + 1 / self._figures["store.clock"]

    def _pass(self, until: float, pods: int, pace: float) -> float:
        """Let time pass, with so many active pods; by how much the clock of work moves."""
        start, seconds = self.now, max(until - self.now, 0.0)
        self.now = max(until, self.now)
        if not pods or not seconds:
            return 0.0
        images = pods * self._pod_rate * pace * seconds
        flushes = max(images / 100, pods * seconds / self._figures["worker.flush_seconds"])
        for name, number in (
            ("images", images),
            ("flushes", flushes),
            ("pod seconds", pods * seconds),
            ("seconds", seconds),
        ):
            self.tally.add(name, number, start, self.now)
        counts = (
            seconds
            * self._figures["job.status_writes"]
            * self._shards
            * self._figures["store.shard_count_us"]
        )
        small = pods * seconds * self._per_pod_commands()
        busy = (
            images * self._figures["store.image_us"]
            + small * self._figures["store.command_us"]
            + counts
        )
        self.store_busy += busy / 1e6
        return pace * seconds
