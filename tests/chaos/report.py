"""Puts what runs have shown into docs/resilience.md, between two marks.

The rest of the page is written by hand.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Any

from chaos.results import Result
from chaos.schedule import KINDS

FIRST_RUN: dict[tuple[str, str], tuple[float, float]] = {
    ("worker-kill", "its shard moves"): (17.0, 17.3),
    ("decoder-kill", "its shard moves"): (1.2, 1.8),
    ("worker-stop", "its shard moves"): (17.0, 17.2),
    ("pod-delete", "its shard moves"): (16.8, 21.5),
    ("pod-delete-now", "its shard moves"): (21.5, 21.5),
    ("pod-evict", "its shard moves"): (41.2, 41.2),
    ("leader-kill", "another leads"): (15.1, 16.6),
    ("store-kill", "images again"): (10.3, 13.5),
    ("store-stop", "images again"): (0.6, 5.6),
    ("apiserver-kill", "images again"): (0.6, 89.3),
    ("kubelet-kill", "images again"): (2.2, 4.1),
    ("manager-kill", "images again"): (2.2, 3.9),
    ("suspend", "images again"): (5.4, 6.1),
    ("lease-delete", "LeaseLost reported"): (6.4, 8.6),
    ("quota-pods", "images again"): (7.3, 9.3),
    ("quota-jobs", "images again"): (11.9, 20.2),
    ("cache-full", "images again"): (0.4, 0.4),
    ("cache-readonly", "images again"): (10.0, 11.4),
}
"""Median and worst seconds of a first run by hand, of revision 674ef56: the baseline."""

BEGIN = "<!-- results -->"
END = "<!-- end of results -->"


def with_results(page: str, results: Sequence[Result]) -> str:
    """The page with these results in the place of others."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{tables(results)}\n{END}{after}"


def tables(results: Sequence[Result]) -> str:
    """Markdown."""
    if not results:
        return "No seed of the present schedule has run yet.\n"
    parts = [_verdict(results), _runs(results), _wrong(results), _kinds(results), _times(results)]
    return "\n".join(
        itertools.chain.from_iterable([*part, ""] for part in map(list, parts) if part)
    )


def _verdict(results: Sequence[Result]) -> Iterator[str]:
    latest = {each.order.key: each for each in results}
    clean = sum(each.clean for each in latest.values())
    injected = sum(each.injected.total() for each in results)
    missed = sum(sum(each.missed.values()) for each in results)
    all_clean = sum(each.clean for each in results)
    yield (
        f"**{clean} of {len(latest)} seeds were clean** when they ran last; {all_clean} of all"
        f" {len(results)} runs: {injected:,} faults in"
        f" {sum(each.seconds for each in results) / 60:.0f} minutes,"
        f" {sum(job.images for each in results for job in each.jobs):,} images counted, in"
        f" {sum(len(each.jobs) for each in results):,} jobs. {missed} faults found nothing to hit."
    )


def _runs(results: Sequence[Result]) -> Iterator[str]:
    yield (
        "| Runs | Revision | Seeds | Faults of each | Median, s | Clean | Attempts, most |"
        " Recoveries, most |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for each in results:
        groups.setdefault(
            (each.order.calm is not None, each.order.faults, each.revision), []
        ).append(each)
    for (calm, faults, revision), found in groups.items():
        jobs = [job for each in found for job in each.jobs]
        yield (
            f"| {'one at a time' if calm else 'dense'} | {revision} |"
            f" {_ranges(each.order.seed for each in found)} | {faults} |"
            f" {median(each.seconds for each in found):.0f} | {sum(each.clean for each in found)}"
            f" of {len(found)} | {max((job.attempts for job in jobs), default=0)} |"
            f" {max((job.recoveries for job in jobs), default=0)} |"
        )


def _wrong(results: Sequence[Result]) -> Iterator[str]:
    """Each run that was not clean, and whether the same seed was later."""
    wrong = [each for each in results if not each.clean]
    if not wrong:
        return
    yield "| Not clean: seed | Faults | Revision | What was wrong | Since |"
    yield "|---|---|---|---|---|"
    for each in wrong:
        later = [
            other.revision for other in results if other.clean and other.order.key == each.order.key
        ]
        said = each.violations[0].replace("|", "\\|")
        more = f" (and {len(each.violations) - 1} more)" if len(each.violations) > 1 else ""
        since = f"clean with {later[-1]}" if later else "not run again"
        yield (
            f"| {each.order.seed} | {each.order.faults} | {each.revision} | {said}{more} |"
            f" {since} |"
        )


def _ranges(seeds: Iterable[int]) -> str:
    """``1-3, 7``."""
    runs: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if runs and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)


def _kinds(results: Sequence[Result]) -> Iterator[str]:
    """What was injected, how often, and how long it took to recover."""
    times: dict[str, dict[str, list[float]]] = {}
    for each in results:
        for kind, measures in each.recovery.items():
            for name, seconds in measures.items():
                times.setdefault(kind, {}).setdefault(name, []).extend(seconds)
    injected = sum((each.injected for each in results), Counter[str]())
    yield "| Fault | Injected | Measured | n | Median, s | Worst, s | First run |"
    yield "|---|---|---|---|---|---|---|"
    for fault in KINDS.values():
        first = f"| {fault.what} | {injected[fault.name]} "
        for name, seconds in sorted(times.get(fault.name, {"": []}).items()):
            measured = f"| {name} | {_middle(seconds)} | {_baseline(fault.name, name)} |"
            yield first + (measured if seconds else "| | | | | |")
            first = "| | "


def _baseline(kind: str, measure: str) -> str:
    found = FIRST_RUN.get((kind, measure))
    return f"{found[0]:.1f} / {found[1]:.1f}" if found else ""


def _middle(seconds: Sequence[float]) -> str:
    if not seconds:
        return ""
    return f"{len(seconds)} | {median(seconds):.1f} | {max(seconds):.1f}"


def _times(results: Sequence[Result]) -> Iterator[str]:
    """What belongs to no single fault."""
    yield "| Measured | n | Median, s | 99 % at most, s | Worst, s |"
    yield "|---|---|---|---|---|"
    if delays := [delay for each in results for delay in each.status_delays]:
        what = (
            "Status delay: from the record in the store to the status that says so; all runs,"
            " outages included"
        )
        yield f"| {what} {_spread(delays)}"
    for calm, when in ((True, ""), (False, ", while the next seed's faults came")):
        gone: dict[str, list[float]] = {}
        for each in results:
            if calm == (each.order.calm is not None):
                for what, seconds in each.deletion.items():
                    gone.setdefault(what, []).append(seconds)
        for what, all_seconds in gone.items():
            are = "is" if what == "the namespace" else "are"
            yield f"| Deletion{when}: until {what} {are} gone {_spread(all_seconds)}"


def _spread(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    high = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"| {len(ordered)} | {median(ordered):.1f} | {high:.1f} | {ordered[-1]:.1f} |"
