"""How the command ends: from an error to an exit code,
a line for people and an object for programs.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import TextIO

import click
from rich.markup import escape

from fpj_cli.context import UsageProblemError, err
from fpj_core.errors import (
    CacheFolderError,
    EnvironmentFaultError,
    ErrorType,
    FencedError,
    FpjError,
    LeaseHeldError,
    ManifestError,
    NoStoreError,
    PolicyError,
    PoolError,
    SourceError,
    StoreError,
)
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.exits import CommandExit
from fpj_core.kube.names import EVICTION_LEASE
from fpj_core.kube.steering import RefusedActionError
from fpj_core.leases import local_holder_pid

_WRONG_NAME = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.EINVAL,
}
"""What an operating system says of a path that was given wrongly,
rather than of storage that fails.
"""
_BROKEN_PIPE = 141
"""As a shell counts SIGPIPE: whoever read has gone, as `head` does. No error."""


def guarded(command: Callable[[], None], arguments: Sequence[str]) -> int:
    """Run a command; its exit code.

    Errors are reported in one line, and as JSON where JSON was asked for.
    """
    code = _flushed(_run(command, wants_json(arguments)))
    return int(code)


_BAD_INPUT = (ManifestError, NoStoreError, UsageProblemError, RefusedActionError, PolicyError)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether these arguments ask for JSON. They may be too wrong for click to say."""
    joined = " ".join(arguments)
    return "--json" in arguments or any(
        each in joined for each in ("-o json", "-ojson", "--output json", "=json")
    )


def code_of(error: BaseException) -> CommandExit:
    """The exit code that an error means."""
    if isinstance(error, LeaseHeldError | FencedError):
        return CommandExit.HELD
    if isinstance(error, _BAD_INPUT):
        return CommandExit.BAD_INPUT
    if isinstance(error, StoreError | ClusterError):
        return CommandExit.STORE
    if isinstance(error, EnvironmentFaultError):
        return CommandExit.SUSPENDED
    if isinstance(error, SourceError | CacheFolderError):
        return _code_of_place(error)
    is_fault = isinstance(error, OSError | PoolError)
    return CommandExit.ENVIRONMENT if is_fault else CommandExit.INCOMPLETE


def words_of(error: BaseException) -> str:
    """What is said to people, in one line or a line per problem."""
    if isinstance(error, LeaseHeldError):
        pid = local_holder_pid(error.holder)
        who = f"process {pid} on this machine" if pid else error.holder
        if error.name.startswith(EVICTION_LEASE):
            return f"another process evicts from this cache folder ({who}); wait for it or stop it"
        return f"another run is working on this collection ({who}); wait for it or stop it"
    if isinstance(error, OSError):
        place = error.filename or ("" if _can_print() else "standard output")
        return f"{place}{': ' if place else ''}{error.strerror or error}"
    return str(error)


def _can_print() -> bool:
    """Whether standard output takes what waits for it."""
    try:
        sys.stdout.flush()
    except OSError:
        return False
    return True


def error_document(code: int, kind: str, message: str) -> dict[str, object]:
    """What programs get: ``{"error": {"exitCode": int, "type": str, "message": str}}``."""
    return {"error": {"exitCode": int(code), "type": kind, "message": message}}


def _code_of_place(error: FpjError) -> CommandExit:
    """A place that was named wrongly is bad input.

    One that fails is the machine's fault, or the network's.
    """
    cause = error.__cause__
    if cause is None:
        return CommandExit.BAD_INPUT
    if isinstance(cause, OSError) and cause.errno is not None:
        return CommandExit.BAD_INPUT if cause.errno in _WRONG_NAME else CommandExit.ENVIRONMENT
    if isinstance(cause, FpjError | ValueError):
        return CommandExit.BAD_INPUT
    from fpj_core.objects import object_error  # noqa: PLC0415 - takes its time, and is needed for buckets alone

    missing = (
        isinstance(cause, Exception) and object_error(cause, "").error_type is ErrorType.NOT_FOUND
    )
    return CommandExit.BAD_INPUT if missing else CommandExit.STORE


def _run(command: Callable[[], None], as_json: bool) -> int:
    stdout = sys.stdout
    try:
        command()
    except SystemExit as exit_:
        if sys.stdout is not stdout:  # click has replaced it, as it does where the reader has gone
            return _BROKEN_PIPE
        return exit_.code if isinstance(exit_.code, int) else 0
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except BrokenPipeError:
        return _BROKEN_PIPE
    except (FpjError, OSError, click.ClickException, KeyboardInterrupt, click.Abort) as error:
        code, kind, words = _told(error)
        _tell_programs(as_json, code, kind, words)
        return code
    return CommandExit.DONE


def _told(error: BaseException) -> tuple[CommandExit, str, str]:
    """Tell people; exit code, type and words for programs."""
    if isinstance(error, click.ClickException):
        error.show(file=err.file)
        return CommandExit.BAD_INPUT, "Usage", error.format_message()
    if isinstance(error, KeyboardInterrupt | click.Abort):
        err.print("Interrupted.")
        return CommandExit.INTERRUPTED, "Interrupted", "interrupted"
    words = words_of(error)
    err.print(f"[bold red]Error:[/] {escape(words)}", markup=True, soft_wrap=True)
    return code_of(error), type(error).__name__.removesuffix("Error"), words


def _tell_programs(as_json: bool, code: int, kind: str, message: str) -> None:
    if as_json:
        try:
            sys.stdout.write(
                json.dumps(error_document(code, kind, message), ensure_ascii=False) + "\n"
            )
        except OSError:  # that standard output cannot be written may be the very error
            return


def _flushed(code: int) -> int:
    """The exit code once all that was printed is out.

    What cannot be printed is an error of its own.
    """
    error = _flush_error(sys.stdout)
    if error is not None and not isinstance(error, BrokenPipeError):
        if not code:
            words = f"standard output: {error.strerror or error}"
            err.print(f"[bold red]Error:[/] {escape(words)}", markup=True, soft_wrap=True)
        code = code or CommandExit.ENVIRONMENT
    _flush_error(sys.stderr)
    return code or (_BROKEN_PIPE if error is not None else CommandExit.DONE)


def _flush_error(stream: TextIO) -> OSError | None:
    """Why a stream cannot be written.

    What is left in it is then dropped: Python would try again when it ends.
    """
    try:
        stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None
