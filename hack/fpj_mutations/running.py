"""Runs tests in the copy, and says which of them failed first."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fpj_mutations.catalogue import Mutation
from fpj_mutations.tree import Copy

_EACH_SECONDS = 60
"""For one test; one that an error makes wait for ever is killed by that, which counts."""
_ALL_SECONDS = 200
_END_SECONDS = 10
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?\.py(?:::.*?)?)(?: - |$)", re.MULTILINE)
_HUNG = re.compile(r"(\S+\.py::\S+) (?:Timeout|\+{3,})|Timeout \(>")


class Verdict(StrEnum):
    """What became of a mutation."""

    KILLED = "killed"
    SURVIVED = "survived"
    BROKEN = "broken"
    """The tests could not even be read: no error that could be overlooked."""


@dataclass(frozen=True, slots=True)
class Result:
    """``by`` is the test that failed first, or what ended the run."""

    verdict: Verdict
    by: str
    seconds: float


class Runner:
    """Runs tests one after another, in one process at a time."""

    def __init__(self, copy: Copy, environment: Mapping[str, str], *, wide: bool = False) -> None:
        self._copy = copy
        self._wide = wide
        self._output = copy.root.parent / "output.txt"
        self._server = subprocess.Popen(  # noqa: S603 - a program of this repository
            [copy.python, "-P", copy.root / "hack" / "fpj_mutations" / "forkserver.py"],
            cwd=copy.root,
            env=dict(os.environ) | dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._red: tuple[str, ...] = ()

    def find_red(self, tests: Sequence[str]) -> tuple[str, ...]:
        """Tests that fail without an error: they prove nothing, and are left out from here on."""
        _, output = self.run(tests, first_alone=False)
        self._red = tuple(_FAILED.findall(output))
        return self._red

    def judge(self, mutation: Mutation) -> Result:
        """Run the tests that can kill it, and if wanted the others; at the first failure it is over."""
        began = time.monotonic()
        with self._copy.with_text(mutation.file, mutation.applied(self._copy.root)):
            for tests in filter(None, (mutation.tests, mutation.fallback if self._wide else ())):
                code, output = self.run(tests)
                if code != 0:
                    return _result(code, output, time.monotonic() - began)
        return Result(Verdict.SURVIVED, "", time.monotonic() - began)

    def run(self, tests: Sequence[str], *, first_alone: bool = True) -> tuple[int, str]:
        """Exit code (-1: out of time) and output of pytest, which stops at the first failure."""
        there = [each for each in tests if (self._copy.root / each).exists()]
        options = ["-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", f"--timeout={_EACH_SECONDS}"]
        options += [*(["-x"] if first_alone else []), *(f"--deselect={each}" for each in self._red)]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of what the server has loaded
        order = {"arguments": [*options, *there], "output": str(self._output), "seconds": _ALL_SECONDS}
        if self._server.stdin is None or self._server.stdout is None:
            raise AssertionError("unreachable")
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        code = int(json.loads(self._server.stdout.readline())["code"])
        return code, self._output.read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        """End the process in whose forks tests are run."""
        self._server.terminate()
        self._server.wait(_END_SECONDS)


def _result(code: int, output: str, seconds: float) -> Result:
    named = _FAILED.search(output)
    if code == -1:
        return Result(Verdict.KILLED, "never ends", seconds)
    if code == 1 and named:
        return Result(Verdict.KILLED, named[1].removeprefix("tests/"), seconds)
    if code not in {2, 3, 4} and (hung := _HUNG.search(output)):
        return Result(Verdict.KILLED, hung[1] or "a test never ends", seconds)
    return Result(Verdict.BROKEN, (named[1] if named else output.strip()[-200:]) or f"exit code {code}", seconds)
