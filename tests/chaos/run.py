"""One seed: its faults are injected one after another, the world is healed,
and everything is counted.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from e2e.installation import SYSTEM, Site
from e2e.photographs import RESTRICTED
from experiments.disks import mounted
from experiments.journal import Journal
from podrunner.api import ApiError
from waiting import wait_for
from world import FINISHED

from chaos import samples
from chaos.checker import check
from chaos.evidence import database, facts, jobs_of, left
from chaos.injecting import Injector
from chaos.injections import OF_JOBS, inject
from chaos.measuring import measure, recovering
from chaos.place import Place
from chaos.proxied import Proxied
from chaos.results import Ended, Order, Result
from chaos.samples import Samples
from fpj_cluster import Cluster, ClusterError

_END_SECONDS = 400.0
"""For jobs to end once all faults are over; Kubernetes may leave a pod out for minutes that was
killed often.
"""
_GONE_SECONDS = 120.0
_GONE_UNDER_FAULTS_SECONDS = 400.0
_LOOK = 0.5
"""Seconds between two looks at what has to end: looking costs the API server too."""

Delete = Callable[[], None]


def run_seed(
    fpj: Proxied, cluster: Cluster, folder: Path, order: Order, say: Callable[[str], None]
) -> Result:
    """Run a seed in a namespace of its own, and delete that."""
    result, delete = play(fpj, cluster, folder, order, say, _GONE_SECONDS)
    delete()
    return result


def play(
    fpj: Proxied,
    cluster: Cluster,
    folder: Path,
    order: Order,
    say: Callable[[str], None],
    gone_seconds: float = _GONE_UNDER_FAULTS_SECONDS,
) -> tuple[Result, Delete]:
    """Run a seed in a namespace of its own; what deletes that,
    and adds what it meets to the result.

    Deletion may happen in another thread, while another seed runs: then faults meet it too.
    """
    result = Result(order)
    clock = _Clock(result.took)
    with ExitStack() as stack:
        namespace = stack.enter_context(_namespace(fpj))
        home = folder / namespace
        home.mkdir(parents=True)
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        site = Site(fpj, namespace, home)
        stack.enter_context(mounted(site.out))
        place = Place(fpj, cluster, site, order.images, order.slowness)
        uid = _latest_uid(place)
        with (
            Journal(fpj.api, namespace) as journal,
            Samples(
                site.out, fpj.database.url, fpj.api, SYSTEM, uid, only_store=order.calm is None
            ) as watched,
        ):
            place.keep_busy()
            if order.warm:
                place.warm_up()
            clock.lap("set up")
            recovered = recovering(watched, journal) if order.calm is not None else bool
            injector = Injector(
                partial(inject, place), lambda: _keep_busy(place, injector), say, recovered
            )
            place.meanwhile = injector.end_due
            injector.run(order.schedule)
            result.missed = dict(injector.missed)
            clock.lap("faults")
            end = _End(place, injector, result)
            end.settle(clock)
            end.check()
            result.violations += [
                f"false: {each}" for each in journal.untruths(falls=_may_fall(order))
            ]
            if order.calm is not None:
                measure(injector.over, watched, journal, result)
            for each in jobs_of(site):
                seen = journal.of(each["metadata"]["name"])
                result.status_delays += samples.status_delays(
                    watched.shards, seen, each["metadata"]["uid"]
                )
                result.jobs.append(_ended(each))
        clock.lap("check")
        rest = stack.pop_all()

    def delete() -> None:
        with rest:
            delete_all(place, result, gone_seconds)

    return result, delete


@contextmanager
def _namespace(fpj: Proxied) -> Iterator[str]:
    """A new one, deleted at the end, by calls that outlast an API server's restart."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    body = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": RESTRICTED},
    }
    path = f"/api/v1/namespaces/{name}"
    fpj.api.call("POST", "/api/v1/namespaces", body)
    try:  # no pod is accepted before it has this
        wait_for(
            lambda: fpj.api.get(f"{path}/serviceaccounts/default"),
            "the namespace has its service account",
            60,
        )
        yield name
    finally:
        fpj.api.delete(path)


class _Clock:
    """Says how long each part of a run took."""

    def __init__(self, took: dict[str, float]) -> None:
        self._took, self._last = took, time.monotonic()

    def lap(self, name: str) -> None:
        """What ends now."""
        now = time.monotonic()
        self._took[name], self._last = now - self._last, now


def _keep_busy(place: Place, injector: Injector) -> None:
    """As far as the last fault lets it: it is tried again before the next one."""
    try:
        place.keep_busy()
    except (ApiError, ClusterError) as error:
        injector.note(f"     no job is started: {' '.join(str(error).split())[:200]}")


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
    """Whether Done may fall: images that changed are made again,
    and a store that is asked again may know less.
    """
    return any(kind.startswith("source-") for kind in order.kinds)


def _all_ended(place: Place, names: Collection[str]) -> bool:
    phases = {
        each["metadata"]["name"]: each.get("status", {}).get("phase")
        for each in jobs_of(place.site)
    }
    return all(phases.get(name) in FINISHED for name in names)


class _End:
    """What follows the faults: all jobs end, all is checked."""

    def __init__(self, place: Place, injector: Injector, result: Result) -> None:
        self._place, self._site = place, place.site
        self._note, self._result = injector.note, result

    def settle(self, clock: _Clock) -> None:
        """Every job ends, and each collection has another run.

        What does not end is found by the checker.
        """
        self._note("all faults are over")
        names = [each.name for each in self._place.collections]
        self._wait(lambda: _all_ended(self._place, names), "all jobs have ended", _END_SECONDS)
        clock.lap("end")
        for name in names:
            self._place.run(_again(name), name)
        again = [_again(name) for name in names]
        self._wait(
            lambda: _all_ended(self._place, again), "the runs without faults have ended", 120
        )
        with database(self._place.fpj.database.url) as store:
            self._wait(lambda: not left(self._site, store), "nothing is left of them", 60)
        clock.lap("again")

    def check(self) -> None:
        """Each collection."""
        with database(self._place.fpj.database.url) as store:
            for each in self._place.collections:
                for violation in check(facts(self._site, store, each, _again(each.name))):
                    self._result.violations.append(f"{each.name}: {violation}")
                    self._note(f"WRONG {each.name}: {violation}")
        self._note(f"{len(self._place.collections)} collections checked")

    def _wait(self, holds: Callable[[], bool], what: str, seconds: float) -> None:
        try:
            wait_for(holds, what, seconds, _LOOK)
        except AssertionError:
            shown = self._site.kube("get", "fpj,jobs,pods,leases,events", "-o", "wide")
            self._note(f"LATE: {what}\n{shown[-20_000:]}\n{self._place.fpj.log[-20_000:]}")
        else:
            self._note(what)


def delete_all(place: Place, result: Result, seconds: float) -> None:
    """The jobs, then their namespace; what is not gone in time is stuck."""
    site, api = place.site, place.fpj.api

    def gone(what: str, is_gone: Callable[[], bool], start: float) -> None:
        try:
            wait_for(is_gone, f"{what} are gone", seconds, 0.2)
        except AssertionError:
            result.violations.append(f"stuck: {what}: not gone {seconds:g} s after the deletion")
        else:
            result.deletion[what] = round(time.monotonic() - start, 2)

    start = time.monotonic()
    api.call("DELETE", f"/apis/fpj.dev/v1alpha1/namespaces/{site.namespace}/fileprocessingjobs")
    gone("the jobs", lambda: not jobs_of(site), start)
    path = f"/apis/batch/v1/namespaces/{site.namespace}/jobs{OF_JOBS}"
    gone("their child Jobs and pods", lambda: not (api.items(path) + site.alive(OF_JOBS)), start)
    start = time.monotonic()
    api.delete(f"/api/v1/namespaces/{site.namespace}")
    gone("the namespace", lambda: api.get(f"/api/v1/namespaces/{site.namespace}") is None, start)
    for name in ("cache", *(each.name for each in place.collections)):
        api.delete(f"/api/v1/persistentvolumes/{site.namespace}-{name}")


def _again(name: str) -> str:
    return f"{name}-again"


def _ended(job: dict[str, Any]) -> Ended:
    status = job.get("status", {})
    attempts = status.get("attempt", {}).get("number") or 0
    total = status.get("progress", {}).get("total") or 0
    return Ended(status.get("phase", ""), attempts, status.get("recoveryAttempts", 0), total)


def summary(result: Result) -> str:
    """One line."""
    verdict = (
        "clean" if result.clean else f"{len(result.violations)} WRONG: {result.violations[0][:200]}"
    )
    took = ", ".join(f"{name} {seconds:.0f}" for name, seconds in result.took.items())
    return (
        f"seed {result.order.seed}: {verdict}; {result.injected.total()} faults in"
        f" {result.seconds:.0f} s ({took}), {sum(result.missed.values())} missed,"
        f" {len(result.jobs)} jobs {dict(Counter(each.phase for each in result.jobs))}"
    )
