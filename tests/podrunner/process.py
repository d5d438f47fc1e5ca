"""A container's processes: one command in a session of its own, and whatever it starts,
which ends with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_TERMINATION_BYTES = 2_048


class ContainerProcess:
    """A running command. Its output goes to a file."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        self._log = folder / "log"
        self._message = folder / "termination-log"
        self._message.touch()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env=dict(environment) | {"FPJ_TERMINATION_LOG": str(self._message)},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def code(self) -> int | None:
        """The exit code, 128 and more where a signal ended it; None while it runs."""
        code = self._process.poll()
        return 128 - code if code is not None and code < 0 else code

    @property
    def log(self) -> str:
        """All its output."""
        return self._log.read_text(errors="replace")

    @property
    def message(self) -> str:
        """What it wrote to its termination log."""
        return self._message.read_text(errors="replace")[:4_096]

    @property
    def tail(self) -> str:
        """The end of its output, where it left no message and failed."""
        return self.log[-_TERMINATION_BYTES:]

    def signal(self, number: int) -> None:
        """Send a signal to the command alone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def signal_all(self, number: int) -> None:
        """Send a signal to the command and to all that it started."""
        for pid in self._session():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def end_rest(self) -> None:
        """When a container's first process ends, the kernel ends the others."""
        deadline = time.monotonic() + 10
        while self._session() and time.monotonic() < deadline:
            self.signal_all(signal.SIGKILL)
            time.sleep(0.01)

    def wait(self, seconds: float) -> bool:
        """Whether it ended within that time."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _session(self) -> list[int]:
        """Every process of the session that is alive; the session's id is the command's pid."""
        own = self._process.pid
        others = [
            int(entry) for entry in os.listdir("/proc") if entry.isdecimal() and entry != str(own)
        ]
        found = [pid for pid in others if _session_of(pid) == own]
        return found + ([own] if self._process.poll() is None else [])


def _session_of(pid: int) -> int:
    """The session of a process, 0 where it is none or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    state, *fields = text[text.rindex(")") + 2 :].split()
    return 0 if state in "ZX" else int(fields[2])
