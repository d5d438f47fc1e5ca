"""kill -9 just before a statement: with FPJ_TEST_KILL="Plan 3",
before the third SQL statement of that stage.

Python loads a module of this name when it starts; only the command itself is changed.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
from typing import Any


def install(stage: str, statement: int) -> None:
    from fpj_cli.runscreen import PlainDisplay

    connect, show = sqlite3.connect, PlainDisplay.stage
    now = ""
    left = statement

    def count(_statement: str) -> None:
        nonlocal left
        # Another thread renews the lease, at moments of its own.
        left -= now == stage and threading.current_thread() is threading.main_thread()
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_trace_callback(count)
        return connection

    def enter(self: PlainDisplay, name: str) -> None:
        nonlocal now
        now = name
        show(self, name)

    sqlite3.connect = traced  # type: ignore[assignment] # one way to call it stands in for all
    PlainDisplay.stage = enter  # type: ignore[method-assign]


if "fpj_cli.main" in sys.orig_argv and "FPJ_TEST_KILL" in os.environ:
    install(os.environ["FPJ_TEST_KILL"].split()[0], int(os.environ["FPJ_TEST_KILL"].split()[1]))
