"""Connections as the server keeps them: none waits forever,
and those that only wait never keep others out.

uvicorn closes a connection that is idle between two requests, but has no time limit until the first
request has come, nor while a head comes slowly.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Any

import h11
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

from fpj_api import metrics
from fpj_api.addresses import Network, is_trusted, network_of

HEAD_SECONDS = 10.0
"""For the head of a request, from the connection or the first byte on."""
MOST, MOST_OF_ADDRESS = 1_000, 200
FLUSH_SECONDS = 60.0
"""For what a client that is let go has still to read, and for a client that reads nothing."""


class Connections:
    """All connections of a server, and which of them wait for a request, longest first.

    Where there is no room for a new one, the one that waits longest goes: of the same address where
    it has too many, else of all. Only where none waits is the new one refused. Trusted proxies,
    which speak for many, have no limit of their own.
    """

    def __init__(
        self,
        proxies: Sequence[Network] = (),
        *,
        most: int = MOST,
        most_of_address: int = MOST_OF_ADDRESS,
    ) -> None:
        self._proxies, self._most, self._most_of_address = proxies, most, most_of_address
        self._addresses: Counter[str] = Counter()
        self._waiting: OrderedDict[BoundedProtocol, None] = OrderedDict()

    def __len__(self) -> int:
        return self._addresses.total()

    def admit(self, connection: BoundedProtocol) -> bool:
        """Count a new connection, which waits. False where there is no room."""
        key = connection.key
        exempt = is_trusted(connection.address, self._proxies)
        if not exempt and self._addresses[key] >= self._most_of_address and not self._let_go(key):
            return self._refuse("address")
        if len(self) >= self._most and not self._let_go(None):
            return self._refuse("all")
        self._addresses[key] += 1
        self._waiting[connection] = None
        return True

    def leave(self, connection: BoundedProtocol) -> None:
        """It is closed, or as good as that."""
        self._waiting.pop(connection, None)
        self._addresses[connection.key] -= 1
        if self._addresses[connection.key] <= 0:
            del self._addresses[connection.key]

    def waits(self, connection: BoundedProtocol, waiting: bool) -> None:
        """It waits for a request, or is busy with one."""
        if waiting:
            self._waiting.setdefault(connection)
        else:
            self._waiting.pop(connection, None)

    def _let_go(self, key: str | None) -> bool:
        """Close the connection that waits longest, of this address or of all.

        False where none waits.
        """
        found = next((each for each in self._waiting if key in (None, each.key)), None)
        if found is None:
            return False
        metrics.CLOSED_CONNECTIONS.labels("room").inc()
        found.abort()
        return True

    def _refuse(self, reason: str) -> bool:
        metrics.CLOSED_CONNECTIONS.labels(reason).inc()
        return False


class BoundedProtocol(H11Protocol):
    """One connection; `protocol` binds it to the server's `Connections`."""

    all: Connections

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.address, self.key = "", ""
        self._admitted = False
        self._deadline: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head, if there is room."""
        super().connection_made(transport)
        self.address = str((self.client or ("",))[0])
        self.key = network_of(self.address)
        self._admitted = self.all.admit(self)
        if self._admitted:
            self._wait()
        else:
            self.connections.discard(self)
            transport.abort()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Give the room back."""
        self._forget()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        """A part of a request; where it is not the whole head, the rest must come in time."""
        super().data_received(data)
        self._note()

    @override
    def on_response_complete(self) -> None:
        """Wait for the next request; a client that has not sent the whole of this one is let go."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY or self.transport.is_closing():
            self._close()
        self._note()

    @override
    def pause_writing(self) -> None:
        """The client must read on, however slowly."""
        super().pause_writing()
        self._stuck = self.loop.call_later(
            FLUSH_SECONDS, self._has_read, self.transport.get_write_buffer_size()
        )

    @override
    def resume_writing(self) -> None:
        """It does."""
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    @override
    def timeout_keep_alive_handler(self) -> None:
        """Close the client's connection, and do not wait forever for it to read."""
        self._close()

    def abort(self) -> None:
        """Make room at once."""
        self._forget()
        self.transport.abort()

    def _note(self) -> None:
        """Whether it waits for a head now."""
        if not self._admitted:
            return
        busy = self.cycle is not None and not self.cycle.response_complete
        self.all.waits(self, not busy)
        if busy or self.timeout_keep_alive_task is not None or self.transport.is_closing():
            self._unset_deadline()
        elif self._deadline is None:
            self._wait()

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _too_slow(self) -> None:
        metrics.CLOSED_CONNECTIONS.labels("head").inc()
        self._close()

    def _close(self) -> None:
        """What was written is still sent, to who reads it."""
        self._unset_deadline()
        self.transport.close()
        self.loop.call_later(FLUSH_SECONDS, self.transport.abort)

    def _has_read(self, before: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left >= before:
            metrics.CLOSED_CONNECTIONS.labels("stuck").inc()
            self.transport.abort()
        else:
            self._stuck = self.loop.call_later(FLUSH_SECONDS, self._has_read, left)

    def _unset_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _forget(self) -> None:
        self._unset_deadline()
        if self._stuck is not None:
            self._stuck.cancel()
        if self._admitted:
            self._admitted = False
            self.all.leave(self)


def protocol(connections: Connections) -> type[BoundedProtocol]:
    """The protocol of a server."""
    return type("Protocol", (BoundedProtocol,), {"all": connections})
