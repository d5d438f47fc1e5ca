"""What the pool's tests run in children.

Each factory returns a handler that acts on a (verb, argument) task.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typing_extensions import override

from fpj_core.errors import ErrorType, ImageError
from fpj_worker.pool import Away, away, child
from fpj_worker.pool.protocol import ERROR

Task = tuple[str, Any]


def factory() -> Callable[[Task, Callable[[int], None]], Any]:
    return lambda task, admit: globals()[f"do_{task[0]}"](task[1], admit)


def failing_factory() -> Callable[[Task, Callable[[int], None]], Any]:
    raise RuntimeError("no decoder here")


class Elsewhere:
    """A factory whose class is in a module that no child can import."""

    @override
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return importlib.import_module, ("unit.pool.unimportable",)

    def __call__(self) -> Callable[[Task, Callable[[int], None]], Any]:
        raise NotImplementedError


def do_echo(value: Any, _admit: Any) -> Any:
    return value


def do_answer_twice(number: int, _admit: Any) -> str:
    """Say what became of the task of this number, and then once more."""
    pipe = child._this._pipe  # type: ignore[union-attr]
    pipe.send((ERROR, (ErrorType.CORRUPT_IMAGE.value, "the first answer", False), 0.0, number))
    return "the second answer"


def do_pid(_value: Any, _admit: Any) -> int:
    return os.getpid()


def do_environment(prefix: str, _admit: Any) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(prefix)}


def do_sleep(seconds: float, _admit: Any) -> float:
    time.sleep(seconds)
    return seconds


def do_fetch(times: tuple[float, float], _admit: Any) -> None:
    """Seconds of waiting for bytes, then of work."""
    with away(Away.FETCHING):
        time.sleep(times[0])
    time.sleep(times[1])


def do_store(seconds: float, _admit: Any) -> None:
    with away(Away.STORING):
        time.sleep(seconds)


def do_fetch_in_turns(seconds: float, _admit: Any) -> None:
    for _ in range(1_000):
        with away(Away.FETCHING):
            time.sleep(seconds)


def do_lie_about_the_time(reported: tuple[float, float], _admit: Any) -> None:
    this = child._this
    assert this
    since, spent = reported
    this.stopwatch._write(0, since)
    this.stopwatch._write(8, spent)
    time.sleep(60)


def do_touch(path: Path, _admit: Any) -> None:
    path.touch()


def do_hang_in_c(_value: Any, _admit: Any) -> None:
    """Never returns and holds the interpreter's lock, as a stuck decoder does."""
    ctypes.PyDLL(None).sleep(600)


def do_segfault(_value: Any, _admit: Any) -> None:
    ctypes.string_at(0)


def do_abort(words: str, _admit: Any) -> None:
    os.write(2, words.encode())
    os.abort()


def do_trap(words: str, _admit: Any) -> None:
    os.write(2, words.encode())
    os.kill(os.getpid(), signal.SIGTRAP)


def do_exit(code: int, _admit: Any) -> None:
    os._exit(code)


def do_kill(_value: Any, _admit: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def do_allocate(count: int, _admit: Any) -> int:
    return len(bytearray(count))


def do_refuse(_value: Any, _admit: Any) -> None:
    raise ImageError(ErrorType.TOO_LARGE, "too large")


def do_fail(_value: Any, _admit: Any) -> None:
    raise KeyError("a bug")


def do_unpicklable(_value: Any, _admit: Any) -> Any:
    return lambda: None


def do_stderr(words: str, _admit: Any) -> str:
    sys.stderr.write(words)
    sys.stderr.flush()
    return words


def do_heavy(argument: tuple[int, str], admit: Callable[[int], None]) -> None:
    """Note in a file when the weight is held and when it is not."""
    weight, log = argument
    admit(weight)
    with Path(log).open("a") as file:
        file.write(f"+{weight}\n")
    time.sleep(0.05)
    with Path(log).open("a") as file:
        file.write(f"-{weight}\n")


def do_heavy_crash(weight: int, admit: Callable[[int], None]) -> None:
    admit(weight)
    os._exit(1)


class _Evil:
    @override
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return os.putenv, ("FPJ_TEST_PWNED", "1")


def do_evil(_value: Any, _admit: Any) -> Any:
    return _Evil()
