"""The table of planted bugs: how soon each is found, for the docs. A hunt that was stopped, or too short, goes on."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

from simulation.planted import BUGS, ROOT, Bug, Found, hunt

_PAGE = ROOT / "docs" / "development" / "simulation.md"
_KNOWN = ROOT / "out" / "planted.json"
_BEGIN, _END = "<!-- planted: begin -->", "<!-- planted: end -->"


def run(words: list[str], minutes: float, cores: int, *, write: bool) -> int:
    """Hunt all whose names contain the words, or all; the exit code says whether every one was found.

    Each for so many minutes of a core, those of earlier hunts included.
    """
    wanted = [bug for bug in BUGS if not words or any(word in bug.name for word in words)]
    known = _known()
    left = [bug for bug in wanted if not (bug.name in known and known[bug.name].said)]
    with ThreadPoolExecutor(cores) as pool:
        for found in pool.map(lambda bug: _hunted(bug, minutes, known.get(bug.name)), left):
            known[found.bug.name] = found
            _KNOWN.parent.mkdir(exist_ok=True)
            _KNOWN.write_text(json.dumps({name: asdict(each) for name, each in known.items()}), encoding="utf-8")
    found = [known[bug.name] for bug in wanted]
    missed = [each.bug.name for each in found if not each.said]
    print(f"{len(found) - len(missed)} of {len(found)} found; not found: {'; '.join(missed) or 'none'}")
    if write:
        _write(_PAGE, [known[bug.name] for bug in BUGS if bug.name in known])
    return 1 if missed else 0


def _known() -> dict[str, Found]:
    """What earlier hunts came to, of bugs that are as they were."""
    kept = json.loads(_KNOWN.read_text(encoding="utf-8")) if _KNOWN.exists() else {}
    bugs = {bug.name: bug for bug in BUGS}
    return {
        name: Found(bugs[name], each["schedules"], each["seconds"], each["said"], each["seed"])
        for name, each in kept.items()
        if name in bugs and asdict(bugs[name]) == each["bug"]
    }


def _hunted(bug: Bug, minutes: float, before: Found | None) -> Found:
    tried, spent = (before.schedules, before.seconds) if before else (0, 0.0)
    left = minutes - spent / 60
    if left <= 0 and before:
        return before
    found = hunt(bug, left, first=tried)
    found = replace(found, schedules=found.schedules + tried, seconds=found.seconds + spent)
    print(f"{bug.name}: {found.schedules} schedules, {found.seconds:.0f} s: {found.said or 'NOT FOUND'}", flush=True)
    return found


def _write(page: Path, found: list[Found]) -> None:
    text = page.read_text(encoding="utf-8")
    head, _, rest = text.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    rows = "\n".join(row(each) for each in found)
    lines = f"| Planted bug | File | Schedules | Seconds | What showed it |\n|---|---|---:|---:|---|\n{rows}"
    page.write_text(f"{head}{_BEGIN}\n{lines}\n{_END}{tail}", encoding="utf-8")


def row(found: Found) -> str:
    """Of the table; cut, and without what would end a cell."""
    said = found.said.partition(": ")[2].replace("|", "/").replace("<", "(").replace(">", ")")
    shown = said if len(said) <= 100 else said[:97].rstrip() + "…"
    name = found.bug.path.rpartition("/")[2]
    return f"| {found.bug.name} | `{name}` | {found.schedules:,} | {found.seconds:,.0f} | {shown or '**not found**'} |"
