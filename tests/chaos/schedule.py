"""Which faults a seed means, and when: a pure function, so that a seed replays."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

VERSION = 2
"""Of the schedule and of what is done: results of another one do not count."""
_GAP = (0.1, 1.3)
"""Seconds between the beginnings of two faults, whether the first is over or not."""
_REST = 0.06
"""Part of the faults that wait until all others are over, and for a pause."""
_PAUSE = (0.5, 2.5)
"""Seconds between the end of all faults and such a one."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault, and how long it lasts: seconds, from and to; (0,
    0) for what happens in a moment.
    """

    name: str
    what: str
    lasts: tuple[float, float] = (0.0, 0.0)
    holds: frozenset[str] = frozenset()
    """What no other fault may hold or need meanwhile."""
    needs: frozenset[str] = frozenset()
    weight: int = 2

    def bars(self, other: Kind) -> bool:
        """Whether the two may not happen at the same time."""
        return bool(self.holds & (other.holds | other.needs) or other.holds & self.needs)


@dataclass(frozen=True)
class Fault:
    """A fault of a schedule: when it begins and ends, in seconds from the start."""

    number: int
    kind: str
    begins: float
    ends: float
    chance: float
    """In [0, 1): which of several targets is hit."""


def _kind(
    name: str, what: str, lasts: tuple[float, float], holds: str, needs: str = "", weight: int = 2
) -> Kind:
    return Kind(name, what, lasts, frozenset(holds.split()), frozenset(needs.split()), weight)


_NOW = (0.0, 0.0)
CONNECTIONS = ("operator-store", "worker-store", "operator-api", "worker-api")
TOXICS = {
    "latency": "each answer comes 0.4 s later, give or take 0.2 s",
    "reset": "connections are reset after 0.1 s",
    "timeout": "nothing passes, and nothing is closed",
    "bandwidth": "8 KB/s",
}
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _kind("worker-kill", "SIGKILL of a worker pod's first process", _NOW, "", "api", 4),
        _kind("decoder-kill", "SIGKILL of a process that decodes", _NOW, "", "api", 3),
        _kind(
            "worker-stop", "SIGSTOP of all processes of a worker pod", (3, 20), "worker-stop", "", 3
        ),
        _kind("pod-delete", "a worker pod is deleted, with 30 s to end", _NOW, "", "api"),
        _kind("pod-delete-now", "a worker pod is deleted without grace", _NOW, "", "api"),
        _kind("pod-evict", "a worker pod is evicted", _NOW, "", "api"),
        _kind("leader-kill", "SIGKILL of the operator that leads", _NOW, "", "api", 3),
        _kind("leader-stop", "SIGSTOP of the operator that leads", (4, 18), "leader-stop"),
        _kind("standby-kill", "SIGKILL of the operator that waits", _NOW, "", "api"),
        _kind("operator-evict", "an operator is evicted", _NOW, "", "api"),
        _kind("store-kill", "SIGKILL of the store, started again later", (1, 8), "store", "", 3),
        _kind("store-stop", "SIGSTOP of the store", (1, 10), "store", "", 3),
        _kind(
            "apiserver-kill",
            "SIGKILL of the API server, started again later",
            (0.5, 4),
            "api component",
        ),
        _kind("apiserver-stop", "SIGSTOP of the API server", (1, 6), "api component"),
        _kind("kubelet-kill", "SIGKILL of the kubelet, started again later", (0.5, 5), "component"),
        _kind("kubelet-stop", "SIGSTOP of the kubelet", (1, 8), "component"),
        _kind(
            "manager-kill",
            "SIGKILL of the controller manager, started again later",
            (0.5, 5),
            "component",
            "api",
        ),
        _kind(
            "scheduler-kill",
            "SIGKILL of the scheduler, started again later",
            (0.5, 5),
            "component",
            "api",
        ),
        _kind("quota-pods", "a quota forbids pods", (2, 8), "quota", "api"),
        _kind("quota-jobs", "a quota forbids child Jobs", (2, 8), "quota", "api"),
        _kind("suspend", "the job is suspended, and resumed later", (1, 4), "job", "api"),
        _kind("resume", "the job is asked for another attempt", _NOW, "job", "api"),
        _kind("lease-delete", "the collection's Lease is deleted", _NOW, "", "api"),
        _kind("child-delete", "a child Job is deleted", _NOW, "", "api"),
        _kind("source-add", "two images are added to the source", _NOW, "", "api"),
        _kind("source-touch", "two images of the source get another content", _NOW, "", "api"),
        _kind("source-delete", "an image of the source is deleted", _NOW, "", "api"),
        _kind("cache-full", "the cache folder's disk is full", (2, 8), "cache"),
        _kind("cache-readonly", "the cache folder's disk is read-only", (2, 8), "cache"),
        *(
            _kind(
                f"{connection} {toxic}",
                f"{connection.replace('-', ' to ')}: {what}",
                (2, 8),
                connection,
            )
            for connection in CONNECTIONS
            for toxic, what in TOXICS.items()
        ),
    )
}


def schedule(
    seed: int, number: int, kinds: Collection[str] = tuple(KINDS), calm: float | None = None
) -> tuple[Fault, ...]:
    """``number`` faults, the first one after a second.

    With ``calm``, each begins so long after the one before ended.

    Of two that bar each other the later waits for the end of the earlier. Calm ones are of each
    kind equally often.
    """
    chance = random.Random(f"fpj {seed}")
    chosen = [KINDS[name] for name in KINDS if name in kinds]
    draw = _by_weight(chosen, chance) if calm is None else _in_turn(chosen, chance)
    made: list[Fault] = []
    for each in range(number):
        kind = next(draw)
        lasts = chance.uniform(*kind.lasts)
        begins = max(_start(made, chance, calm), _free(made, kind))
        made.append(
            Fault(
                each,
                kind.name,
                round(begins, 2),
                round(begins + lasts, 2),
                round(chance.random(), 4),
            )
        )
    return tuple(made)


def _by_weight(kinds: Sequence[Kind], chance: random.Random) -> Iterator[Kind]:
    weights = [kind.weight for kind in kinds]
    while True:
        yield from chance.choices(kinds, weights)


def _in_turn(kinds: Sequence[Kind], chance: random.Random) -> Iterator[Kind]:
    while True:
        yield from chance.sample(kinds, len(kinds))


def _start(made: Sequence[Fault], chance: random.Random, calm: float | None) -> float:
    """When the next one may begin, by what came before it; never before the last one began."""
    rests, pause, gap = chance.random() < _REST, chance.uniform(*_PAUSE), chance.uniform(*_GAP)
    if not made:
        return 1.0
    if calm is not None:
        return max(each.ends for each in made) + calm
    if rests:
        return max(each.ends for each in made) + pause
    return made[-1].begins + gap


def _free(made: Sequence[Fault], kind: Kind) -> float:
    return max((each.ends + 0.1 for each in made if KINDS[each.kind].bars(kind)), default=0.0)


def last_end(faults: Sequence[Fault]) -> float:
    """When all are over."""
    return max((fault.ends for fault in faults), default=0.0)
