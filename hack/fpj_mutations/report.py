"""The page docs/development/mutations.md."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from fpj_mutations.catalogue import Mutation
from fpj_mutations.running import Result, Verdict
from markdown_lines import joined

_BEFORE = "not run again yet; before: "
_KILLED = re.compile(rf"^\| (\w+) \|.*\| (?:{_BEFORE})?`(\S+\.py::.+)` \|$", re.MULTILINE)
_HEAD = """# Mutations: which tests notice a one-line error

A test that cannot fail proves nothing. `make mutations` puts one error at a time into a copy of the tree, runs the
unit, contract and simulation tests that can notice it (`hack/mutations/*.toml` says which), first of all the one that
did so before by this page, and stops at the first that fails, if that one passes without the error. Integration and e2e
tests are left out: they take minutes, and would notice more. A run that was stopped goes on where it was, for a result
stays valid until the module changes; what no test noticed is run again each time. `ARGS="--only operator/"` runs some,
`ARGS=--report` writes this page alone. A mutation is five lines of TOML; a unit test holds that each still fits the
code, exactly once.

"""


def page(found: Sequence[tuple[Mutation, Result | None]], before: Mapping[str, str]) -> str:
    """Markdown.

    What has not been run yet counts nowhere; which test killed it ``before`` is kept for the next
    run.
    """
    known = [(mutation, result) for mutation, result in found if result is not None]
    parts = [_HEAD, _rates(known)]
    if missing := len(found) - len(known):
        parts.append(f"Not run yet: {missing}.\n\n")
    parts += [_survivors(known), _all(found, before)]
    return joined("".join(parts))


def killers(text: str) -> dict[str, str]:
    """By mutation, which test killed it when the page was written: likely it does so again."""
    return {number: f"tests/{test}" for number, test in _KILLED.findall(text)}


def _rates(known: Sequence[tuple[Mutation, Result]]) -> str:
    lines = ["| package | killed | of | rate |", "|---|---:|---:|---:|"]
    total: Counter[str] = Counter(mutation.package for mutation, _ in known)
    killed: Counter[str] = Counter(
        mutation.package for mutation, result in known if result.verdict is Verdict.KILLED
    )
    lines += [_rate(package, killed[package], total[package]) for package in sorted(total)]
    lines.append(_rate("**all**", killed.total(), total.total()))
    return "\n".join(lines) + "\n\n"


def _rate(name: str, killed: int, total: int) -> str:
    return f"| {name} | {killed} | {total} | {100 * killed / total if total else 0:.0f} % |"


def _survivors(known: Sequence[tuple[Mutation, Result]]) -> str:
    left = [
        (mutation, result) for mutation, result in known if result.verdict is not Verdict.KILLED
    ]
    if not left:
        return "No mutation survives.\n\n"
    lines = ["## Survivors", "", "| | file | error | why no test notices it |", "|---|---|---|---|"]
    lines += [
        f"| {m.id} | {m.file} | {m.means} | {m.survives or r.by or 'not looked into yet'} |"
        for m, r in left
    ]
    return "\n".join(lines) + "\n\n"


def _all(found: Sequence[tuple[Mutation, Result | None]], before: Mapping[str, str]) -> str:
    lines = ["## All", "", "| | file | error | killed by |", "|---|---|---|---|"]
    lines += [
        f"| {m.id} | {m.file} | {m.means} | {_by(r) if r else _earlier(before.get(m.id))} |"
        for m, r in found
    ]
    return "\n".join(lines) + "\n"


def _earlier(test: str | None) -> str:
    return f"{_BEFORE}`{_escaped(test.removeprefix('tests/'))}`" if test else "not run yet"


def _by(result: Result) -> str:
    return f"`{_escaped(result.by)}`" if result.verdict is Verdict.KILLED else f"({result.verdict})"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'")


def summary(results: Mapping[str, Result]) -> str:
    """One line on what came of a run."""
    by = Counter(result.verdict for result in results.values())
    return ", ".join(f"{by[verdict]} {verdict}" for verdict in Verdict if by[verdict])
