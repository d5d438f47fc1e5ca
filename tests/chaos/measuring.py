"""How long fpj took to recover from each fault, from what was seen meanwhile."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence

from experiments.journal import Journal

from chaos import samples
from chaos.injecting import Active
from chaos.results import Result
from chaos.samples import Samples

_LOOK = 0.5
"""Seconds between two looks whether all has recovered."""
_STEADY = 3.0
"""Seconds without a fault after all is seen to have recovered, before the next one."""
_NOT_AWAITED = frozenset({"taken over"})
"""A pod that starts again may go on with its shard itself."""


def recovering(
    watched: Samples, journal: Journal, clock: Callable[[], float] = time.monotonic
) -> Callable[[Sequence[Active]], bool]:
    """Says whether all that is measured of the last fault has come,
    and a few seconds have passed since.
    """
    whole: dict[int, float] = {}
    next_look = 0.0

    def recovered(over: Sequence[Active]) -> bool:
        nonlocal next_look
        last, now = over[-1], clock()
        if last.fault.number not in whole and now >= next_look:
            next_look = now + _LOOK
            missing = {name for name, _, at in _recoveries(last, watched, journal) if at is None}
            if missing <= _NOT_AWAITED:
                whole[last.fault.number] = now
        return now >= whole.get(last.fault.number, now) + _STEADY

    return recovered


def measure(over: Sequence[Active], watched: Samples, journal: Journal, result: Result) -> None:
    """Add the seconds of each fault to the result: of what came before the next fault."""
    for each, following in itertools.zip_longest(over, over[1:]):
        for name, seconds, at in _recoveries(each, watched, journal):
            if at is not None and (following is None or at <= following.started):
                result.recovery.setdefault(each.fault.kind, {}).setdefault(name, []).append(
                    round(seconds, 2)
                )


def _recoveries(
    each: Active, watched: Samples, journal: Journal
) -> Iterator[tuple[str, float, float | None]]:
    """What is measured, its seconds, and when it was over: None where it has not come."""
    for name, since, seconds in _measures(each, watched, journal):
        yield (name, 0.0, None) if seconds is None else (name, seconds, since + seconds)


def _measures(
    each: Active, watched: Samples, journal: Journal
) -> Iterator[tuple[str, float, float | None]]:
    """What is measured, since when, and how many seconds it took."""
    kind = each.fault.kind
    yield "images again", each.healed, samples.files_again(watched.files, each.healed)
    if kind.startswith(("worker-kill", "worker-stop", "decoder-", "pod-")):
        moved, taken = samples.shard_again(watched.shards, each.victim, each.started)
        yield "its shard moves", each.started, moved
        yield "taken over", each.started, taken
    if kind.startswith("leader-"):
        yield "another leads", each.started, samples.another_leader(watched.leaders, each.started)
    if kind == "lease-delete":
        lease_lost = [
            seen.at - each.started
            for name in journal.names
            for seen in journal.of(name, each.started)
            if seen.condition("Progressing")[1] == "LeaseLost"
        ]
        yield "LeaseLost reported", each.started, min(lease_lost, default=None)
