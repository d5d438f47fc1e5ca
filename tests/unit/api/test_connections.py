"""Connections of a real server: those that only wait keep nobody out, and none waits forever."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fpj_api import connections
from fpj_api.addresses import networks
from fpj_api.connections import Connections, protocol

GET = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"
CUT = b"GET / HTTP/1.1\r\nHo"


class Server:
    def __init__(
        self, most: int = 20, most_of_address: int = 20, proxies: tuple[str, ...] = ()
    ) -> None:
        self.connections = Connections(
            networks(proxies), most=most, most_of_address=most_of_address
        )
        self.held = asyncio.Event()
        """Lets requests to ``/held`` be answered."""
        routes = [Route("/", _ok), Route("/held", self._hold), Route("/large", _large)]
        routes.append(Route("/post", _ok, methods=["POST"]))
        self._clients: list[Client] = []
        self._config = uvicorn.Config(
            Starlette(routes=routes),
            http=protocol(self.connections),
            ws="none",
            lifespan="off",
            log_config=None,
        )
        self.started = asyncio.Event()

    async def _hold(self, _request: Request) -> Response:
        self.started.set()
        await self.held.wait()
        return PlainTextResponse("held")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Server]:
        listener = socket.create_server(("127.0.0.1", 0), backlog=1_024)
        self.port = listener.getsockname()[1]
        server = uvicorn.Server(self._config)
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.001)
        try:
            yield self
        finally:
            self.held.set()
            for client in self._clients:
                await client.close()
            server.should_exit = server.force_exit = True
            await task
            listener.close()

    async def connect(self, sent: bytes = b"", source: str = "127.0.0.1") -> Client:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(source, 0)
        )
        made = Client(reader, writer)
        self._clients.append(made)
        await made.send(sent)
        return made

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(10_000):
            if condition():
                return
            await asyncio.sleep(0.002)
        raise AssertionError(f"{len(self.connections)} connections")


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, sent: bytes) -> None:
        self._writer.write(sent)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def status(self) -> int:
        """Of the next answer; 0 where the connection ends before."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await self._reader.readexactly(length)
            return int(head.split()[1])
        except (ConnectionError, asyncio.IncompleteReadError):
            return 0

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def ended(self) -> bool:
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(65_536):
                pass
        return True


async def _ok(_request: Request) -> Response:
    return PlainTextResponse("ok")


async def _large(_request: Request) -> Response:
    return Response(b" " * 32_000_000)


def scene(server: Callable[[], Server], play: Callable[[Server], Awaitable[None]]) -> None:
    async def run() -> None:
        async with server().running() as running:
            await play(running)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_silent_connections_keep_nobody_out() -> None:
    """Ten times as many as there may be, of five addresses, all open at once."""

    async def play(server: Server) -> None:
        silent = [await server.connect(source=f"127.0.0.{10 + n % 5}") for n in range(200)]
        for n in range(3):
            for sent in (b"", CUT):
                silent += [await server.connect(sent, source=f"127.0.0.{10 + n}") for _ in range(5)]
            assert await (await server.connect(GET % b"")).status() == 200
            assert len(server.connections) <= 20
        assert await silent[0].ended()

    scene(lambda: Server(most=20, most_of_address=8), play)


def test_an_address_closes_its_own_connections_first() -> None:
    async def play(server: Server) -> None:
        other = await server.connect(source="127.0.0.9")
        await server.until(lambda: len(server.connections) == 1)
        mine = [await server.connect() for _ in range(20)]
        await asyncio.gather(*(each.ended() for each in mine[:15]))
        await server.until(lambda: len(server.connections) == 6)
        await other.send(GET % b"")
        assert await other.status() == 200

    scene(lambda: Server(most=100, most_of_address=5), play)


def test_whoever_is_being_answered_is_not_cut_off() -> None:
    async def play(server: Server) -> None:
        busy = [await server.connect(GET % b"held") for _ in range(5)]
        await server.started.wait()
        await server.until(lambda: not server.connections._waiting)
        assert await (await server.connect(GET % b"")).status() == 0, "there is no room"
        server.held.set()
        assert [await each.status() for each in busy] == [200] * 5
        assert await (await server.connect(GET % b"")).status() == 200

    scene(lambda: Server(most=100, most_of_address=5), play)


def test_a_trusted_proxy_speaks_for_many() -> None:
    async def play(server: Server) -> None:
        clients = [await server.connect(GET % b"") for _ in range(15)]
        assert [await each.status() for each in clients] == [200] * 15
        await server.until(lambda: len(server.connections) == 15)

    scene(lambda: Server(most=20, most_of_address=5, proxies=("127.0.0.0/8",)), play)


@pytest.mark.parametrize("sent", [b"", CUT, b"\r\n", b"\r\n\r\n"], ids=str)
def test_a_head_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)

    async def play(server: Server) -> None:
        silent = await server.connect(sent)
        assert await silent.ended()
        await server.until(lambda: len(server.connections) == 0)

    scene(Server, play)


def test_a_head_that_comes_in_drops_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the connection was good for a request before."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)

    async def play(server: Server) -> None:
        for before in (b"", GET % b""):
            client = await server.connect(before)
            if before:
                assert await client.status() == 200
            await client.send(CUT)
            for _ in range(2_000):  # a byte at a time starts no new deadline
                await client.send(b"x")
                await asyncio.sleep(0.001)
                if len(server.connections) == 0:
                    break
            assert len(server.connections) == 0

    scene(Server, play)


def test_a_body_that_nobody_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer does not need it: the client is let go."""

    async def play(server: Server) -> None:
        client = await server.connect(
            b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
        )
        assert await client.ended()
        await server.until(lambda: len(server.connections) == 0)

    scene(Server, play)


def test_a_client_that_does_not_read_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "FLUSH_SECONDS", 0.05)

    async def play(server: Server) -> None:
        raw = socket.create_connection(("127.0.0.1", server.port))
        raw.sendall(GET % b"large")
        await server.until(lambda: len(server.connections) == 1)
        await server.until(lambda: len(server.connections) == 0)
        raw.close()

    scene(Server, play)


def test_requests_one_after_another_on_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(server: Server) -> None:
        client = await server.connect()
        for _ in range(5):
            await client.send(GET % b"")
            assert await client.status() == 200
        await client.send(
            GET % b"" + GET % b"" + b"POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok"
        )
        assert [await client.status() for _ in range(3)] == [200] * 3
        assert len(server.connections) == 1

    scene(Server, play)
