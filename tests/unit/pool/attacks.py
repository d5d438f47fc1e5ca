"""What a decoder that was taken over would try.

Each attempt returns, or raises an OSError when it is refused.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fpj_worker.pool import seccomp

_libc = ctypes.CDLL(None, use_errno=True)

_REFUSALS = {errno.ENOSYS, errno.EXDEV}
"""The second is Landlock's for links across what it allows."""

ALLOWED = (
    "read the source",
    "write into the own folder",
    "rename in the own folder",
    "temporary file",
    "thread",
)
"""What must go on working."""


def factory() -> Callable[[Any, Callable[[int], None]], Any]:
    return _handle


def _handle(task: Any, _admit: Any) -> Any:
    if "echo" in task:
        return task["echo"]
    return {
        name: attempt(what)
        for name, what in attempts(Path(task["place"]), task["parent"], task["port"]).items()
    }


def attempt(what: Callable[[], object]) -> str:
    try:
        what()
    except OSError as error:
        return (
            "refused"
            if isinstance(error, PermissionError) or error.errno in _REFUSALS
            else repr(error)
        )
    return "done"


def call(name: str, *arguments: Any) -> None:
    column = seccomp._MACHINES[os.uname().machine].column
    number = (seccomp._REFUSED | seccomp._TO_ITSELF)[name][column]
    if number is None:
        raise PermissionError(f"no {name} here")
    if _libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


def connect(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


def make_socket(family: int, kind: int) -> None:
    socket.socket(family, kind).close()


def write(path: Path) -> None:
    with open(path, "wb") as stream:
        stream.write(b"x")


def rename(folder: Path) -> None:
    write(folder / "old")
    (folder / "below").mkdir(exist_ok=True)
    os.rename(folder / "old", folder / "below" / "new")


def temporary() -> None:
    with tempfile.TemporaryFile() as stream:
        stream.write(b"x")
        stream.flush()
        assert Path(f"/proc/self/fd/{stream.fileno()}").read_bytes() == b"x"


def thread() -> None:
    done = threading.Event()
    started = threading.Thread(target=done.set)
    started.start()
    started.join(10)
    assert done.is_set()


def refuse_empty(value: object) -> None:
    if not value:
        raise PermissionError("nothing there")


def attempts(place: Path, parent: int, port: int) -> dict[str, Callable[[], object]]:
    own, other = place / "cache" / "own", place / "cache" / "other"
    number = ctypes.c_int(0)
    return {
        "read the source": (place / "source" / "a.jpg").read_bytes,
        "write into the own folder": lambda: write(own / "a.jpg"),
        "rename in the own folder": lambda: rename(own),
        "temporary file": temporary,
        "thread": thread,
        "find the store's address": lambda: refuse_empty(os.environ.get("FPJ_STORE")),
        "find keys": lambda: refuse_empty(
            [name for name in os.environ if name.startswith(("AWS", "KUBE"))]
        ),
        "parent's environment": lambda: Path(f"/proc/{parent}/environ").read_bytes(),
        "parent's memory": lambda: open(f"/proc/{parent}/mem", "rb").close(),
        "own environment": lambda: Path("/proc/self/environ").read_bytes(),
        "list processes": lambda: os.listdir("/proc"),
        "a token": (place / "elsewhere" / "token").read_bytes,
        "service account": lambda: os.listdir("/var/run"),
        "users": lambda: Path("/etc/passwd").read_bytes(),
        "others' outputs": (other / "b.jpg").read_bytes,
        "list the cache folder": lambda: os.listdir(place / "cache"),
        "overwrite others' outputs": lambda: write(other / "b.jpg"),
        "write beside": lambda: write(place / "cache" / "new"),
        "write elsewhere": lambda: write(place / "elsewhere" / "new"),
        "write to /tmp": lambda: write(Path("/tmp/fpj-was-here")),
        "write into the source": lambda: write(place / "source" / "a.jpg"),
        "remove from the source": (place / "source" / "a.jpg").unlink,
        "link out of the own folder": lambda: os.symlink("/etc/passwd", own / "link"),
        "hard link": lambda: os.link(other / "b.jpg", own / "link"),
        "change modes": lambda: os.chmod(place / "source" / "a.jpg", 0o777),
        "change owners": lambda: os.chown(place / "source" / "a.jpg", 1, 1),
        "run a program": lambda: os.execv("/bin/true", ["true"]),
        "fork": os.fork,
        "shell": lambda: os.posix_spawn("/bin/sh", ["sh"], {}),
        "connect to loopback": lambda: connect(port),
        "an IPv6 socket": lambda: make_socket(socket.AF_INET6, socket.SOCK_STREAM),
        "a UDP socket": lambda: make_socket(socket.AF_INET, socket.SOCK_DGRAM),
        "a Unix socket": lambda: make_socket(socket.AF_UNIX, socket.SOCK_STREAM),
        "a raw socket": lambda: make_socket(socket.AF_PACKET, socket.SOCK_RAW),
        "a netlink socket": lambda: make_socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "socket pair": socket.socketpair,
        "kill the parent": lambda: os.kill(parent, signal.SIGTERM),
        "stop everybody": lambda: os.kill(-1, signal.SIGSTOP),
        "trace the parent": lambda: call("ptrace", 16, parent, 0, 0),
        "read the parent's memory": lambda: call("process_vm_readv", parent, 0, 0, 0, 0, 0),
        "get the parent's descriptors": lambda: call("pidfd_open", parent, 0),
        "limit the parent": lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE, (3, 3)),
        "queue a signal": lambda: call("rt_sigqueueinfo", parent, 15, ctypes.byref(number)),
        "unshare": lambda: call("unshare", 0x10000000),
        "mount": lambda: call("mount", 0, 0, 0, 0, 0),
        "bpf": lambda: call("bpf", 0, 0, 0),
        "io_uring": lambda: call("io_uring_setup", 1, 0),
        "keyring": lambda: call("keyctl", 0, 0),
        "perf": lambda: call("perf_event_open", 0, 0, -1, -1, 0),
        "open by handle": lambda: call("open_by_handle_at", 0, 0, 0),
    }
