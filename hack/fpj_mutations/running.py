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
"""For one test; one that a mutation makes wait forever is stopped by it, which counts as killed."""
_ALL_SECONDS = 600
_MOST_RED = 10
_AT_ONCE = 50
_USAGE, _NONE_FOUND = 4, 5
"""pytest's codes for: no such test (it has another name by now), among others; no test."""
_END_SECONDS = 10
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?\.py(?:::.*?)?)(?: - |$)", re.MULTILINE)
_GONE = re.compile(r"^ERROR: not found: \S+?/(tests/\S+\.py::.*)$", re.MULTILINE)
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
        self._red: list[str] = []
        self._green: set[str] = set()

    def look(self, tests: Sequence[str]) -> None:
        """Find out at once which of these pass without an error:
        less work than to ask about each when it is due.
        """
        for start in range(0, len(tests), _AT_ONCE):
            self._look(tests[start : start + _AT_ONCE])

    def _look(self, tests: Sequence[str]) -> None:
        code, output = self._run(tests, "--maxfail=0")
        if gone := set(_GONE.findall(output)):
            tests = [each for each in tests if each not in gone]
            code, output = self._run(tests, "--maxfail=0")
        if code in (0, 1):
            failed = {each.removeprefix("tests/") for each in _FAILED.findall(output)}
            self._green |= {each.removeprefix("tests/") for each in tests} - failed

    def judge(self, mutation: Mutation, likely: str = "") -> Result:
        """Run the tests that can kill it; at the first failure it is over.

        ``likely`` is the one that did so before.
        """
        began = time.monotonic()
        for tests in (
            (likely,) if likely else (),
            mutation.tests,
            mutation.fallback if self._wide else (),
        ):
            if result := self._noticed(mutation, tests, began):
                return result
        return Result(Verdict.SURVIVED, "", time.monotonic() - began)

    def _noticed(self, mutation: Mutation, tests: Sequence[str], began: float) -> Result | None:
        """None if no test fails that passes without the error."""
        for _ in range(_MOST_RED):
            with self._copy.with_text(mutation.file, mutation.applied(self._copy.root)):
                code, output = self._run(tests)
            if code in (0, _NONE_FOUND) or (code == _USAGE and _GONE.search(output)):
                return None
            result = _result(code, output, time.monotonic() - began)
            if result.verdict is Verdict.KILLED and not self._passes_without(result.by, tests):
                self._red.append(result.by)
                continue
            return result
        return Result(
            Verdict.BROKEN, "too many tests fail without an error", time.monotonic() - began
        )

    def _passes_without(self, test: str, tests: Sequence[str]) -> bool:
        """Whatever fails without an error, too, has noticed none.

        All ``tests`` if it is not known which one failed.
        """
        if test not in self._green:
            named = f"tests/{test}"
            code, _ = self._run([named] if ".py::" in named else tests)
            if code != 0:
                return False
            self._green.add(test)
        return True

    def _run(self, tests: Sequence[str], *more: str) -> tuple[int, str]:
        """Exit code (-1: out of time) and output of pytest, which stops at the first failure."""
        there = [each for each in tests if (self._copy.root / each.partition("::")[0]).exists()]
        if not there:
            return _NONE_FOUND, ""
        options = [
            "-q",
            "-x",
            "--no-header",
            "--tb=no",
            "-p",
            "no:cacheprovider",
            f"--timeout={_EACH_SECONDS}",
        ]
        options += [*more, *(f"--deselect=tests/{each}" for each in self._red)]
        # Of what the server has loaded.
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        order = {
            "arguments": [*options, *there],
            "output": str(self._output),
            "seconds": _ALL_SECONDS,
        }
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
    if code not in {2, 3} and (hung := _HUNG.search(output)):
        return Result(Verdict.KILLED, hung[1] or "a test never ends", seconds)
    return Result(
        Verdict.BROKEN,
        (named[1] if named else output.strip()[-200:]) or f"exit code {code}",
        seconds,
    )
