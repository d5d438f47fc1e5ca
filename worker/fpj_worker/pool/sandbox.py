"""What a child process may reach: as good as nothing beside its images,
since a decoder may be taken over by one.

Three things hold it. It starts with a clean environment (`clean_environment`), from a fork server
that never had another. The supervisor's memory and environment are closed to processes of the same
user (`hide`). And the kernel confines it before it sees the first image (`confine`): Landlock for
files, TCP and signals, seccomp for the rest.

What the kernel lacks is reported, and is no reason to make no images, unless
``FPJ_SANDBOX=require`` asks for that. docs/design/process-pool.md and SECURITY.md say what holds
where.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fpj_core.errors import FpjError
from fpj_worker.pool import landlock, seccomp

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38  # prctl(2)

_KEPT = frozenset(
    {"PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD", "GLIBC_TUNABLES"}
)
_KEPT_PREFIXES = ("LC_", "PYTHON", "MALLOC_", "VIPS_", "OMP_", "FPJ_POOL_")
_LIBRARIES = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/usr/share/zoneinfo",
    "/etc/localtime",
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
_LOADER = ("/etc/ld.so.cache",)
_NETWORK_FILES = (
    (
        "/etc/resolv.conf",
        "/etc/hosts",
        "/etc/nsswitch.conf",
        "/etc/host.conf",
        "/etc/gai.conf",
        "/etc/services",
    )
    + (
        "/etc/ssl",
        "/etc/pki",
        "/etc/ca-certificates",
        "/usr/share/ca-certificates",
        "/usr/local/share/ca-certificates",
    )
    + ("/run/systemd/resolve",)
)


class SandboxError(FpjError):
    """The kernel cannot confine child processes, and ``FPJ_SANDBOX=require`` asks for it."""


class Mode(StrEnum):
    """``FPJ_SANDBOX``."""

    AUTO = "auto"
    """As far as the kernel can."""
    REQUIRE = "require"
    """All of it, or no images."""
    OFF = "off"


class Part(StrEnum):
    """What can be held separately."""

    FILES = "files"
    NETWORK = "network"
    SIGNALS = "signals"
    SYSCALLS = "syscalls"


@dataclass(frozen=True, slots=True)
class Reach:
    """What a child needs beside the interpreter and its libraries.

    ``read`` and ``write`` are paths with all that is below; what is not there when a child starts,
    it never gets. ``ports`` are those that TCP may connect to; without any there is no network.
    ``environment`` is added to the clean one.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    mode: Mode = Mode.AUTO
    scratch: str = ""
    """Where temporary files go; written by the pool."""


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Of the supervisor's variables, those that no secret can be in."""
    return {
        name: value
        for name, value in environment.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }


def hide() -> None:
    """Close this process's memory, environment and descriptors to others of the same user (/proc,
    ptrace).
    """
    _prctl(_PR_SET_DUMPABLE, 0)


def confine(reach: Reach) -> dict[Part, str]:
    """Confine this process forever. For a single-threaded process; others would keep what they can.

    Returns what is not held, and why. Raises `SandboxError` for any of it where all is required.
    """
    hide()
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    lacking = _confine_by_landlock(reach) | _confine_by_seccomp(reach)
    if lacking and reach.mode is Mode.REQUIRE:
        raise SandboxError("; ".join(f"{part.value}: {reason}" for part, reason in lacking.items()))
    return lacking


def _confine_by_landlock(reach: Reach) -> dict[Part, str]:
    try:
        read = (*_code(), *reach.read, *(_NETWORK_FILES if reach.ports else ()))
        held = landlock.restrict(read, (*reach.write, *filter(None, [reach.scratch])), reach.ports)
    except OSError as error:
        return dict.fromkeys((Part.FILES, Part.NETWORK, Part.SIGNALS), str(error))
    abi = landlock.version()
    reason = f"the kernel has version {abi} of Landlock" if abi else "the kernel has no Landlock"
    parts = {Part.FILES: held.files, Part.NETWORK: held.network, Part.SIGNALS: held.signals}
    return {part: reason for part, holds in parts.items() if not holds}


def _confine_by_seccomp(reach: Reach) -> dict[Part, str]:
    if not seccomp.available():
        return {Part.SYSCALLS: "this machine's system calls are not known"}
    try:
        seccomp.restrict(network=bool(reach.ports))
    except OSError as error:
        return {Part.SYSCALLS: str(error)}
    return {}


def _code() -> set[str]:
    """Where Python's modules and shared libraries are.

    The working folder is not among them, whatever sys.path says.
    """
    here = os.getcwd()
    paths = {
        path for path in sys.path if path and os.path.isabs(path) and os.path.realpath(path) != here
    }
    return {*paths, sys.prefix, sys.base_prefix, sys.exec_prefix, *_LIBRARIES, *_DEVICES, *_LOADER}


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"prctl: {os.strerror(number)}")
