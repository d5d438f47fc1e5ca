"""How the command ends: codes, one line for people, one object for programs."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fpj_cli.act import _confirm, _each
from fpj_cli.context import UsageProblemError
from fpj_cli.endings import _flushed, code_of, guarded
from fpj_cli.interrupts import stop_on_signals
from fpj_core.errors import (
    CacheFolderError,
    EnvironmentFaultError,
    FencedError,
    LeaseHeldError,
    ManifestError,
    SourceError,
    StoreUnavailableError,
)
from fpj_core.kube.errors import ClusterError, UnreachableError
from fpj_core.kube.exits import CommandExit
from fpj_core.kube.jobresource import JobResource
from fpj_worker.pool import PoolError


def caused(error: Exception, number: int) -> Exception:
    error.__cause__ = OSError(number, os.strerror(number))
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LeaseHeldError("name", "somebody", 1.0), CommandExit.HELD),
        (FencedError("the lease was taken over"), CommandExit.HELD),
        (EnvironmentFaultError("the disk is full"), CommandExit.SUSPENDED),
        (ManifestError(["spec: wrong"]), CommandExit.BAD_INPUT),
        (UsageProblemError("what?"), CommandExit.BAD_INPUT),
        (StoreUnavailableError("gone"), CommandExit.STORE),
        (UnreachableError("gone"), CommandExit.STORE),
        (SourceError("a cache folder is not a source"), CommandExit.BAD_INPUT),
        (caused(SourceError("x"), errno.ENOENT), CommandExit.BAD_INPUT),
        (caused(SourceError("x"), errno.EIO), CommandExit.ENVIRONMENT),
        (caused(SourceError("x"), errno.ESTALE), CommandExit.ENVIRONMENT),
        (caused(CacheFolderError("x"), errno.EROFS), CommandExit.ENVIRONMENT),
        (caused(CacheFolderError("x"), errno.ENOSPC), CommandExit.ENVIRONMENT),
        (caused(CacheFolderError("x"), errno.ENOTDIR), CommandExit.BAD_INPUT),
        (OSError(errno.ENOSPC, "full"), CommandExit.ENVIRONMENT),
        (PoolError("worker processes cannot be started"), CommandExit.ENVIRONMENT),
    ],
)
def test_each_kind_of_error_has_its_code(
    error: Exception, code: CommandExit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(error) is code

    def fail() -> None:
        raise error

    assert guarded(fail, ["run", "--json"]) == code
    shown = capsys.readouterr()
    assert shown.err.startswith("Error: ") and shown.err.count("\n") == 1
    assert json.loads(shown.out)["error"]["exitCode"] == code
    assert guarded(fail, ["run"]) == code
    assert capsys.readouterr().out == ""


def fpj(
    *arguments: str, out: int = subprocess.PIPE, err: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fpj_cli.main", *arguments]
    buffered = os.environ | {"PYTHONUNBUFFERED": ""}
    return subprocess.run(
        command, stdout=out, stderr=err, text=True, timeout=60, check=False, env=buffered
    )


def test_output_that_cannot_be_written_is_an_error_without_a_traceback(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = fpj("get", "-o", "json", "--help", out=full.fileno())
        assert done.returncode == CommandExit.ENVIRONMENT
        assert done.stderr == "Error: standard output: No space left on device\n"
        assert fpj("schema", "run", out=full.fileno()).stderr == done.stderr, "and not some disk"
        assert (
            fpj("run", str(tmp_path / "nowhere"), err=full.fileno()).returncode
            == CommandExit.BAD_INPUT
        )


@pytest.mark.parametrize("words", [("schema", "run"), ("run", "--help")])
def test_a_reader_that_has_gone_is_no_error(words: tuple[str, ...]) -> None:
    """As a shell counts SIGPIPE: 1 would mean that images failed."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = fpj(*words, out=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_wrong_option_is_an_object_for_programs_too() -> None:
    done = fpj("get", "--wrong", "-o", "json")
    assert done.returncode == CommandExit.BAD_INPUT
    error = json.loads(done.stdout)["error"]
    assert error == {"exitCode": 2, "type": "Usage", "message": error["message"]}
    assert "--wrong" in error["message"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_stops_a_run_as_any_other_signal_does(number: signal.Signals) -> None:
    with stop_on_signals() as stop:
        os.kill(os.getpid(), number)
        assert stop()


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_ends_a_run_at_once() -> None:
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (KeyboardInterrupt(), 130),
        (SystemExit(3), 3),
        (SystemExit(None), 0),
        (SystemExit("text"), 0),
    ],
)
def test_what_a_command_says_of_its_end_counts(end: BaseException, code: int) -> None:
    def command() -> None:
        raise end

    assert guarded(command, []) == code


def test_output_that_does_not_get_out_in_the_end_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with open("/dev/full", "w") as full:
        full.write("some")
        monkeypatch.setattr(sys, "stdout", full)
        assert (_flushed(0), _flushed(CommandExit.HELD)) == (
            CommandExit.ENVIRONMENT,
            CommandExit.HELD,
        )


def job(name: str) -> JobResource:
    return JobResource({"metadata": {"name": name, "namespace": "team", "uid": name}, "spec": {}})


def test_one_refusal_among_many_shows_in_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    done: list[str] = []

    def resume(found: JobResource) -> None:
        if found.name == "a":
            raise ClusterError(403, "forbidden")
        done.append(found.name)

    with pytest.raises(SystemExit) as ended:
        _each([job("a"), job("b")], resume, "resumed")
    assert ended.value.code == 1 and done == ["b"]
    assert "forbidden" in capsys.readouterr().err


def test_nobody_is_asked_where_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.confirm", lambda *_, **__: pytest.fail("a script was asked"))
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(UsageProblemError, match="--yes"):
            _confirm([job("a")], "Recover", yes=False)
