"""The table of planted bugs: how soon each is found, for the docs.

A hunt that was stopped, or too short, goes on.

What an earlier state of the simulation came to is shown until it is searched for again.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

from simulation.planted import BUGS, ROOT, Bug, Found, hunt

_PAGE = ROOT / "docs" / "development" / "simulation.md"
_KNOWN = ROOT / "out" / "planted.json"
_OTHERS = frozenset({"table.py", "command.py", "planted.py", "test_simulation.py"})
"""Files that schedules do not depend on."""
_HEAD = "| Planted bug | File | Schedules | Seconds | What showed it |\n|---|---|---:|---:|---|"
_MARKS = {"jobs": "planted", "folders": "planted in folders"}
"""By kind of schedules: the comments around its table are of these words."""


def run(world: str, words: list[str], minutes: float, cores: int, *, write: bool) -> int:
    """Hunt all of a kind of schedules whose names contain the words, or all.

    The exit code says whether every one was found.

    Each for so many minutes of a core, those of earlier hunts included.
    """
    wanted = [bug for bug in _of(world) if not words or any(word in bug.name for word in words)]
    wanted = [bug for bug in wanted if not bug.equivalent]
    known = _known()
    now = {name: each for name, each in known.items() if each.simulation == _simulation()}
    left = [bug for bug in wanted if not (bug.name in now and now[bug.name].said)]
    with ThreadPoolExecutor(cores) as pool:
        for one in pool.map(lambda bug: _hunted(bug, minutes, now.get(bug.name)), left):
            known[one.bug.name] = one
            _KNOWN.parent.mkdir(exist_ok=True)
            _KNOWN.write_text(
                json.dumps({name: asdict(each) for name, each in known.items()}), encoding="utf-8"
            )
    found = [known[bug.name] for bug in wanted]
    missed = [each.bug.name for each in found if not each.said]
    print(
        f"{len(found) - len(missed)} of {len(found)} found; not found:"
        f" {'; '.join(missed) or 'none'}"
    )
    if write:
        _write(_PAGE, world, known, minutes)
    return 1 if missed else 0


def _known() -> dict[str, Found]:
    """What earlier hunts came to, of bugs that are as they were."""
    kept = json.loads(_KNOWN.read_text(encoding="utf-8")) if _KNOWN.exists() else {}
    bugs = {bug.name: bug for bug in BUGS}
    return {
        name: Found(**each | {"bug": bugs[name]})
        for name, each in kept.items()
        if name in bugs and asdict(bugs[name]) == each["bug"]
    }


def _hunted(bug: Bug, minutes: float, before: Found | None) -> Found:
    tried, spent = (before.schedules, before.seconds) if before else (0, 0.0)
    left = minutes - spent / 60
    if left <= 0 and before:
        return before
    found = hunt(bug, left, first=tried)
    found = replace(
        found,
        schedules=found.schedules + tried,
        seconds=found.seconds + spent,
        simulation=_simulation(),
    )
    print(
        f"{bug.name}: {found.schedules} schedules, {found.seconds:.0f} s:"
        f" {found.said or 'NOT FOUND'}",
        flush=True,
    )
    return found


def _simulation() -> str:
    """A digest of the simulation's own code."""
    files = sorted(path for path in Path(__file__).parent.glob("*.py") if path.name not in _OTHERS)
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _of(world: str) -> list[Bug]:
    return [bug for bug in BUGS if bug.world == world]


def _write(page: Path, world: str, known: dict[str, Found], minutes: float) -> None:
    text = page.read_text(encoding="utf-8")
    begin, end = (f"<!-- {_MARKS[world]}: {each} -->" for each in ("begin", "end"))
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    shown = [bug for bug in _of(world) if bug.equivalent or bug.name in known]
    rows = "\n".join(equivalent(bug) if bug.equivalent else row(known[bug.name]) for bug in shown)
    lines = f"{_summary(world, known, minutes)}\n\n{_HEAD}\n{rows}"
    page.write_text(f"{head}{begin}\n{lines}\n{end}{tail}", encoding="utf-8")


def _summary(world: str, known: dict[str, Found], minutes: float) -> str:
    """What the table comes to, in a few sentences."""
    real = [bug for bug in _of(world) if not bug.equivalent]
    found = sorted(
        known[bug.name].seconds for bug in real if bug.name in known and known[bug.name].said
    )
    missed = [bug.name for bug in real if bug.name in known and not known[bug.name].said]
    left = [bug.name for bug in real if bug.name not in known]
    today = datetime.datetime.now(datetime.UTC).date()
    within = f"{minutes:g} minutes of one core at most for each"
    said = [f"{today.day} {today:%B %Y}, {within}: {len(found)} of {len(real)} found"]
    if found:
        said[0] += (
            f", half of them within {found[len(found) // 2]:.0f} s, the last after"
            f" {found[-1]:.0f} s"
        )
    names = {bug.name for bug in real}
    earlier = sum(each.simulation != _simulation() for name, each in known.items() if name in names)
    said += (
        [f"{earlier} of these answers are of an earlier state of the simulation"] if earlier else []
    )
    said += [f"Not found: {'; '.join(missed)}"] if missed else []
    said += [f"Not hunted yet: {'; '.join(left)}"] if left else []
    return ". ".join(said) + "."


def equivalent(bug: Bug) -> str:
    """Of the table: a bug that nothing could show."""
    return f"| {bug.name} | `{bug.path.rpartition('/')[2]}` | | | nothing could: {bug.equivalent} |"


def row(found: Found) -> str:
    """Of the table; cut, and without what would end a cell."""
    said = found.said.partition(": ")[2].replace("|", "/").replace("<", "(").replace(">", ")")
    shown = said if len(said) <= 100 else said[:97].rstrip() + "…"
    name = found.bug.path.rpartition("/")[2]
    return (
        f"| {found.bug.name} | `{name}` | {found.schedules:,} | {found.seconds:,.0f} |"
        f" {shown or '**not found**'} |"
    )
