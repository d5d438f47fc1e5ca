"""What a benchmark gives: rows, each a number that may have a target."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from typing_extensions import override

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on a row's value."""

    bound: float
    at_least: bool = False

    def met_by(self, value: float) -> bool:
        """Whether the value keeps to the bound."""
        return value >= self.bound if self.at_least else value <= self.bound

    @override
    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:,g}"


def at_most(bound: float) -> Target:
    """A value that must not be larger."""
    return Target(bound)


def at_least(bound: float) -> Target:
    """A value that must not be smaller."""
    return Target(bound, at_least=True)


@dataclass(frozen=True, slots=True)
class Row:
    """One number: what it is of, its unit, what it should be, and what else is worth knowing."""

    what: str
    value: float
    unit: str = ""
    target: Target | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        return None if self.target is None else self.target.met_by(self.value)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much to measure."""

    quick: bool

    def pick(self, quick: T, full: T) -> T:
        """The one of two values that fits."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A named measurement.

    One that is not ``in_quick`` needs files too large, or time too long, for a short run.
    """

    name: str
    title: str
    run: Callable[[Scale], Iterator[Row]]
    in_quick: bool = True


class SkippedError(Exception):
    """A benchmark cannot be run here; the message says what is missing."""
