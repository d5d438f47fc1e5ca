"""Server-sent events: changes of jobs to one client, for as long as it listens, is known,
and may see them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from fpj_api.hub import Change, Hub, Subscriber
from fpj_api.limits import StreamLimits
from fpj_api.problems import ProblemError, respond
from fpj_core.kube.errors import ClusterError

HEARTBEAT_SECONDS = 15.0
_STUCK_SECONDS = 60.0
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_BEATS = ": \n\n"

log = logging.getLogger("fpj.api")


class JobStream(Response):
    """Sends what the hub tells.

    Args:
        hub: where changes come from.
        limits: how many streams there may be.
        user: whose it is.
        namespace: the only one to tell of, or None.
        last_id: of the event that the client had last, or None.
        known: whether the token is still somebody's.
        may_see: whether its user may see the jobs of a namespace.
        heartbeat: seconds until silence is broken by a comment.
    """

    def __init__(
        self,
        hub: Hub,
        limits: StreamLimits,
        *,
        user: str,
        namespace: str | None,
        last_id: str | None,
        known: Callable[[], Awaitable[bool]],
        may_see: Callable[[str], Awaitable[bool]],
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> None:
        super().__init__()
        self._hub, self._limits = hub, limits
        self._user, self._namespace, self._last_id = user, namespace, last_id
        self._known, self._may_see, self._heartbeat = known, may_see, heartbeat
        self._seen: dict[str, bool] = {}

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Until the client leaves, the process ends, or the cluster does not say any more what the
        client may see.
        """
        try:
            with self._limits.one(self._user):
                await self._run(receive, send)
        except ProblemError as problem:
            await respond(problem, scope, receive, send)

    async def _run(self, receive: Receive, send: Send) -> None:
        subscriber = self._hub.subscribe(self._last_id)
        left = asyncio.create_task(_left(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            # An id alone is not an event: the client only learns where it stands, should the
            # connection break at once.
            await _write(
                send, f"id: {self._last_id if self._resumes(subscriber) else self._hub.id()}\n\n"
            )
            await self._tell(subscriber, left, send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (TimeoutError, OSError):
            log.info("a client no longer reads; its stream is closed", extra={"user": self._user})
        except ClusterError as error:
            log.warning("a stream ends: %s", error, extra={"user": self._user})
        finally:
            left.cancel()
            self._hub.unsubscribe(subscriber)

    async def _tell(self, subscriber: Subscriber, left: asyncio.Task[None], send: Send) -> None:
        while not self._hub.closing and not left.done():
            if not await self._known():
                return
            if subscriber.lost():
                await _write(send, _event("reset", self._hub.id(), "{}"))
            change = subscriber.take()
            if change is None:
                if not await _wait(subscriber, left, self._heartbeat):
                    await _write(send, _BEATS)
            elif self._namespace in (None, change.namespace):
                await self._pass_on(change, send)

    async def _pass_on(self, change: Change, send: Send) -> None:
        """What may be seen. Where that has changed, the client's list is not right any more."""
        may, might = await self._may_see(change.namespace), self._seen.get(change.namespace)
        self._seen[change.namespace] = may
        if might is not None and may != might:
            await _write(send, _event("reset", self._hub.id(change), "{}"))
        elif may:
            await _write(send, _event(change.kind, self._hub.id(change), change.body))

    def _resumes(self, subscriber: Subscriber) -> bool:
        return self._last_id is not None and not subscriber.missed


async def _wait(subscriber: Subscriber, left: asyncio.Task[None], seconds: float) -> bool:
    """Whether something happened within the time."""
    woken = asyncio.create_task(subscriber.woken.wait())
    try:
        done, _ = await asyncio.wait(
            {woken, left}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        woken.cancel()
    return bool(done)


async def _left(receive: Receive) -> None:
    """Return once the client has gone.

    What it may send does not matter, and is not read forever either.
    """
    for _ in range(1_000):
        if (await receive())["type"] == "http.disconnect":
            return


async def _write(send: Send, text: str) -> None:
    """Raises TimeoutError where the client takes nothing for long."""
    async with asyncio.timeout(_STUCK_SECONDS):
        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


def _event(kind: str, number: str, body: str) -> str:
    return f"id: {number}\nevent: {kind}\ndata: {body}\n\n"
