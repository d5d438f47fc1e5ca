"""The API under load that needs no account: silent connections and random tokens,
against the real process.
"""

from __future__ import annotations

import secrets
import socket
import threading
from contextlib import ExitStack

import pytest
from api_process import ApiProcess, Client
from apis import Place

pytestmark = pytest.mark.timeout(300)

JOBS = "/api/v1/jobs"


def reviews(process: ApiProcess) -> float:
    lines = process.scrape().splitlines()
    return sum(
        float(line.split()[-1])
        for line in lines
        if line.startswith('fpj_api_reviews_total{kind="token"')
    )


def test_a_thousand_silent_connections_end_nothing(place: Place, process: ApiProcess) -> None:
    client = place.client(process, "fpj-admin")
    with ExitStack() as stack:
        for number in range(1_000):
            connection = socket.create_connection(("127.0.0.1", process.port), 10)
            stack.callback(connection.close)
            if number % 2:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x")
        for _ in range(5):
            assert process.probe("livez") == 200 and process.probe("readyz") == 200
            assert client.ask("GET", JOBS)[0] == 200
        with client.stream() as stream:
            assert stream.status == 200


def test_random_tokens_lock_nobody_out(place: Place, process: ApiProcess) -> None:
    client = place.client(process, "fpj-admin")
    assert client.ask("GET", JOBS)[0] == 200
    before = reviews(process)
    answers: list[int] = []

    def flood() -> None:
        stranger = Client(process.url)
        for _ in range(25):
            headers = {"Authorization": f"Bearer {secrets.token_hex(20)}", "Connection": "close"}
            answers.append(stranger.response("GET", JOBS, headers=headers).status)

    threads = [threading.Thread(target=flood) for _ in range(20)]
    for thread in threads:
        thread.start()
    mine = [client.ask("GET", JOBS)[0] for _ in range(20)]
    for thread in threads:
        thread.join(120)
    assert set(mine) == {200}
    assert len(answers) == 500 and set(answers) == {401, 429}
    assert reviews(process) - before < 150, "of 500"
