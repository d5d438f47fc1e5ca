"""One seed: its faults are injected one after another, the world is healed, and everything is counted."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from e2e.installation import SYSTEM, Site
from e2e.photographs import RESTRICTED
from experiments.disks import mounted
from experiments.journal import Journal
from planes import fresh_namespace
from waiting import wait_for
from world import FINISHED

from chaos import samples
from chaos.checker import check
from chaos.evidence import database, facts, jobs_of, left
from chaos.injecting import Active, Injector
from chaos.injections import inject
from chaos.place import Place
from chaos.proxied import Proxied
from chaos.samples import Samples
from chaos.schedule import KINDS, schedule
from fpj_cluster import Cluster

VERSION = 1
"""Of the schedule and of what is done: results of another one do not count."""
_END_SECONDS = 400.0
"""For jobs to end once all faults are over; Kubernetes may leave a pod out for minutes that was killed often."""
_GONE_SECONDS = 120.0


@dataclass(frozen=True)
class Order:
    """What is asked for."""

    seed: int
    faults: int
    calm: float | None = None
    kinds: tuple[str, ...] = tuple(KINDS)
    images: int = 96
    slowness: float = 0.25

    @property
    def key(self) -> str:
        """The same for the same run."""
        return json.dumps([VERSION, *asdict(self).values()])


@dataclass
class Result:
    """What came of it. Seconds are measured where `calm` faults do not blur what recovers from what."""

    order: Order
    violations: list[str] = field(default_factory=list)
    injected: dict[str, int] = field(default_factory=dict)
    missed: dict[str, int] = field(default_factory=dict)
    recovery: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    status_delays: list[float] = field(default_factory=list)
    deletion: dict[str, float] = field(default_factory=dict)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    trace: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        return asdict(self) | {"key": self.order.key}


def run_seed(fpj: Proxied, cluster: Cluster, folder: Path, order: Order, say: Callable[[str], None]) -> Result:
    """Run a seed in a namespace of its own."""
    result = Result(order)
    began = time.monotonic()
    with ExitStack() as stack:
        namespace = stack.enter_context(fresh_namespace(fpj.kube, RESTRICTED))
        home = folder / namespace
        home.mkdir(parents=True)
        site = Site(fpj, namespace, home)
        stack.enter_context(mounted(site.out))
        place = Place(fpj, cluster, site, order.images, order.slowness)
        journal = stack.enter_context(Journal(fpj.api, namespace))
        uid = _latest_uid(place)
        watched = stack.enter_context(Samples(site.out, fpj.database.url, fpj.api, SYSTEM, uid))
        place.keep_busy()
        injector = Injector(partial(inject, place), place.keep_busy, say)
        place.meanwhile = injector.end_due
        injector.run(schedule(order.seed, order.faults, order.kinds, order.calm))
        result.injected, result.missed = dict(injector.injected), dict(injector.missed)
        result.trace = injector.trace
        run = _End(place, injector, result)
        run.settle()
        run.check()
        result.violations += [f"false: {each}" for each in journal.untruths(falls=_may_fall(order))]
        if order.calm is not None:
            _measure(injector.over, watched, journal, result)
        for each in jobs_of(site):
            seen = journal.of(each["metadata"]["name"])
            result.status_delays += samples.status_delays(watched.shards, seen, each["metadata"]["uid"])
            result.jobs.append(_summary(each))
        run.delete()
    result.seconds = time.monotonic() - began
    return result


def _latest_uid(place: Place) -> Callable[[], str]:
    """Of the latest job; asked once for each."""
    known: dict[str, str] = {}

    def uid() -> str:
        if not place.collections:
            return ""
        name = place.job
        if name not in known and (found := place.site.get(name)):
            known[name] = found["metadata"]["uid"]
        return known.get(name, "")

    return uid


def _may_fall(order: Order) -> bool:
    """Whether Done may fall: images that changed are made again, and a store that is asked again may know less."""
    return any(kind.startswith("source-") for kind in order.kinds)


def _all_ended(place: Place, names: Collection[str]) -> bool:
    phases = {each["metadata"]["name"]: each.get("status", {}).get("phase") for each in jobs_of(place.site)}
    return all(phases.get(name) in FINISHED for name in names)


class _End:
    """What follows the faults: all jobs end, all is checked, all is deleted."""

    def __init__(self, place: Place, injector: Injector, result: Result) -> None:
        self._place, self._site = place, place.site
        self._note, self._result = injector.note, result

    def settle(self) -> None:
        """Every job ends, and each collection has another run; what does not end is found by the checker."""
        self._note("all faults are over")
        names = [each.name for each in self._place.collections]
        self._wait(lambda: _all_ended(self._place, names), "all jobs have ended", _END_SECONDS)
        for name in names:
            self._place.run(_again(name), name)
        again = [_again(name) for name in names]
        self._wait(lambda: _all_ended(self._place, again), "the runs without faults have ended", 120)
        with database(self._place.fpj.database.url) as store:
            self._wait(lambda: not left(self._site, store), "nothing is left of them", 60)

    def check(self) -> None:
        """Each collection."""
        with database(self._place.fpj.database.url) as store:
            for each in self._place.collections:
                for violation in check(facts(self._site, store, each, _again(each.name))):
                    self._result.violations.append(f"{each.name}: {violation}")
                    self._note(f"WRONG {each.name}: {violation}")
        self._note(f"{len(self._place.collections)} collections checked")

    def delete(self) -> None:
        """The jobs, then their namespace."""
        site, api = self._site, self._place.fpj.api
        start = time.monotonic()
        site.kube("delete", "fpj", "--all", "--wait=false")
        self._gone("the jobs", lambda: not jobs_of(site), start)
        path = f"/apis/batch/v1/namespaces/{site.namespace}/jobs"
        self._gone("their child Jobs and pods", lambda: not (api.items(path) + site.alive()), start)
        start = time.monotonic()
        self._place.fpj.kube("delete", "namespace", site.namespace, "--wait=false")
        self._gone("the namespace", lambda: api.get(f"/api/v1/namespaces/{site.namespace}") is None, start)
        for name in ("cache", *(each.name for each in self._place.collections)):
            volume = f"{site.namespace}-{name}"
            self._place.fpj.kube("delete", "persistentvolume", volume, "--wait=false", "--ignore-not-found")

    def _wait(self, holds: Callable[[], bool], what: str, seconds: float) -> None:
        try:
            wait_for(holds, what, seconds)
        except AssertionError:
            shown = self._site.kube("get", "fpj,jobs,pods,leases,events", "-o", "wide")
            self._note(f"LATE: {what}\n{shown[-20_000:]}\n{self._place.fpj.log[-20_000:]}")
        else:
            self._note(what)

    def _gone(self, what: str, is_gone: Callable[[], bool], start: float) -> None:
        try:
            wait_for(is_gone, f"{what} are gone", _GONE_SECONDS)
        except AssertionError:
            self._result.violations.append(f"stuck: {what}: not gone {_GONE_SECONDS:g} s after the deletion")
        else:
            self._result.deletion[what] = round(time.monotonic() - start, 2)


def _again(name: str) -> str:
    return f"{name}-again"


def _summary(job: dict[str, Any]) -> dict[str, Any]:
    status = job.get("status", {})
    progress = status.get("progress", {})
    return {
        "name": job["metadata"]["name"],
        "phase": status.get("phase"),
        "attempts": status.get("attempt", {}).get("number"),
        "recoveries": status.get("recoveryAttempts", 0),
        "progress": {name: progress.get(name) for name in ("total", "completed", "skipped", "failed")},
    }


def _measure(over: list[Active], watched: Samples, journal: Journal, result: Result) -> None:
    for each in over:
        for name, seconds in _recoveries(each, watched, journal):
            if seconds is not None and seconds <= (result.order.calm or 0.0) + each.healed - each.begun:
                found = result.recovery.setdefault(each.fault.kind, {}).setdefault(name, [])
                found.append(round(seconds, 2))


def _recoveries(each: Active, watched: Samples, journal: Journal) -> Iterator[tuple[str, float | None]]:
    kind = each.fault.kind
    yield "images again", samples.files_again(watched.files, each.healed)
    if kind.startswith(("worker-kill", "worker-stop", "decoder-", "pod-")):
        moved, taken = samples.shard_again(watched.shards, each.victim, each.begun)
        yield "its shard moves", moved
        yield "taken over", taken
    if kind.startswith("leader-"):
        yield "another leads", samples.another_leader(watched.leaders, each.begun)
    if kind == "lease-delete":
        told = [
            seen.at - each.begun
            for name in journal.names
            for seen in journal.of(name, each.begun)
            if seen.condition("Progressing")[1] == "LeaseLost"
        ]
        yield "LeaseLost reported", min(told, default=None)


def summary(result: Result) -> str:
    """One line."""
    injected = sum(result.injected.values())
    verdict = "clean" if not result.violations else f"{len(result.violations)} WRONG: {result.violations[0][:200]}"
    phases = Counter(each["phase"] for each in result.jobs if not each["name"].endswith("-again"))
    return (
        f"seed {result.order.seed}: {verdict}; {injected} faults in {result.seconds:.0f} s, "
        f"{sum(result.missed.values())} missed, jobs {dict(phases)}"
    )
