"""The table that is printed and the JSON that is kept."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from bench.result import Row


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a benchmark: its rows, how long it took, and why it gave no more."""

    name: str
    title: str
    rows: tuple[Row, ...]
    seconds: float
    problem: str = ""


def show(conditions: Mapping[str, str], outcomes: Sequence[Outcome]) -> None:
    """Print a table to a terminal, Markdown to a file or pipe."""
    if sys.stdout.isatty():
        _rich(conditions, outcomes)
    else:
        print(markdown(conditions, outcomes))


def markdown(conditions: Mapping[str, str], outcomes: Sequence[Outcome]) -> str:
    """The conditions and one table for each benchmark."""
    lines = [", ".join(f"{name} {value}" for name, value in conditions.items()), ""]
    for outcome in outcomes:
        lines += [f"### {outcome.title} (`{outcome.name}`)", ""]
        if outcome.rows:
            lines += ["| What | Value | Target | Met | |", "|---|---:|---|---|---|"]
            lines += ["| " + " | ".join(_cells(row)) + " |" for row in outcome.rows]
            lines += [""]
        if outcome.problem:
            lines += [outcome.problem, ""]
    return "\n".join([*lines, *_summary(outcomes)])


def as_json(
    before: Mapping[str, str], after: Mapping[str, str], outcomes: Sequence[Outcome]
) -> str:
    """Everything, for machines."""
    document = {
        "conditions": {
            **before,
            "load average at the end": after["load average"],
            "ended": after["when"],
        },
        "benchmarks": [
            {
                "name": outcome.name,
                "title": outcome.title,
                "seconds": round(outcome.seconds, 1),
                "problem": outcome.problem or None,
                "rows": [_as_dict(row) for row in outcome.rows],
            }
            for outcome in outcomes
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _rich(conditions: Mapping[str, str], outcomes: Sequence[Outcome]) -> None:
    console = Console()
    console.print(
        ", ".join(f"{name} [bold]{value}[/]" for name, value in conditions.items()), highlight=False
    )
    for outcome in outcomes:
        table = Table(
            title=f"{outcome.title} ({outcome.name})", title_justify="left", title_style="bold"
        )
        table.add_column("What")
        table.add_column("Value", justify="right")
        table.add_column("Target")
        table.add_column("Met")
        table.add_column("", style="dim")
        colours = {True: "green", False: "red", None: ""}
        for row in outcome.rows:
            table.add_row(*_cells(row), style=colours[row.met])
        console.print(table)
        if outcome.problem:
            console.print(outcome.problem, style="yellow")
    for line in _summary(outcomes):
        console.print(line)


def _summary(outcomes: Sequence[Outcome]) -> list[str]:
    rows = [row for outcome in outcomes for row in outcome.rows if row.target]
    missed = [row for row in rows if not row.met]
    lines = [f"{len(rows) - len(missed)} of {len(rows)} targets met."]
    return lines + [f"- missed: {row.what}: {_value(row)}, target {row.target}" for row in missed]


def _cells(row: Row) -> tuple[str, ...]:
    met = {True: "yes", False: "NO", None: ""}[row.met]
    return row.what, _value(row), str(row.target or ""), met, row.note


def _value(row: Row) -> str:
    return f"{_number(row.value)} {row.unit}".strip()


def _number(value: float) -> str:
    """Three or four digits that count."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) < 1 else f"{value:.3g}"


def _as_dict(row: Row) -> dict[str, object]:
    return {
        "what": row.what,
        "value": row.value,
        "unit": row.unit,
        "target": row.target
        and {"at_least" if row.target.at_least else "at_most": row.target.bound},
        "met": row.met,
        "note": row.note,
    }
