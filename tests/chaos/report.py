"""Writes what runs have shown into docs/resilience.md, between two marks; the rest of the page is written by hand."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from chaos.schedule import KINDS

Document = Mapping[str, Any]

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


def write_report(results: Path, page: Path) -> None:
    """Put the results' tables into the page."""
    documents = [json.loads(line) for line in results.read_text().splitlines()]
    text = page.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n\n{tables(documents)}\n{END}{after}")


def tables(results: Sequence[Document]) -> str:
    """Markdown."""
    return "\n".join([*_verdicts(results), "", *_kinds(results), "", *_times(results), ""])


def _verdicts(results: Sequence[Document]) -> Iterator[str]:
    clean = sum(not each["violations"] for each in results)
    injected = sum(sum(each["injected"].values()) for each in results)
    missed = sum(sum(each["missed"].values()) for each in results)
    made = sum(job["progress"]["total"] or 0 for each in results for job in each["jobs"])
    yield (
        f"**{clean} of {len(results)} seeds were clean**: {injected:,} faults in "
        f"{sum(each['seconds'] for each in results) / 60:.0f} minutes; {made:,} images counted, in "
        f"{sum(len(each['jobs']) for each in results)} jobs. {missed} faults found nothing to hit."
    )
    yield ""
    yield "| Runs | Revision | Seeds | Faults of each | Apart | Clean | Attempts, most | Recoveries, most |"
    yield "|---|---|---|---|---|---|---|---|"
    groups: dict[tuple[Any, ...], list[Document]] = {}
    for each in results:
        order = each["order"]
        groups.setdefault((order["calm"] is not None, order["faults"], each["revision"]), []).append(each)
    for (calm, faults, revision), found in sorted(groups.items(), key=str):
        yield (
            f"| {'one at a time' if calm else 'dense'} | {revision} "
            f"| {_ranges(each['order']['seed'] for each in found)} | {faults} "
            f"| {_apart(found)} | {sum(not each['violations'] for each in found)} of {len(found)} "
            f"| {_most(found, 'attempts')} | {_most(found, 'recoveries')} |"
        )


def _apart(found: Sequence[Document]) -> str:
    calm = found[0]["order"]["calm"]
    return f"{calm:g} s" if calm is not None else "0.2 to 1.5 s, or overlapping"


def _most(found: Sequence[Document], name: str) -> int:
    return max((job[name] or 0 for each in found for job in each["jobs"]), default=0)


def _ranges(seeds: Iterable[int]) -> str:
    """``1-3, 7``."""
    runs: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if runs and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)


def _kinds(results: Sequence[Document]) -> Iterator[str]:
    """What was injected, how often, and how long it took to recover."""
    times: dict[str, dict[str, list[float]]] = {}
    for each in results:
        for kind, measures in each["recovery"].items():
            for name, seconds in measures.items():
                times.setdefault(kind, {}).setdefault(name, []).extend(seconds)
    injected = Counter[str]()
    for each in results:
        injected.update(each["injected"])
    yield "| Fault | Injected | Measured | n | Median, s | Worst, s | First run |"
    yield "|---|---|---|---|---|---|---|"
    for kind in KINDS.values():
        first = f"| {kind.what} | {injected[kind.name]} "
        for name, seconds in sorted(times.get(kind.name, {"": []}).items()):
            measured = f"| {name} | {_middle(seconds)} | {_baseline(kind.name, name)} |"
            yield first + (measured if seconds else "| | | | | |")
            first = "| | "


def _baseline(kind: str, measure: str) -> str:
    found = FIRST_RUN.get((kind, measure))
    return f"{found[0]:.1f} / {found[1]:.1f}" if found else ""


def _middle(seconds: Sequence[float]) -> str:
    if not seconds:
        return ""
    return f"{len(seconds)} | {median(seconds):.1f} | {max(seconds):.1f}"


def _times(results: Sequence[Document]) -> Iterator[str]:
    """What belongs to no single fault."""
    delays = [delay for each in results for delay in each["status_delays"]]
    gone: dict[str, list[float]] = {}
    for each in results:
        for what, seconds in each["deletion"].items():
            gone.setdefault(what, []).append(seconds)
    yield "| Measured | n | Median, s | 99 % at most, s | Worst, s |"
    yield "|---|---|---|---|---|"
    if delays:
        what = "Status delay: from the record in the store to the status that says so; all runs, outages included"
        yield f"| {what} {_spread(delays)}"
    for what, seconds in gone.items():
        yield f"| Deletion: until {what} {'is' if what == 'the namespace' else 'are'} gone {_spread(seconds)}"


def _spread(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    high = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"| {len(ordered)} | {median(ordered):.1f} | {high:.1f} | {ordered[-1]:.1f} |"
