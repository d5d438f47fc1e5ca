"""Label selectors as kubectl has them: ``team=web,tier!=old,env in (a,b),owner,!draft``. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fpj_core.errors import FpjError

MOST_SELECTOR = 1_000
"""Characters."""
_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY = rf"(?:[a-z0-9](?:[-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_NAME}"
_VALUE = rf"(?:{_NAME})?"
_TERMS = re.compile(r"\s*((?:[^,()]|\([^()]*\))+?)\s*(,|$)")
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s+\(([^()]*)\)")
_EQUAL = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})")


class SelectorError(FpjError):
    """The text is not a label selector."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a label must be. Without ``values`` it must only be there."""

    key: str
    values: frozenset[str] | None
    wanted: bool
    """False where it must not be so: a label that is not there meets that."""

    def met_by(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels are so."""
        given = labels.get(self.key)
        found = given is not None and (self.values is None or given in self.values)
        return found is self.wanted


@dataclass(frozen=True, slots=True)
class Selector:
    """All of some requirements; none at all selects everything."""

    requirements: tuple[Requirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether it selects what has these labels."""
        return all(each.met_by(labels) for each in self.requirements)


def parse_selector(text: str) -> Selector:
    """Raises `SelectorError` for what kubectl would refuse, too; an empty text selects nothing."""
    if not text.strip() or len(text) > MOST_SELECTOR:
        raise _error(text)
    found: list[Requirement] = []
    at = 0
    while True:
        term = _TERMS.match(text, at)
        if term is None:
            raise _error(text)
        found.append(_requirement(term[1], text))
        if not term[2]:
            return Selector(tuple(found))
        at = term.end()


def _requirement(term: str, text: str) -> Requirement:
    if found := _SET.fullmatch(term):
        values = [each.strip() for each in found[3].split(",")]
        if all(re.fullmatch(_VALUE, each) for each in values):
            return Requirement(found[1], frozenset(values), found[2] == "in")
    elif found := _EQUAL.fullmatch(term):
        return Requirement(found[1], frozenset({found[3]}), found[2] != "!=")
    elif found := _EXISTS.fullmatch(term):
        return Requirement(found[2], None, not found[1])
    raise _error(text)


def _error(text: str) -> SelectorError:
    shown = text if len(text) <= 100 else f"{text[:100]}…"
    return SelectorError(
        f"{shown!r} is not a label selector: write team=web, tier!=old, env in (a,b), owner or"
        " !draft, joined by commas"
    )
