"""A server of MongoDB's protocol for the store's benchmarks: the one named,
or the one that the tests use.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mongodb_server
import pytest

from bench.result import SkippedError

_HACK = Path(__file__).resolve().parents[2] / "hack"


@contextmanager
def mongodb_uri() -> Iterator[str]:
    """A new database's address.

    The server forces writes to disk before it acknowledges them, as SQLite is made to.

    Raises `SkippedError` where there is no server.
    """
    if given := os.environ.get("FPJ_TEST_MONGODB_URI"):
        yield f"{given.rstrip('/')}/fpj_bench_{os.getpid()}"
        return
    with own_server() as (uri, _):
        yield uri


@contextmanager
def own_server(*, sync: bool = True) -> Iterator[tuple[str, int]]:
    """The same, of a server of its own; and its pid. Raises `SkippedError`.

    Without ``sync`` it acknowledges before what it writes is on disk. Forced, it forces each record
    by itself, which costs it several times the write; MongoDB forces its journal for many at once.
    """
    with tempfile.TemporaryDirectory(prefix="fpj-bench-") as storage:
        server, port = _start(Path(storage), *(["--sync-on-commit"] if sync else []))
        try:
            yield f"mongodb://127.0.0.1:{port}/fpj_bench", server.pid
        finally:
            server.kill()
            server.wait()


def _start(storage: Path, *options: str) -> tuple[subprocess.Popen[bytes], int]:
    built = subprocess.run([_HACK / "secantusd.sh"], check=False, stdout=subprocess.DEVNULL)
    if built.returncode:
        raise SkippedError("there is no MongoDB server, see hack/secantusd.sh")
    port = mongodb_server.free_port()
    try:
        return mongodb_server.start_server(storage, port, *options), port
    except pytest.fail.Exception as error:
        raise SkippedError(str(error)) from error
