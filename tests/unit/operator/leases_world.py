"""Leases as an API server keeps them, and an event loop whose time passes at once."""

from __future__ import annotations

import asyncio
import copy
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

from typing_extensions import override

from fpj_core.kube.errors import ClusterError, NoAnswerError
from fpj_operator.storehealth import StoreHealth

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Document = dict[str, Any]


class _Hurried(selectors.DefaultSelector):
    """Where the loop would sleep, its time passes instead."""

    now = 1_000.0

    @override
    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class HurriedLoop(asyncio.SelectorEventLoop):
    """Hours take no time, and nothing outside of the loop is waited for."""

    def __init__(self) -> None:
        self.selector = _Hurried()
        super().__init__(self.selector)

    @override
    def time(self) -> float:
        return self.selector.now

    @override
    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """At once: a thread's time would not be the loop's."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is raised where the thread is waited for
            done.set_exception(error)
        return done


def run(work: Coroutine[Any, Any, T]) -> T:
    """Within a loop of its own, whose clock is the loop's ``time``."""
    with asyncio.Runner(loop_factory=HurriedLoop) as runner:
        return runner.run(work)


def health_of(store: Any) -> StoreHealth:
    """By which a store is asked that never goes away."""
    return StoreHealth(store, lambda: None, lambda: False)


class Server:
    """Holds objects by (kind, namespace, name), counts their versions,
    and writes down who wrote when.
    """

    def __init__(self) -> None:
        self.held: dict[tuple[str, str, str], Document] = {}
        self.log: list[tuple[float, str, str]] = []
        """(time, writer, name) of every write that was done."""
        self._versions = 0

    def put(self, writer: str, document: Document) -> Document:
        self._versions += 1
        made = copy.deepcopy(document)
        made["metadata"]["resourceVersion"] = str(self._versions)
        where = (made["kind"], made["metadata"]["namespace"], made["metadata"]["name"])
        self.held[where] = made
        self.log.append((asyncio.get_running_loop().time(), writer, made["metadata"]["name"]))
        return copy.deepcopy(made)


class Line:
    """A client's way to the server.

    ``silent`` swallows requests until their time limit, ``refused`` answers them.
    """

    def __init__(self, server: Server, who: str, timeout: float = 3.0) -> None:
        self.server, self.who, self.timeout = server, who, timeout
        self.silent = False
        self.refused: ClusterError | None = None
        self.asked = 0

    async def get(self, kind: str, namespace: str, name: str) -> Document | None:
        await self._pass()
        return copy.deepcopy(self.server.held.get((kind, namespace, name)))

    async def create(self, manifest: Document) -> Document | None:
        await self._pass()
        where = (manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        return None if where in self.server.held else self.server.put(self.who, manifest)

    async def replace(self, document: Document) -> Document | None:
        await self._pass()
        where = ("Lease", document["metadata"]["namespace"], document["metadata"]["name"])
        found = self.server.held.get(where)
        if (
            found is None
            or found["metadata"]["resourceVersion"] != document["metadata"]["resourceVersion"]
        ):
            return None
        return self.server.put(self.who, document)

    async def pages(
        self, kind: str, namespace: str | None, **_: Any
    ) -> AsyncIterator[list[Document]]:
        await self._pass()
        yield [
            copy.deepcopy(each)
            for (its, place, _), each in self.server.held.items()
            if its == kind and namespace in (None, place)
        ]

    async def merge(self, kind: str, namespace: str, name: str, change: Document) -> Document:
        await self._pass()
        found = copy.deepcopy(self.server.held[kind, namespace, name])
        if change["metadata"].pop("resourceVersion") != found["metadata"]["resourceVersion"]:
            raise ClusterError(409, "the object has been modified", reason="Conflict")
        found["metadata"] |= change["metadata"]
        return self.server.put(self.who, found)

    async def _pass(self) -> None:
        self.asked += 1
        if self.silent:
            await asyncio.sleep(self.timeout)
            raise NoAnswerError
        if self.refused:
            raise self.refused
        await asyncio.sleep(0.01)
