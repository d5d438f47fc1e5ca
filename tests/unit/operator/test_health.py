"""``/healthz`` of the operator, asked as a probe does."""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from fpj_cluster.ports import free_ports
from fpj_operator import health as module
from fpj_operator.health import Health

pytestmark = pytest.mark.slow


@contextmanager
def served(health: Health) -> Iterator[str]:
    (port,) = free_ports(1, range(10_000, 20_000))
    health.serve(port)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        health.close()


def asked(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def probe(health: Health, path: str = "/healthz") -> tuple[int, str]:
    async def ask() -> tuple[int, str]:
        with served(health) as url:
            return await asyncio.to_thread(asked, url + path)

    return asyncio.run(ask())


def queue(depth: int, silent: float) -> SimpleNamespace:
    return SimpleNamespace(depth=depth, handled_at=time.monotonic() - silent)


def test_one_that_waits_to_lead_is_healthy() -> None:
    assert probe(Health()) == (200, "ok\n")


@pytest.mark.parametrize(
    ("depth", "silent", "status"), [(3, 1, 200), (0, 1_000, 200), (3, 1_000, 500)]
)
def test_work_that_stands_still_turns_it_red(depth: int, silent: float, status: int) -> None:
    health = Health()
    health.queues = (queue(0, 0), queue(depth, silent))  # type: ignore[assignment]
    found, text = probe(health)
    assert found == status
    assert ("3 jobs wait" in text) == (status == 500)


def test_an_event_loop_that_hangs_turns_it_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROBE_SECONDS", 0.2)

    async def hang() -> tuple[int, str]:
        with served(Health()) as url:
            probing = asyncio.get_running_loop().run_in_executor(None, asked, url + "/healthz")
            time.sleep(1.5)
            return await probing

    status, text = asyncio.run(hang())
    assert status == 500
    assert "event loop" in text


def test_other_paths_are_not_found() -> None:
    assert probe(Health(), "/")[0] == 404


def test_a_port_that_is_taken() -> None:
    async def twice() -> None:
        with served(Health()) as url, pytest.raises(OSError, match="in use"):
            Health().serve(int(url.rpartition(":")[2]))

    asyncio.run(twice())
