"""A seccomp filter, assembled here: system calls that making images never needs are refused.

It refuses what is named and lets the rest pass, since libraries and kernels change which calls they
use for the same thing. What opens files is Landlock's to hold; this closes what Landlock leaves
open.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # classic BPF
# Offsets in struct seccomp_data, little end first.
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_SET_MODE_FILTER = 1
_ALL_THREADS, _KEEP_SPECULATION = 1, 4
_CLONE_THREAD = 0x10000
_X32 = 0x40000000

_REFUSED = {
    # name: (x86_64, aarch64); None where the architecture has no such call
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "kcmp": (312, 272), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "setpriority": (141, 140), "ioprio_set": (251, 30),
    "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442,
    442),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142), "acct": (163,
    89),
    "swapon": (167, 224), "swapoff": (168, 225), "quotactl": (179, 60), "syslog": (103, 116),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161), "setdomainname": (171, 162), "personality": (135, 92),
    "iopl": (172, None), "ioperm": (173, None),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143),
    "setresuid": (117, 147), "setresgid": (119, 149), "setfsuid": (122, 151), "setfsgid": (123,
    152),
    "setgroups": (116, 159), "capset": (126, 91),
    "shmget": (29, 194), "shmat": (30, 196), "msgget": (68, 186), "semget": (64, 190),
    "mq_open": (240, 180),
    "bind": (49, 200), "listen": (50, 201), "accept": (43, 202), "accept4": (288, 242),
}  # fmt: skip
_CLONE, _CLONE3 = (56, 220), (435, 435)
_TO_ITSELF = {"kill": (62, 129), "tgkill": (234, 131), "prlimit64": (302, 261)}
"""Allowed where the first argument is the process itself."""
_SOCKET, _SOCKETPAIR, _CONNECT = (41, 198), (53, 199), (42, 203)
_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
"""With a network: never AF_UNIX, on which the fork server listens.

Netlink is how names are resolved.
"""

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class _Machine:
    column: int
    audit: int
    seccomp: int


_MACHINES = {"x86_64": _Machine(0, 0xC000003E, 317), "aarch64": _Machine(1, 0xC00000B7, 277)}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def available() -> bool:
    """Whether this machine's system calls are known here."""
    return platform.machine() in _MACHINES


def restrict(*, network: bool) -> None:
    """Refuse, in all threads of this process and forever.

    Needs ``no_new_privs``. Raises OSError.
    """
    machine = _MACHINES[platform.machine()]
    code = program(machine.column, machine.audit, os.getpid(), network=network)
    packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
    given = _Program(len(code), packed)
    flags = _ALL_THREADS | _KEEP_SPECULATION
    if _libc.syscall(machine.seccomp, _SET_MODE_FILTER, flags, ctypes.byref(given)):
        number = ctypes.get_errno() or errno.EBUSY
        raise OSError(number, f"seccomp: {os.strerror(number)}")


Instruction = tuple[int, int, int, int]
"""Operation, how far to jump if it holds and if not, operand."""


def program(column: int, audit: int, own: int, *, network: bool) -> list[Instruction]:
    """The filter for one architecture and the process ``own``. Pure."""
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, audit),
        _refuse(errno.EPERM),  # another architecture's numbers, such as those of 32-bit programs
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        _refuse(errno.EPERM),
    ]
    for numbers in _REFUSED.values():
        code += _call(numbers[column], [_refuse(errno.EPERM)])
    # Libraries then take clone, whose flags can be seen.
    code += _call(_CLONE3[column], [_refuse(errno.ENOSYS)])
    code += _call(_CLONE[column], _only(_FIRST, _ANY_BIT, (_CLONE_THREAD,)))
    for number in _TO_ITSELF.values():
        itself = (own, 0) if number is _TO_ITSELF["prlimit64"] else (own,)
        code += _call(number[column], _only(_FIRST, _EQUAL, itself))
    code += _call(
        _SOCKET[column], _only(_FIRST, _EQUAL, _FAMILIES if network else (), errno.EACCES)
    )
    code += _call(_SOCKETPAIR[column], [_refuse(errno.EACCES)])
    if not network:
        code += _call(_CONNECT[column], [_refuse(errno.EACCES)])
    return [*code, (_RETURN, 0, 0, _ALLOW)]


def _call(number: int | None, then: Sequence[Instruction]) -> list[Instruction]:
    """``then`` for that call; it must return."""
    return [] if number is None else [(_EQUAL, 0, len(then), number), *then]


def _only(
    argument: int, test: int, values: Iterable[int], error: int = errno.EPERM
) -> list[Instruction]:
    """Allowed if the argument passes the test with one of the values."""
    checks = [each for value in values for each in ((test, 0, 1, value), (_RETURN, 0, 0, _ALLOW))]
    return [(_LOAD, 0, 0, argument), *checks, _refuse(error)]


def _refuse(error: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | error)
