"""kill -9 just before a statement: with FPJ_TEST_KILL="Plan 3",
before the third SQL statement of that stage; with FPJ_TEST_KILL="Completed",
before the first one after the end of the job was committed.

Python loads a module of this name when it starts; only the command itself is changed.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
from typing import Any


class Countdown:
    """To a statement of a stage, counted from 1."""

    def __init__(self, stage: str, statement: int) -> None:
        self._stage, self._left = stage, statement

    def reached(self, stage: str, _statement: str) -> bool:
        self._left -= stage == self._stage
        return self._left == 0


class Committed:
    """Reached by the first statement after the COMMIT of a job in this phase.

    Not a count: how many statements come before it depends on when the lease was renewed last.
    """

    def __init__(self, phase: str) -> None:
        self._steps = [f'"phase": "{phase}"', "COMMIT", ""]

    def reached(self, _stage: str, statement: str) -> bool:
        if self._steps[0] in statement:
            del self._steps[0]
        return not self._steps


def install(moment: Countdown | Committed) -> None:
    from fpj_cli.runscreen import PlainDisplay

    connect, show = sqlite3.connect, PlainDisplay.stage
    now = ""

    def count(statement: str) -> None:
        # Another thread renews the lease, at moments of its own.
        if threading.current_thread() is threading.main_thread() and moment.reached(now, statement):
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


def asked_for() -> Countdown | Committed:
    stage, _, statement = os.environ["FPJ_TEST_KILL"].partition(" ")
    return Countdown(stage, int(statement)) if statement else Committed(stage)


if "fpj_cli.main" in sys.orig_argv and "FPJ_TEST_KILL" in os.environ:
    install(asked_for())
