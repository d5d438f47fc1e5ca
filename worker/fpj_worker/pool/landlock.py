"""Landlock through its three system calls: what a process may open, where it may connect,
whom it may signal.

See landlock(7). What a kernel does not know is left out and reported, never guessed.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION = 1
_RULE_PATH_BENEATH, _RULE_NET_PORT = 1, 2

_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 5, 1 << 7, 1 << 8
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_CONNECT_TCP = 1 << 1

_READ = _READ_FILE | _READ_DIR
_WRITE = _READ | _WRITE_FILE | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE
_OF_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE
"""What a rule on anything but a folder may name."""

_FS_RIGHTS = ((1, 13), (2, 14), (3, 15), (5, 16))
"""(ABI, how many rights to files it knows)."""
_REFER_ABI, _NET_ABI, _SCOPE_ABI = 2, 4, 6
_ALL_NET = _ALL_SCOPES = 0b11

_libc = ctypes.CDLL(None, use_errno=True)


class _RulesetAttr(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _NetPort(ctypes.Structure):
    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


@dataclass(frozen=True, slots=True)
class Enforced:
    """Which parts the kernel holds from now on."""

    files: bool = False
    network: bool = False
    signals: bool = False


def version() -> int:
    """The kernel's Landlock ABI; 0 where there is none, or where it is switched off."""
    return max(int(_libc.syscall(_CREATE_RULESET, None, 0, _VERSION)), 0)


def restrict(read: Iterable[str], write: Iterable[str], ports: Iterable[int]) -> Enforced:
    """Confine the calling thread, and every thread and process that it will start, forever.

    Only what lies at or below ``read`` and ``write`` can be opened, nothing can be executed, TCP
    connects to ``ports`` alone, and no process outside gets a signal. Paths that do not exist are
    skipped. Raises OSError.
    """
    abi = version()
    # The first one allows no renaming from one folder to another, which every output needs.
    if abi < _REFER_ABI:
        return Enforced()
    rights = (1 << max(count for since, count in _FS_RIGHTS if since <= abi)) - 1
    network, signals = abi >= _NET_ABI, abi >= _SCOPE_ABI
    attr = _RulesetAttr(rights, _ALL_NET if network else 0, _ALL_SCOPES if signals else 0)
    ruleset = _checked(_libc.syscall(_CREATE_RULESET, ctypes.byref(attr), ctypes.sizeof(attr), 0))
    try:
        for paths, allowed in ((read, _READ), (write, _WRITE)):
            for path in paths:
                _allow(ruleset, path, allowed & rights)
        for port in ports if network else ():
            _add(ruleset, _RULE_NET_PORT, _NetPort(_CONNECT_TCP, port))
        _checked(_libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return Enforced(True, network, signals)


def _allow(ruleset: int, path: str, allowed: int) -> None:
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            folder = stat.S_ISDIR(os.fstat(parent).st_mode)
            _add(
                ruleset,
                _RULE_PATH_BENEATH,
                _PathBeneath(allowed if folder else allowed & _OF_FILES, parent),
            )
        finally:
            os.close(parent)


def _add(ruleset: int, kind: int, rule: ctypes.Structure) -> None:
    _checked(_libc.syscall(_ADD_RULE, ruleset, kind, ctypes.byref(rule), 0))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
    return int(result)
