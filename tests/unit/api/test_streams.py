"""One stream: what it writes, when it ends, and that a client that does not read costs nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

from fpj_api import streams
from fpj_api.hub import Hub
from fpj_api.limits import MOST_PER_USER, StreamLimits
from fpj_api.streams import JobStream
from fpj_core.kube.errors import ClusterError

Message = dict[str, Any]


class Client:
    """The other side of a stream; ``reading`` may be cleared for a while."""

    def __init__(self) -> None:
        self.hub, self.limits = Hub("abc"), StreamLimits(2)
        self.allowed: dict[str, bool] = {"team": True}
        self.known = True
        self.failing = False
        self.sent: list[Message] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.left = asyncio.Event()

    async def may_see(self, namespace: str) -> bool:
        if self.failing:
            raise ClusterError(0, "away")
        return self.allowed.get(namespace, False)

    async def is_known(self) -> bool:
        return self.known

    async def send(self, message: Any) -> None:
        await self.reading.wait()
        self.sent.append(message)

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    def stream(self, **given: Any) -> JobStream:
        options: dict[str, Any] = {
            "user": "u",
            "namespace": None,
            "last_id": None,
            "heartbeat": 5.0,
        }
        return JobStream(
            self.hub, self.limits, known=self.is_known, may_see=self.may_see, **(options | given)
        )

    def open(self, **given: Any) -> asyncio.Task[None]:
        return asyncio.create_task(self.stream(**given)({"type": "http"}, self.receive, self.send))

    def change(
        self, uid: str, body: str = "{}", namespace: str = "team", kind: str = "job"
    ) -> None:
        self.hub.publish(kind, namespace, uid, body)

    @property
    def text(self) -> str:
        return b"".join(each.get("body", b"") for each in self.sent).decode()

    @property
    def events(self) -> list[tuple[str, str]]:
        """(event, data)."""
        found = []
        for block in self.text.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
            if "event" in fields:
                found.append((fields["event"], fields["data"]))
        return found

    def has_told(self, events: int) -> bool:
        return len(self.events) == events

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(2_000):
            if condition():
                return
            await asyncio.sleep(0.002)
        raise AssertionError(self.text)


def played(scene: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        await scene(Client())

    asyncio.run(run())


def test_what_it_writes() -> None:
    async def scene(client: Client) -> None:
        task = client.open()
        await client.until(lambda: bool(client.text))
        client.change("a", '{"n":1}')
        client.change("a", '{"namespace":"team"}', kind="gone")
        await client.until(lambda: bool(client.events))
        client.left.set()
        await task
        assert client.text == 'id: abc-0\n\nid: abc-2\nevent: gone\ndata: {"namespace":"team"}\n\n'
        head = dict(client.sent[0]["headers"])
        assert head[b"content-type"] == b"text/event-stream; charset=utf-8"
        assert client.limits._open.total() == 0
        assert not client.hub._subscribers

    played(scene)


def test_silence_is_broken_by_comments() -> None:
    async def scene(client: Client) -> None:
        task = client.open(heartbeat=0.01)
        await client.until(lambda: client.text.count(": \n\n") >= 2)
        client.left.set()
        await task

    played(scene)


def test_a_client_that_does_not_read_gets_the_latest_of_each_job() -> None:
    async def scene(client: Client) -> None:
        task = client.open()
        await client.until(lambda: bool(client.text))
        client.reading.clear()
        client.change("a", "0")
        await asyncio.sleep(0.01)  # one is on its way
        for number in range(1, 10_000):
            client.change("a", str(number))
            client.change("b", str(number))
        client.reading.set()
        await client.until(lambda: len(client.events) >= 3)
        assert client.events == [("job", "0"), ("job", "9999"), ("job", "9999")]
        client.left.set()
        await task

    played(scene)


def test_a_client_that_never_reads_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_STUCK_SECONDS", 0.02)

    async def scene(client: Client) -> None:
        task = client.open()
        await client.until(lambda: bool(client.text))
        client.reading.clear()
        client.change("a")
        await asyncio.wait_for(task, 10)
        assert client.limits._open.total() == 0

    played(scene)


def test_what_may_not_be_seen_is_not_sent() -> None:
    async def scene(client: Client) -> None:
        task = client.open()
        await client.until(lambda: bool(client.text))
        client.change("x", "secret", namespace="other")
        client.change("a", "open")
        await client.until(lambda: bool(client.events))
        assert client.events == [("job", "open")]
        client.allowed["other"] = True
        client.change("x", "known", namespace="other")
        await client.until(lambda: len(client.events) == 2)
        assert client.events[1] == ("reset", "{}"), "what was hidden so far must be read"
        client.change("x", "seen", namespace="other")
        await client.until(lambda: len(client.events) == 3)
        client.allowed["other"] = False
        client.change("x", "hidden", namespace="other")
        await client.until(lambda: len(client.events) == 4)
        assert client.events[2:] == [("job", "seen"), ("reset", "{}")]
        assert "secret" not in client.text and "hidden" not in client.text
        client.left.set()
        await task

    played(scene)


def test_only_the_namespace_that_was_asked_for() -> None:
    async def scene(client: Client) -> None:
        client.allowed["other"] = True
        task = client.open(namespace="team")
        await client.until(lambda: bool(client.text))
        client.change("x", "x", namespace="other")
        client.change("a", "a")
        await client.until(lambda: bool(client.events))
        assert client.events == [("job", "a")]
        client.left.set()
        await task

    played(scene)


@pytest.mark.parametrize("why", ["token", "cluster", "process"])
def test_when_it_ends_by_itself(why: str) -> None:
    async def scene(client: Client) -> None:
        task = client.open(heartbeat=0.01)
        await client.until(lambda: bool(client.text))
        if why == "token":
            client.known = False
        elif why == "cluster":
            client.failing = True
            client.change("a", "unsaid")
        else:
            client.hub.close()
        await asyncio.wait_for(task, 10)
        assert "unsaid" not in client.text
        assert client.limits._open.total() == 0

    played(scene)


def test_after_a_reconnect() -> None:
    async def scene(client: Client) -> None:
        client.change("a", "1")
        client.change("b", "2")
        for last_id, expected in (
            ("abc-1", [("job", "2")]),
            ("abc-0", [("job", "1"), ("job", "2")]),
            ("xyz-1", [("reset", "{}")]),
            ("evil\nevent: job", [("reset", "{}")]),
        ):
            client.sent.clear()
            client.left.clear()
            task = client.open(last_id=last_id)
            await client.until(partial(client.has_told, len(expected)))
            client.left.set()
            await task
            assert client.events == expected
            assert "evil" not in client.text

    played(scene)


def test_more_streams_than_there_may_be() -> None:
    async def scene(client: Client) -> None:
        tasks = [client.open(user=user) for user in ("u", "v")]
        await client.until(lambda: len(client.sent) == 4)
        client.sent.clear()
        await client.open(user="w")
        assert client.sent[0]["status"] == 429
        assert json.loads(client.sent[1]["body"])["title"] == "Too Many Requests"
        client.left.set()
        await asyncio.gather(*tasks)
        client.limits = StreamLimits(100)
        with pytest.MonkeyPatch.context():
            held = [client.limits.one("u") for _ in range(MOST_PER_USER)]
            for each in held:
                each.__enter__()
            client.sent.clear()
            await client.open(user="u")
            assert client.sent[0]["status"] == 429
            for each in held:
                each.__exit__(None, None, None)

    played(scene)
