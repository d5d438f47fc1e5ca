"""`fpj-api`: follow the jobs and answer requests until a signal stops it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import cast

from typing_extensions import override

import fpj_core.process.lean  # noqa: F401 - before what it keeps small

# isort: split
import uvicorn
from starlette.types import ASGIApp

from fpj_api.addresses import networks
from fpj_api.app import application
from fpj_api.connections import Connections, protocol
from fpj_api.context import Backend, backend_of
from fpj_api.routes.health import probes
from fpj_api.settings import ApiSettings, settings_from
from fpj_api.storage import Storage
from fpj_core.errors import FpjError
from fpj_core.kube.api import Cluster
from fpj_core.process.heap import use_one_arena
from fpj_core.process.listening import any_address
from fpj_core.process.logs import log_as_json
from fpj_core.process.metrics import serve, timed
from fpj_core.store import Store
from fpj_core.store.late import LateStore

MANAGER = "fpj-api"
_TRIES, _TRY_SECONDS = 2, 5.0
"""Of a request to the API server, while somebody waits for an answer."""
_MOST_PROBES = 50
"""Connections of the port of the probes."""
_KEEP_ALIVE_SECONDS = 30
_SPARE_CONNECTIONS = 10
"""Beside one per watch."""
_STOP_SECONDS = 6

log = logging.getLogger("fpj.api")


class _Server(uvicorn.Server):
    """Leaves signals to us: it would send itself the one that stopped it, and end by it."""

    @contextlib.contextmanager
    @override
    def capture_signals(self) -> Iterator[None]:
        yield


def main() -> None:
    """Entry point.

    Exit codes: 0 stopped by a signal, 1 failed (the pod is restarted), 2 invalid settings.
    """
    log_as_json()
    use_one_arena()
    try:
        settings = settings_from()
    except FpjError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    try:
        code, storage_busy = asyncio.run(_run(settings))
    except FpjError as error:
        log.error("%s", error)
        code, storage_busy = 1, False
    # The interpreter would wait for the store's threads, which may wait for a minute.
    if storage_busy:
        logging.shutdown()
        os._exit(code)
    sys.exit(code)


async def _run(settings: ApiSettings) -> tuple[int, bool]:
    """The exit code, and whether the store has not given an answer yet."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        if settings.metrics_port:
            serve(settings.metrics_port)
    except OSError as error:
        raise FpjError(f"cannot listen on the port of the metrics: {error}") from error
    listeners = [_listen(settings, settings.port)]
    if settings.probe_port:
        listeners.append(_listen(settings, settings.probe_port))
    cluster = await Cluster.connect(MANAGER, tries=_TRIES, timeout=_TRY_SECONDS)
    watching = await Cluster.connect(
        MANAGER, connections=len(settings.namespaces) + _SPARE_CONNECTIONS
    )
    store = timed(cast("Store", LateStore(settings.store_url)))
    storage = Storage(store)
    try:
        return await _serve(
            backend_of(settings, cluster, watching, storage), listeners, stop
        ), storage.busy
    finally:
        for listener in listeners:
            listener.close()
        storage.close()
        await cluster.close()
        await watching.close()


def _listen(settings: ApiSettings, port: int) -> socket.socket:
    """On the address of the settings; on ``::`` for both kinds of addresses.

    Raises `FpjError` where it is taken.
    """
    host = settings.host or any_address()[1]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, dualstack_ipv6=both, backlog=1_024)
    except OSError as error:
        raise FpjError(f"the API cannot listen on {host} port {port}: {error}") from error


async def _serve(backend: Backend, listeners: Sequence[socket.socket], stop: asyncio.Event) -> int:
    """Until a signal stops it, or something ends that should not.

    The second listener is for probes.
    """
    servers = [_Server(each) for each in (_config(backend), _probe_config(backend))][
        : len(listeners)
    ]
    serving = [
        asyncio.create_task(server.serve(sockets=[listener]), name="server")
        for server, listener in zip(servers, listeners, strict=True)
    ]
    informers = backend.watched.informers
    watches = [
        asyncio.create_task(each.run(), name=f"watch of {each.namespace or 'all'}")
        for each in informers
    ]
    stopping = asyncio.create_task(stop.wait(), name="stop")
    done, _ = await asyncio.wait(
        {*serving, stopping, *watches}, return_when=asyncio.FIRST_COMPLETED
    )
    failed = done - {stopping}
    for task in failed:
        error = None if task.cancelled() else task.exception()
        log.error("the %s ended", task.get_name(), exc_info=error)
    backend.watched.hub.close()
    for server in servers:
        server.should_exit = True
    for task in (stopping, *watches):
        task.cancel()
    await asyncio.wait({*serving, stopping, *watches}, timeout=_STOP_SECONDS + 2)
    return 1 if failed else 0


def _config(backend: Backend) -> uvicorn.Config:
    return _configured(
        application(backend), Connections(networks(backend.settings.trusted_proxies))
    )


def _probe_config(backend: Backend) -> uvicorn.Config:
    return _configured(
        probes(backend.watched), Connections(most=_MOST_PROBES, most_of_address=_MOST_PROBES)
    )


def _configured(app: ASGIApp, connections: Connections) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol(connections),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


if __name__ == "__main__":
    main()
