"""The table of planted bugs: how soon each is found, for the docs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from simulation.planted import BUGS, ROOT, Bug, Found, hunt

_PAGE = ROOT / "docs" / "development" / "simulation.md"
_BEGIN, _END = "<!-- planted: begin -->", "<!-- planted: end -->"


def run(words: list[str], minutes: float, cores: int, *, write: bool) -> int:
    """Hunt all whose names contain the words, or all; the exit code says whether every one was found."""
    wanted = [bug for bug in BUGS if not words or any(word in bug.name for word in words)]
    with ThreadPoolExecutor(cores) as pool:
        found = list(pool.map(lambda bug: _told(bug, minutes), wanted))
    missed = [each for each in found if not each.said]
    print(f"{len(found) - len(missed)} of {len(found)} found")
    if write:
        _write(_PAGE, found)
    return 1 if missed else 0


def _told(bug: Bug, minutes: float) -> Found:
    found = hunt(bug, minutes)
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
