"""Measuring: CPU seconds and peak memory of processes,
and rounds that alternate between the things compared.

Machines are shared and drift by a third within the hour. So what is compared is measured in turns,
A B C A B C, CPU time (user and system) is read instead of the clock, and a ratio is the median of
the ratios within each round.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Protocol, Self

from typing_extensions import override

from fpj_worker.pool import pool

CHILD_ENVIRONMENT: Mapping[str, str] = pool._CHILD_ENVIRONMENT
_TESTS = Path(__file__).resolve().parents[1]
_PATH = {
    "PYTHONPATH": os.pathsep.join([str(_TESTS), os.environ.get("PYTHONPATH", "")]).rstrip(
        os.pathsep
    )
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What making some images cost: CPU and wall seconds, peak memory in bytes,
    bytes of output where known.
    """

    cpu: float
    wall: float
    peak: int
    bytes: int = 0


class Contestant(Protocol):
    """One of the things compared."""

    def make(self, paths: Sequence[Path]) -> Cost:
        """Make the outputs of each file."""

    def close(self) -> None:
        """End what was started."""


class Server(Contestant):
    """A process that stays alive over the rounds and tells what each cost:
    Python (`serve`) or Node.js.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | (environment or {}),
            text=True,
        )

    @override
    def make(self, paths: Sequence[Path], keep: Path | None = None) -> Cost:
        """``keep`` is a folder for the outputs. Raises RuntimeError if the process has ended."""
        return self.ask({"paths": [str(path) for path in paths], "keep": keep and str(keep)})

    def ask(self, request: object) -> Cost:
        """Send a request and wait for what it cost."""
        assert self._process.stdin and self._process.stdout
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._process.args!r} ended with code {self._process.wait()}")
        return Cost(**json.loads(answer))

    @override
    def close(self) -> None:
        self._process.communicate()


def python_server(
    way: str, outputs: str, environment: Mapping[str, str] = CHILD_ENVIRONMENT
) -> Server:
    """One of `bench.ways` in a process of its own, with a pool child's environment (its malloc
    settings above all).
    """
    return Server(_module("serve", way, outputs), {**environment, **_PATH})


def command_server() -> Server:
    """A process that runs commands; its requests are lists of them."""
    return Server(_module("commands"), _PATH)


def run_module(
    name: str, *arguments: str, environment: Mapping[str, str] = CHILD_ENVIRONMENT
) -> dict[str, Any]:
    """Run one of `bench.processes` to its end and return the JSON that it prints.

    Raises CalledProcessError.
    """
    finished = subprocess.run(
        _module(name, *arguments),
        check=True,
        stdout=subprocess.PIPE,
        env=os.environ | dict(environment) | _PATH,
        text=True,
    )
    return dict(json.loads(finished.stdout))


@dataclass(frozen=True, slots=True)
class Rounds:
    """What each contestant cost in each round, per image."""

    images: int
    costs: Mapping[str, Sequence[Cost]]

    def cpu_ms(self, name: str) -> float:
        """Median CPU milliseconds of one image."""
        return median(cost.cpu for cost in self.costs[name]) / self.images * 1000

    def wall_ms(self, name: str) -> float:
        """Median wall milliseconds of one image."""
        return median(cost.wall for cost in self.costs[name]) / self.images * 1000

    def ratio(self, name: str, other: str) -> float:
        """Median over the rounds of the CPU of ``name`` in terms of that of ``other``."""
        pairs = zip(self.costs[name], self.costs[other], strict=True)
        return median(one.cpu / two.cpu for one, two in pairs)

    def peak(self, name: str) -> int:
        """The most memory held, in bytes."""
        return max(cost.peak for cost in self.costs[name])

    def bytes(self, name: str) -> float:
        """Bytes of output per image."""
        return self.costs[name][0].bytes / self.images


class Match:
    """Contestants that take turns. Each makes a first round that does not count."""

    def __init__(self, contestants: Mapping[str, Contestant]) -> None:
        self._contestants = contestants

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for contestant in self._contestants.values():
            contestant.close()

    def play(self, paths: Mapping[str, Sequence[Path]] | Sequence[Path], rounds: int) -> Rounds:
        """``rounds`` rounds over the files, which may differ by
        contestant (then as many for each).
        """
        costs: dict[str, list[Cost]] = {name: [] for name in self._contestants}
        files = paths if isinstance(paths, Mapping) else dict.fromkeys(self._contestants, paths)
        for name, contestant in self._contestants.items():
            contestant.make(files[name][:4])
        for _ in range(rounds):
            for name, contestant in self._contestants.items():
                costs[name].append(contestant.make(files[name]))
        return Rounds(len(next(iter(files.values()))), costs)


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"bench.processes.{name}", *arguments]
