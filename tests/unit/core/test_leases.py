"""Who holds a lease, and whether he still lives."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from fpj_core.kube.names import lease_name
from fpj_core.leases import is_dead, local_holder, local_holder_pid

JOB = "0b5e6c62-7d1c-4d52-9a55-3f6a4d2f3f6e"


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process under an awkward name, which proc_pid_stat(5) shows in parentheses."""
    script = "open('/proc/self/comm', 'w').write('a) R 1 (b'); print(flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout and process.stdin
    process.stdout.readline()
    yield process
    process.kill()
    process.wait(10)
    process.stdin.close()
    process.stdout.close()


def test_lease_names_are_kubernetes_names() -> None:
    names = [lease_name(collection) for collection in ("a", "b", "Ünïcode/..", "x" * 10_000, "")]
    assert len(set(names)) == 5
    assert all(re.fullmatch(r"cache-gen-[0-9a-f]{20}", name) for name in names)
    assert lease_name("holiday") == lease_name("holiday") == "cache-gen-bba6753bc4b6d1c595e6", (
        "the same forever"
    )


def test_this_process_lives() -> None:
    holder = local_holder(JOB)
    assert holder.startswith(f"{JOB} local ")
    assert local_holder_pid(holder) == os.getpid()
    assert not is_dead(holder)
    assert local_holder(JOB) == holder, "stable: it is also how a run renews its own lease"


def test_a_process_that_ended_is_dead(process: subprocess.Popen[bytes]) -> None:
    holder = local_holder(JOB, process.pid)
    assert local_holder_pid(holder) == process.pid
    assert not is_dead(holder)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(holder), "a zombie works no more"
    process.wait(10)
    assert is_dead(holder)


def test_another_process_of_the_same_number_is_another(process: subprocess.Popen[bytes]) -> None:
    *rest, started = local_holder(JOB, process.pid).split(" ")
    assert int(started) > 0
    assert is_dead(" ".join([*rest, str(int(started) - 1)]))


def test_of_other_machines_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    job, kind, machine, _, started = local_holder(JOB).split(" ")
    # Above the highest process id there can be.
    gone = f"{job} {kind} {machine} {2**22 + 1} {started}"
    assert is_dead(gone)
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    assert not is_dead(gone)


def test_another_boot_is_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processes are gone, but a shared store may be used by machines that are named alike:
    the lease expires.
    """
    gone = local_holder(JOB).replace("/", "/0000", 1)
    assert local_holder_pid(gone) is None, (
        "a process of that number here is another one: it must not be stopped"
    )
    assert not is_dead(gone)


def test_of_other_process_ids_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may have the host's name and boot: its live processes are unknown here,
    not dead.
    """
    real = os.readlink
    monkeypatch.setattr(
        os, "readlink", lambda path: "pid:[7]" if path == "/proc/self/ns/pid" else real(path)
    )
    there = local_holder(JOB, 2**22 + 1).removesuffix("0") + "1"
    assert is_dead(there)
    monkeypatch.undo()
    assert not is_dead(there)
    assert local_holder_pid(there) is None


@pytest.mark.parametrize(
    "holder",
    ["", JOB, "local", f"{JOB} pod worker-1 7 9", f"{JOB} local m x 9", f"{JOB} local m 7"],
)
def test_other_kinds_of_holders_have_no_process(holder: str) -> None:
    assert local_holder_pid(holder) is None
    assert not is_dead(holder)
