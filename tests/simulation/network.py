"""What lies between a process and the API server, or the store: each request meets its fate here."""

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

    ``delay`` and ``back`` are seconds on the way there and back. It is carried out ``times`` times; 0: it is lost, and
    so is its answer. ``refusal`` is answered in the place of what it came to, ``lost`` loses the answer. ``stale`` says
    by how many seconds the list that is served is old. ``again`` carries it out once more so many seconds later, when
    its sender may have gone on or died.
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
    """``api_fates`` and ``store_fates`` are asked in turn what becomes of a request; the first that knows decides."""

    kernel: Kernel
    api: ApiServer
    store: StoreServer
    api_fates: list[tuple[float, Callable[[Request], Fate | None]]] = field(default_factory=list)
    store_fates: list[tuple[float, Callable[[str], Fate | None]]] = field(default_factory=list)
    on_write: Callable[[Process, Request], None] = lambda _process, _request: None
    api_down: bool = False
    gives_way: float = 0.3
    """How often a call of the store lets others come between it and the next."""

    # The API server ---------------------------------------------------------------------------------------

    def fate_of(self, request: Request) -> Fate:
        dice = self.kernel.dice
        for rate, fate in self.api_fates:
            if dice.random() < rate and (found := fate(request)) is not None:
                self.kernel.note(request.sender, f"{request} meets {fate.__name__}")
                return found
        return USUAL

    async def request(self, process: Process, request: Request, timeout: float) -> tuple[int, str]:
        """HTTP status and body. Raises TimeoutError, and OSError where nobody listens."""
        process.check()
        fate = self.fate_of(request)
        latency = self.kernel.dice.random() * 0.02
        if await self._sleeps(process, latency + fate.delay, timeout):
            self._carry_out_late(request, fate.delay - timeout)
            raise TimeoutError
        if process.is_cut_off("api") or (fate.times == 0 and fate.refusal is None):
            await asyncio.sleep(timeout)
            raise TimeoutError
        if self.api_down:
            raise ConnectionRefusedError("connection refused")
        answer = self._carried_out(request, fate)
        if await self._sleeps(process, fate.back, timeout) or fate.lost:
            if fate.lost:
                await asyncio.sleep(timeout)
            raise TimeoutError
        if process.is_cut_off("api"):
            await asyncio.sleep(timeout)
            raise TimeoutError
        return answer

    async def _sleeps(self, process: Process, seconds: float, timeout: float) -> bool:
        """Whether that takes too long."""
        seconds += max(process.frozen_until - self.kernel.loop.now, 0.0)
        if seconds > 0:
            await asyncio.sleep(min(seconds, timeout))
        process.check()
        return seconds > timeout

    def _carried_out(self, request: Request, fate: Fate) -> tuple[int, str]:
        as_of = self.kernel.loop.now - fate.stale if fate.stale else None
        answers = [self.api.answer(request, as_of=as_of) for _ in range(fate.times)]
        if fate.again:
            self.kernel.loop.call_later(fate.again, self.api.answer, request)
        if fate.refusal is not None:
            return fate.refusal.status, json.dumps(fate.refusal.body)
        return answers[-1]

    def _carry_out_late(self, request: Request, seconds: float) -> None:
        """Nobody waits for it any more. Rights are left out: nothing that could be done would notice them."""
        if request.writes and seconds > 0 and request.kind not in ("ServiceAccount", "Role", "RoleBinding"):
            self.kernel.loop.call_later(seconds, self.api.answer, request)

    def blocking_request(self, process: Process, request: Request, timeout: float) -> tuple[int, str]:
        """The same, for a thread."""
        thread = this_thread()
        fate = self.fate_of(request)
        thread.sleep(min(self.kernel.dice.random() * 0.02 + fate.delay, timeout))
        if process.is_cut_off("api") or (fate.times == 0 and fate.refusal is None) or fate.delay > timeout:
            thread.sleep(timeout)
            raise TimeoutError
        if self.api_down:
            raise ConnectionRefusedError("connection refused")
        answer = self._carried_out(request, fate)
        if fate.lost or fate.back > timeout:
            thread.sleep(timeout)
            raise TimeoutError
        return answer

    # The store --------------------------------------------------------------------------------------------

    def call(self, process: Process, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """An operation of the store. Raises `StoreError`."""
        process.check()
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

    def __init__(self, network: Network, process: Process) -> None:
        self._network, self._process = network, process

    async def update_params_for_auth(self, *_arguments: Any) -> None:
        pass

    async def close(self) -> None:
        pass

    async def call_api(
        self, method: str, url: str, *, header_params: dict[str, str], body: Any, _request_timeout: float
    ) -> _Answer:
        request = request_of(method, url, body, header_params.get("Content-Type", ""), self._process.name)
        if request.writes:
            self._network.on_write(self._process, request)
        return _Answer(*await self._network.request(self._process, request, _request_timeout))
