"""Runs pytest in forks of a process that has loaded what is not fpj's:
seconds less for each mutation.

A program of its own, in the copy's environment. It reads a line of JSON for each run,
``{"arguments": […], "output": path, "seconds": number}``, and answers ``{"code": exit code, or -1
for out of time}``.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import time
from typing import Any

_LOADED = """
    pytest _pytest.assertion.rewrite pytest_timeout xdist hypothesis hypothesis.strategies
    hypothesis.stateful pydantic pymongo pymongo.errors aiohttp kubernetes_asyncio.client kopf click
    rich.console rich.table yaml
    starlette.applications fastapi prometheus_client asyncio sqlite3 psutil
""".split()  # noqa: SIM905 - a line each would say no more
_POLL_SECONDS = 0.02


def _run(arguments: list[str], output: str) -> int:
    """In the fork."""
    os.setsid()
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    import pytest  # noqa: PLC0415 - loaded by then

    code = pytest.main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code)


def _wait(child: int, seconds: float) -> int:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 3
        time.sleep(_POLL_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1


def _serve(order: dict[str, Any]) -> int:
    child = os.fork()
    if child == 0:
        code = 3
        try:
            code = _run(order["arguments"], order["output"])
        finally:
            os._exit(code)
    return _wait(child, order["seconds"])


def main() -> None:
    """Until standard input ends."""
    for name in _LOADED:
        with contextlib.suppress(Exception):  # then the tests load it, or say why they cannot
            importlib.import_module(name)
    for line in sys.stdin:
        sys.stdout.write(json.dumps({"code": _serve(json.loads(line))}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
