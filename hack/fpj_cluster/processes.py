"""Processes that outlive whoever starts them, and that anyone may end later: by their own pid,
never by a name.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fpj_cluster.errors import ClusterError

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Process:
    """A process known by its pid and its start (clock ticks since boot),
    so that a reused pid is not taken for it.
    """

    pid: int
    started: int

    @classmethod
    def start(cls, command: Sequence[str | Path], log: Path) -> Process:
        """Start a command in a session of its own, its output appended to a file.

        No `subprocess.Popen`: that one complains where the process is left running on purpose.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        words = [str(word) for word in command]
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        files = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        pid = os.posix_spawn(words[0], words, plain_environment(), file_actions=files, setsid=True)
        return cls(pid, (_status(pid) or ("", 0, 0))[2])

    @property
    def is_alive(self) -> bool:
        """Whether it still runs. A child of ours that has ended is reaped on the way."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        status = _status(self.pid)
        return status is not None and status[0] != "Z" and status[2] == self.started

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def end(processes: Iterable[Process], *, grace: float) -> None:
    """End processes: SIGTERM to all, and SIGKILL to those that are still there after `grace`
    seconds.
    """
    left = list(processes)
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        for process in left:
            process.signal(number)
        deadline = time.monotonic() + seconds
        while left and time.monotonic() < deadline:
            left = [process for process in left if process.is_alive]
            time.sleep(0.02)
        if not left:
            return
    raise ClusterError(
        f"processes {[process.pid for process in left]} do not end, not even when killed"
    )


def with_descendants(roots: Iterable[int]) -> list[Process]:
    """Processes and all that they started, directly or not."""
    parents: dict[int, tuple[int, int]] = {}
    for pid in all_pids():
        if status := _status(pid):
            parents[pid] = status[1:]
    found: dict[int, Process] = {}
    wave = [pid for pid in roots if pid in parents]
    while wave:
        found |= {pid: Process(pid, parents[pid][1]) for pid in wave}
        wave = [pid for pid, (parent, _) in parents.items() if parent in wave and pid not in found]
    return list(found.values())


def all_pids() -> list[int]:
    """Every process of this machine."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]


def command_of(pid: int) -> list[str]:
    """A process's command line; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def _status(pid: int) -> tuple[str, int, int] | None:
    """(state, parent, start) or None where there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name before it may hold anything
    return fields[0], int(fields[1]), int(fields[19])


def plain_environment() -> dict[str, str]:
    """Our environment without proxies, which must not stand between the parts of a cluster,
    and with sbin in PATH.
    """
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return kept | {"PATH": f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}"}


def run(
    *command: str | Path, stdin: str | None = None, seconds: float = 60.0, may_fail: bool = False
) -> str:
    """Run a command to its end and return its output.

    Raises:
        ClusterError: it failed (unless it may) or took longer than `seconds`.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(  # noqa: S603 - the commands are this package's own
            words,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            env=plain_environment(),
            check=False,
        )
    except FileNotFoundError:
        raise ClusterError(f"there is no {words[0]} on this machine") from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{' '.join(words)}: not done within {seconds:g} s") from None
    if done.returncode and not may_fail:
        raise ClusterError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def wait_until(condition: Callable[[], object], *, seconds: float) -> bool:
    """Wait until a condition holds; False if it does not in time.

    It may raise an error to end the wait early.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
