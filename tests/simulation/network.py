"""What lies between a process and the API server, or the store:
each request meets its fate here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from fpj_core.errors import StoreUnavailableError
from simulation.apiserver import ApiServer, RefusedError, Request, request_of
from simulation.kernel import Kernel, Process, this_thread

if TYPE_CHECKING:
    from simulation.storeserver import StoreServer


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one request. As it stands: it arrives, is answered, and the answer comes.

    ``delay`` and ``back`` are seconds on the way there and back. It is carried out ``times`` times;
    0: it is lost, and so is its answer. ``refusal`` is answered in the place of what it came to,
        ``lost`` loses the answer. ``stale`` says
    by how many seconds the list that is served is old. ``again`` carries it out once more so many
    seconds later, when its sender may have gone on or died.
    """

    delay: float = 0.0
    back: float = 0.0
    times: int = 1
    refusal: RefusedError | None = None
    lost: bool = False
    stale: float = 0.0
    again: float = 0.0


USUAL = Fate()


@dataclass
class Network:
    """``api_fates`` and ``store_fates`` are asked in turn what becomes of a request.

    The first that knows decides.
    """

    kernel: Kernel
    api: ApiServer
    store: StoreServer
    api_fates: list[tuple[float, Callable[[Request], Fate | None]]] = field(default_factory=list)
    store_fates: list[tuple[float, Callable[[str], Fate | None]]] = field(default_factory=list)
    on_write: Callable[[Process, Request], None] = lambda _process, _request: None
    api_down: bool = False
    gives_way: float = 0.3
    """How often a call of the store lets others come between it and the next."""
    on_call: Callable[[Process], None] = lambda _process: None
    """Called before and after each call of the store; what it raises ends the caller."""

    # The API server -------------------------------------------------------------------------------

    def fate_of(self, request: Request) -> Fate:
        dice = self.kernel.dice
        for rate, fate in self.api_fates:
            if dice.random() < rate and (found := fate(request)) is not None:
                self.kernel.note(request.sender, f"{request} meets {fate.__name__}")
                return found
        return USUAL

    async def request(self, process: Process, request: Request, timeout: float) -> tuple[int, str]:
        """HTTP status and body. Raises TimeoutError, and OSError where nobody listens.

        What was sent arrives, also if its sender is frozen by then, or killed.
        """
        process.check()
        fate = self.fate_of(request)
        answered: asyncio.Future[tuple[int, str]] = self.kernel.loop.create_future()
        way = self.kernel.dice.random() * 0.02 + fate.delay
        self.kernel.later(way, self._arrives, process, request, fate, answered)
        async with asyncio.timeout(timeout):
            return await answered

    def _arrives(
        self,
        process: Process,
        request: Request,
        fate: Fate,
        answered: asyncio.Future[tuple[int, str]],
    ) -> None:
        late = process.dead or answered.done()
        # Rights that come late are left out: nothing that could be done would notice them.
        if late and (
            not request.writes or request.kind in ("ServiceAccount", "Role", "RoleBinding")
        ):
            return
        if process.is_cut_off("api") or (fate.times == 0 and fate.refusal is None):
            return
        if self.api_down:
            if not late:
                answered.set_exception(ConnectionRefusedError("connection refused"))
            return
        answer = self._carried_out(request, fate)
        if not fate.lost:
            self.kernel.later(fate.back, self._returns, process, answered, answer)

    @staticmethod
    def _returns(
        process: Process, answered: asyncio.Future[tuple[int, str]], answer: tuple[int, str]
    ) -> None:
        if not answered.done() and not process.is_cut_off("api"):
            answered.set_result(answer)

    def _carried_out(self, request: Request, fate: Fate) -> tuple[int, str]:
        as_of = self.kernel.loop.now - fate.stale if fate.stale else None
        answers = [self.api.answer(request, as_of=as_of) for _ in range(fate.times)]
        if fate.again:
            self.kernel.later(fate.again, self.api.answer, request)
        if fate.refusal is not None:
            return fate.refusal.status, json.dumps(fate.refusal.body)
        return answers[-1]

    def blocking_request(
        self, process: Process, request: Request, timeout: float
    ) -> tuple[int, str]:
        """The same, for a thread."""
        thread = this_thread()
        fate = self.fate_of(request)
        thread.sleep(min(self.kernel.dice.random() * 0.02 + fate.delay, timeout))
        if (
            process.is_cut_off("api")
            or (fate.times == 0 and fate.refusal is None)
            or fate.delay > timeout
        ):
            thread.sleep(timeout)
            raise TimeoutError
        if self.api_down:
            raise ConnectionRefusedError("connection refused")
        answer = self._carried_out(request, fate)
        if fate.lost or fate.back > timeout:
            thread.sleep(timeout)
            raise TimeoutError
        return answer

    # The store ------------------------------------------------------------------------------------

    def call(
        self, process: Process, name: str, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        """An operation of the store. Raises `StoreError`."""
        process.check()
        self.on_call(process)
        dice, thread = self.kernel.dice, this_thread()
        fate = self._fate_of_call(process, name)
        if fate.delay or dice.random() < self.gives_way:
            thread.sleep(fate.delay or dice.random() * 0.02)
        if self.store.down or process.is_cut_off("store") or fate.times == 0:
            thread.sleep(dice.choice((0.1, 1.0, 5.0)))
            raise StoreUnavailableError("no server answers")
        answer = self.store.carry_out(process, name, arguments, options)
        for _ in range(fate.times - 1):
            self.store.carry_out(process, name, arguments, options)
        if fate.back:
            thread.sleep(fate.back)
        self.on_call(process)
        if fate.lost:
            raise StoreUnavailableError("connection reset")
        return answer

    def _fate_of_call(self, process: Process, name: str) -> Fate:
        for rate, fate in self.store_fates:
            if self.kernel.dice.random() < rate and (found := fate(name)) is not None:
                self.kernel.note(process.name, f"store.{name} meets {fate.__name__}")
                return found
        return USUAL


class StoreClient:
    """The store, as a process has it."""

    def __init__(self, network: Network, process: Process) -> None:
        self._network, self._process = network, process

    def __getattr__(self, name: str) -> Callable[..., Any]:
        network, process = self._network, self._process

        def call(*arguments: Any, **options: Any) -> Any:
            return network.call(process, name, arguments, options)

        self.__dict__[name] = call
        return call


class _Answer:
    """See `kubernetes.aio.client.rest.RESTResponse`."""

    def __init__(self, status: int, body: str) -> None:
        self.status, self._body = status, body
        self.headers: dict[str, str] = {}

    async def read(self) -> bytes:
        return self._body.encode()


class ApiClient:
    """See `kubernetes.aio.client.ApiClient`."""

    configuration = SimpleNamespace(host="")

    def __init__(
        self, network: Network, process: Process, heard: Callable[[Request, int], object]
    ) -> None:
        self._network, self._process, self._heard = network, process, heard

    async def update_params_for_auth(self, *_arguments: Any) -> None:
        pass

    async def close(self) -> None:
        pass

    async def call_api(
        self,
        method: str,
        url: str,
        *,
        header_params: dict[str, str],
        body: Any,
        _request_timeout: float,
    ) -> _Answer:
        request = request_of(
            method, url, body, header_params.get("Content-Type", ""), self._process.name
        )
        if request.writes:
            self._network.on_write(self._process, request)
        status, text = await self._network.request(self._process, request, _request_timeout)
        self._heard(request, status)
        return _Answer(status, text)
