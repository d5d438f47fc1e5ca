"""Names and holders of leases.

In a cluster the holder is the resource's uid. On one machine the holder also names the process, so
that a run that was killed does not keep its collection locked until the lease expires.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from fpj_core.kube.names import lease_name
from fpj_core.store.protocol import Store

_LOCAL = "local"


def local_holder(job_id: str, pid: int | None = None) -> str:
    """``<job id> local <machine> <pid> <start time>``:
    the start time tells a process from a later one of that pid.
    """
    pid = os.getpid() if pid is None else pid
    return f"{job_id} {_LOCAL} {_machine()} {pid} {_start_time(pid) or 0}"


def local_holder_pid(holder: str) -> int | None:
    """The process id of a holder on this machine.

    None for any other: there, the number names another process.
    """
    parts = holder.split(" ")
    ours = len(parts) == 5 and parts[1] == _LOCAL and parts[2] == _machine()
    return int(parts[3]) if ours and parts[3].isdecimal() else None


def is_dead(holder: str) -> bool:
    """Whether the holder is a process of this machine that has ended.

    False where one cannot know.
    """
    pid = local_holder_pid(holder)
    if pid is None:
        return False
    return str(_start_time(pid) or 0) != holder.rpartition(" ")[2]


def is_locked(store: Store, collection: str) -> bool:
    """Whether somebody holds the collection's lock. Raises `StoreError`."""
    lease = store.lease(lease_name(collection))
    return lease is not None and lease.expires_at > store.now() and not is_dead(lease.holder)


def _machine() -> str:
    """This boot of this host, and its process ids: containers may share the host's name,
    but not those.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = "unknown-boot"
    try:
        processes = os.readlink("/proc/self/ns/pid")
    except OSError:
        processes = "unknown-pids"
    return f"{socket.gethostname()}/{boot}/{processes}"


def _start_time(pid: int) -> int | None:
    """Clock ticks from boot to the process's start (field 22 of proc_pid_stat(5)).

    None if it has ended.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command name in parentheses may itself hold spaces and parentheses: count from the last
    # one.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])
