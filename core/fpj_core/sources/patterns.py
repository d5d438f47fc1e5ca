"""Expressions for gitignore's patterns whose time to match is bounded. Pure.

pathspec makes ``[^/]*a[^/]*b`` of ``*a*b``, and for each asterisk Python's `re` tries every length
with every length of the others: forty asterisks, in a file that a stranger left in a source, would
keep it busy for years. Where another asterisk follows, the shortest match is as good as any longer
one, so `settled` makes `re` keep it. The same holds for ``**`` and folders.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_ANY, _BEFORE, _BETWEEN = "[^/]*", "(?:.+/)?", "(?:/.+)?"
_END = r"(?:(?P<ps_d>/)|$)"
_PARTS = re.compile(
    "|".join(
        (
            *(re.escape(each) for each in (_BEFORE, _BETWEEN, _END, "(?P<ps_d>/)", "[^/]+", _ANY)),
            r"\[\^?\]?(?:\\.|[^\]\\])*\]",
            r"\\.",
            r".",
        )
    ),
    re.DOTALL,
)
"""Of what pathspec makes; the longer ones first."""


def settled(expression: str) -> str:
    """Matches what pathspec's expression does, in a time that is bounded by a product of the
    lengths.
    """
    found = [_without_slash(each) for each in _PARTS.findall(expression)]
    parts = [_without_choice(each) for each in _split(found, "/")]
    return _folders("/".join("".join(each) for each in parts))


def _without_slash(part: str) -> str:
    is_set = part.startswith("[") and not part.startswith("[^/]")
    return f"(?!/){part}" if is_set else part


def _without_choice(segment: Sequence[str]) -> list[str]:
    """What is between two slashes: all asterisks but the last keep their shortest match."""
    first, *rest = _split(segment, _ANY)
    if not rest:
        return [*first]
    *kept, last = rest
    return [*first, *(f"(?>[^/]*?{''.join(each)})" for each in kept), _ANY, *last]


def _folders(expression: str) -> str:
    """All ``**`` but the last keep their shortest match, each with the folders that follow it."""
    pieces = re.split(f"({re.escape(_BEFORE)}|{re.escape(_BETWEEN)})", expression)
    for index in range(1, len(pieces) - 2, 2):
        lazy = "(?:.+?/)??" if pieces[index] == _BEFORE else "(?:/.+?)??"
        pieces[index], pieces[index + 1] = f"(?>{lazy}", f"{pieces[index + 1]}(?=/))"
    return "".join(pieces)


def _split(parts: Sequence[str], at: str) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for part in parts:
        if part == at:
            found.append([])
        else:
            found[-1].append(part)
    return found
