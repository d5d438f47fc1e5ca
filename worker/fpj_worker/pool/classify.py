"""Why a child process died, as a typed error. Pure."""

from __future__ import annotations

import signal

from fpj_core.errors import ErrorType, ImageError

_ALLOCATION_WORDS = (
    "failed to allocate",
    "bad_alloc",
    "out of memory",
    "cannot allocate memory",
    "memoryerror",
)


def classify_death(exit_code: int | None, stderr: str) -> ImageError:
    """The error for the task that was running; ``exit_code`` is negative for a signal,
    as multiprocessing gives it.

    GLib ends the process with SIGTRAP when an allocation fails, the C++ runtime with SIGABRT; both
    say so on standard error. A SIGKILL that the pool did not send comes from the kernel's
    out-of-memory killer, or from a person.
    """
    last = _last_line(stderr)
    if any(word in stderr.lower() for word in _ALLOCATION_WORDS):
        return ImageError(ErrorType.OUT_OF_MEMORY, last or "an allocation failed")
    if exit_code is None:
        return ImageError(
            ErrorType.WORKER_CRASHED, "the worker closed its pipe and went on running"
        )
    if exit_code == -signal.SIGKILL:
        return ImageError(
            ErrorType.OUT_OF_MEMORY, "killed by the system, most likely for want of memory"
        )
    cause = f"exit code {exit_code}" if exit_code >= 0 else _signal_name(-exit_code)
    return ImageError(
        ErrorType.WORKER_CRASHED, f"the decoder crashed ({cause}){': ' + last if last else ''}"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
