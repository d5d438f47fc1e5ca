"""`fpj-operator`: wait to lead, then watch and work until a signal stops it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
import struct
import sys
import time
import uuid
from collections.abc import Coroutine
from typing import Any, NoReturn, cast

import fpj_core.process.lean  # noqa: F401 - before what it keeps small

# isort: split
import kopf

from fpj_core.errors import FpjError
from fpj_core.kube.api import Cluster
from fpj_core.process.heap import give_back, use_one_arena
from fpj_core.process.logs import log_as_json
from fpj_core.process.metrics import serve, timed
from fpj_core.store import Store
from fpj_core.store.late import LateStore
from fpj_operator import metrics
from fpj_operator.election import REQUEST, Election
from fpj_operator.folders.controller import FolderController
from fpj_operator.handlers import register
from fpj_operator.health import Health
from fpj_operator.jobs import gauges
from fpj_operator.jobs.controller import Controller
from fpj_operator.jobs.leftovers import look_for_leftovers
from fpj_operator.jobs.traces import traces_from
from fpj_operator.purges.controller import PurgeController
from fpj_operator.schedules.controller import ScheduleController
from fpj_operator.settings import OperatorSettings, settings_from
from fpj_operator.watched import readable, until_more

_JOBS_GAUGE_SECONDS = 5.0
_SWEEP_SECONDS, _SWEEPS_PER_PLACES = 10.0, 6
_LAG_SECONDS = 0.5
_SETTLED_SECONDS = 2.0
_GIVE_BACK_SECONDS = 60.0
_VOTING_CONNECTIONS = 4
_SWEEPS = 4
"""Multiple of ``check_seconds`` between two sweeps for what deleted jobs left behind."""

log = logging.getLogger("fpj.operator")


def main() -> None:
    """Entry point.

    Exit codes: 0 stopped by a signal, 1 failed (the pod is restarted), 2 invalid settings.
    """
    log_as_json()
    use_one_arena()
    give_back()
    try:
        settings = settings_from()
    except FpjError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    try:
        code = asyncio.run(_run(settings))
    except FpjError as error:  # the pod is restarted, ever more slowly
        log.error("%s", error)
        code = 1
    sys.exit(code)


async def _run(settings: OperatorSettings) -> int:
    stop = asyncio.Event()
    _heed_signals(stop)
    health = Health()
    try:
        if settings.metrics_port:
            serve(settings.metrics_port)
        if settings.liveness_port:
            health.serve(settings.liveness_port)
    except OSError as error:
        raise FpjError(f"cannot listen on a port: {error}") from error
    lasts = settings.leader_seconds
    voting = await Cluster.connect(
        tries=1, timeout=lasts * REQUEST, connections=_VOTING_CONNECTIONS
    )
    identity = f"{os.environ.get('POD_NAME') or socket.gethostname()}-{uuid.uuid4().hex[:8]}"
    election = Election(voting, settings.own_namespace, identity, lasts)
    cluster = await Cluster.connect(may_write=lambda: election.leads)
    traces = traces_from()
    try:
        if not await _first(stop, election.win()):
            return 0
        metrics.LEADER.set(1)
        if election.took_over_after is not None:
            metrics.TAKEOVER.observe(election.took_over_after)
        store = timed(cast("Store", LateStore(settings.store_url)))
        controller, schedules = (
            Controller(cluster, store, settings, traces),
            ScheduleController(cluster),
        )
        folders = FolderController(cluster, store, controller.health, settings)
        controller.when_folder_used(folders.used)
        purges = PurgeController(cluster, store, controller.health, settings, folders.used)
        metrics.QUEUE_DEPTH.set_function(lambda: controller.work.depth)
        health.queues = (
            controller.work,
            controller.vanished.work,
            controller.deletions.work,
            schedules.work,
            folders.work,
            purges.work,
        )
        return await _lead(
            cluster, controller, schedules, folders, purges, election, settings, stop
        )
    finally:
        with contextlib.suppress(Exception):
            await election.resign()
        await voting.close()
        await cluster.close()
        health.close()
        if traces is not None:
            await asyncio.to_thread(traces.close)


async def _lead(
    cluster: Cluster,
    controller: Controller,
    schedules: ScheduleController,
    folders: FolderController,
    purges: PurgeController,
    election: Election,
    settings: OperatorSettings,
    stop: asyncio.Event,
) -> int:
    """Work until stopped or until leadership is lost."""
    namespaces = await readable(cluster, settings.namespaces) if settings.namespaces else ()
    registry = kopf.OperatorRegistry()
    register(registry, controller, schedules, folders, purges, settings)
    ended = asyncio.Event()

    async def watch() -> None:
        others = asyncio.all_tasks()
        watching = await kopf.spawn_tasks(
            registry=registry,
            standalone=True,
            identity=election.identity,  # type: ignore[arg-type] # else kopf looks for the user's name; in a container it has none
            clusterwide=not settings.namespaces,
            namespaces=namespaces,
            stop_flag=ended,
        )
        # Kopf has just taken them for itself, and would end our workers along with its own tasks.
        _heed_signals(stop)
        await kopf.run_tasks(watching, ignored=others)

    tasks = [
        asyncio.create_task(watch(), name="watch"),
        asyncio.create_task(controller.work.run(), name="work"),
        asyncio.create_task(controller.watch_active(), name="active jobs"),
        asyncio.create_task(controller.vanished.work.run(), name="deleted jobs"),
        asyncio.create_task(controller.deletions.work.run(), name="files of deleted jobs"),
        asyncio.create_task(
            controller.vanished.sweep(namespaces, _SWEEPS * settings.check_seconds),
            name="leases of deleted jobs",
        ),
        asyncio.create_task(schedules.work.run(), name="schedules"),
        asyncio.create_task(folders.work.run(), name="cache folders"),
        asyncio.create_task(purges.work.run(), name="purges"),
        asyncio.create_task(election.hold(), name="leadership"),
        asyncio.create_task(controller.keep_history(), name="history"),
        asyncio.create_task(
            look_for_leftovers(cluster, namespaces, controller.tick), name="leftovers"
        ),
        asyncio.create_task(_show_jobs(controller), name="gauge"),
        asyncio.create_task(_sweep(controller), name="sweep"),
        asyncio.create_task(controller.health.watch(), name="store"),
        asyncio.create_task(_measure_lag(), name="lag"),
        asyncio.create_task(_give_memory_back(), name="memory"),
        asyncio.create_task(
            until_more(cluster, settings.namespaces, namespaces, settings.check_seconds),
            name="namespaces",
        ),
        asyncio.create_task(stop.wait(), name="stop"),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if any(task.get_name() == "leadership" for task in done):
            _end_at_once()
        failed = [task.get_name() for task in done if task.get_name() != "stop"]
        for task in done:
            if task.exception() is not None:
                log.error("%s ended", task.get_name(), exc_info=task.exception())
        return 1 if failed else 0
    finally:
        ended.set()
        for task in tasks[1:]:
            task.cancel()
        await asyncio.wait(tasks, timeout=10)
        controller.health.close()


def _end_at_once() -> NoReturn:
    """Another may lead any moment: nothing is finished,
    and what the kernel has not sent yet is never sent.

    Else a write that a silent network held back would arrive when the network is back, long after
    this process ended.
    """
    for number in os.listdir("/proc/self/fd") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):  # a descriptor that is not a connection
            socket.socket(fileno=int(number)).setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
    os._exit(1)


def _heed_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _show_jobs(controller: Controller) -> None:
    while True:
        gauges.show_jobs(controller.jobs)
        await asyncio.sleep(_JOBS_GAUGE_SECONDS)


async def _sweep(controller: Controller) -> None:
    """Queued jobs do not ask for their turn.

    This wakes them, and once a minute those that show an old place.
    """
    for turn in itertools.count(1):
        await asyncio.sleep(_SWEEP_SECONDS)
        controller.sweep(places=turn % _SWEEPS_PER_PLACES == 0)


async def _measure_lag() -> None:
    """How late the event loop wakes what sleeps: all that is longer it was kept by something that
    does not wait.
    """
    while True:
        asked = time.monotonic()
        await asyncio.sleep(_LAG_SECONDS)
        metrics.LOOP_LAG.observe(max(time.monotonic() - asked - _LAG_SECONDS, 0.0))


async def _give_memory_back() -> None:
    """What start-up and the listing of thousands of jobs left free:
    the kernel would count it as ours forever.
    """
    await asyncio.sleep(_SETTLED_SECONDS)
    while True:
        await asyncio.to_thread(give_back)
        await asyncio.sleep(_GIVE_BACK_SECONDS)


async def _first(stop: asyncio.Event, wanted: Coroutine[Any, Any, None]) -> bool:
    """Whether ``wanted`` came before the wish to stop."""
    task = asyncio.create_task(wanted)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    won = task.done()
    for each in (task, stopping):
        each.cancel()
    if won:
        task.result()
    return won


if __name__ == "__main__":
    main()
