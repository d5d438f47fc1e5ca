"""What is asked for, what came of it, and the file that keeps it:
a short line of JSON for each run.

Nothing in a line depends on the machine. What a seed injected follows from its schedule: only what
missed is kept.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from chaos.schedule import KINDS, VERSION, Fault, schedule

KEPT = Path(__file__).with_name("results.jsonl")
_MOST_VIOLATIONS = 5
_MOST_CHARACTERS = 200


@dataclass(frozen=True)
class Order:
    """What is asked for.

    `calm`: at most so many seconds without a fault after each, fewer once fpj is seen to have
        recovered.
    `warm`: the first fault waits until a worker of the first job is active.
    """

    seed: int
    faults: int
    calm: float | None = None
    kinds: tuple[str, ...] = tuple(KINDS)
    images: int = 96
    slowness: float = 0.25
    warm: bool = False

    @property
    def key(self) -> str:
        """The same for the same run."""
        return json.dumps([VERSION, *asdict(self).values()])

    @property
    def schedule(self) -> tuple[Fault, ...]:
        return schedule(self.seed, self.faults, self.kinds, self.calm)

    def document(self) -> dict[str, Any]:
        """What differs from the defaults."""
        defaults = {each.name: each.default for each in fields(self)}
        return {name: value for name, value in asdict(self).items() if value != defaults[name]}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Order:
        """From `document`."""
        given: dict[str, Any] = {
            name: tuple(value) if name == "kinds" else value for name, value in document.items()
        }
        return cls(**given)


@dataclass(frozen=True)
class Ended:
    """A job at the end of a run."""

    phase: str
    attempts: int
    recoveries: int
    images: int


@dataclass
class Result:
    """What came of it.

    Seconds to recover are measured where `calm` faults do not blur what recovers from what.
    """

    order: Order
    revision: str = ""
    violations: list[str] = field(default_factory=list)
    missed: dict[str, int] = field(default_factory=dict)
    recovery: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    status_delays: list[float] = field(default_factory=list)
    deletion: dict[str, float] = field(default_factory=dict)
    """Seconds. Of a run that is not calm: while the next one's faults came."""
    jobs: list[Ended] = field(default_factory=list)
    took: dict[str, float] = field(default_factory=dict)
    """Seconds of each part of the run."""

    @property
    def clean(self) -> bool:
        return not self.violations

    @property
    def injected(self) -> Counter[str]:
        """How many of each kind."""
        return Counter(fault.kind for fault in self.order.schedule) - Counter(self.missed)

    @property
    def seconds(self) -> float:
        return sum(self.took.values())

    def document(self) -> dict[str, Any]:
        """For a line of JSON; of many violations the first ones."""
        violations = [
            " ".join(each.split())[:_MOST_CHARACTERS] for each in self.violations[:_MOST_VIOLATIONS]
        ]
        if more := len(self.violations) - len(violations):
            violations.append(f"and {more} more")
        delays = Counter(round(each, 1) for each in self.status_delays)
        return {
            "version": VERSION,
            "order": self.order.document(),
            "revision": self.revision,
            "violations": violations,
            "missed": self.missed,
            "recovery": self.recovery,
            "delays": {f"{seconds:g}": number for seconds, number in sorted(delays.items())},
            "deletion": self.deletion,
            "jobs": [
                [each.phase, each.attempts, each.recoveries, each.images] for each in self.jobs
            ],
            "took": {name: round(seconds) for name, seconds in self.took.items()},
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Result:
        """From `document`."""
        delays = [
            float(seconds) for seconds, number in document["delays"].items() for _ in range(number)
        ]
        jobs = [Ended(*each) for each in document["jobs"]]
        same = {
            name: document[name]
            for name in ("revision", "violations", "missed", "recovery", "deletion", "took")
        }
        return cls(order=Order.of(document["order"]), status_delays=delays, jobs=jobs, **same)


def keep(result: Result, path: Path) -> None:
    """Append a run."""
    with path.open("a") as file:
        file.write(json.dumps(result.document(), separators=(",", ":")) + "\n")


def kept(path: Path) -> list[Result]:
    """All runs of the present version, in the order in which they ended."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Result.of(each) for each in map(json.loads, lines) if each["version"] == VERSION]


def left_to_run(orders: Iterable[Order], results: Collection[Result]) -> list[Order]:
    """Those that were never clean: a seed that was not runs again, and both runs are kept."""
    clean = {each.order.key for each in results if each.clean}
    return [order for order in orders if order.key not in clean]
