"""Runs the benchmarks, prints a table and writes all numbers to a JSON file.

`make bench` calls it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1]
if not __package__:
    # Run as a script: the package is `bench`, as its processes know it, and servers are from hack.
    sys.path[:1] = [str(_TESTS), str(_TESTS.parent / "hack")]

from bench.conditions import conditions  # noqa: E402
from bench.registry import BENCHMARKS  # noqa: E402
from bench.report import Outcome, as_json, show  # noqa: E402
from bench.result import Benchmark, Row, Scale, SkippedError  # noqa: E402

_JSON = _TESTS.parent / "build" / "bench.json"

_EPILOG = """\
Each number that has a target says whether it is met. Ratios are medians over alternated rounds of
CPU time (user and system), so they hold on a machine with other work to do; wall times and rates do
not.
docs/benchmarks.md says what each benchmark does and why.

Without the peers (hack/bench-setup.sh installs them) their rows are left out.

examples:
  run.py --quick                   everything that a short run can tell, some 5 minutes
  run.py                           all of it, large files and long soaks too, some 40 minutes
  run.py --only peers sizes        two benchmarks, in full
  run.py --quick --only web        one, short: what to run while tuning
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="run.py",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--quick",
        action="store_true",
        help="fewer images and rounds, no large files; some 5 minutes",
    )
    made.add_argument(
        "--only", nargs="+", metavar="NAME", default=[], help="run only these; see --list"
    )
    made.add_argument("--list", action="store_true", help="print the benchmarks' names and end")
    made.add_argument(
        "--json",
        type=Path,
        default=_JSON,
        metavar="FILE",
        help="where to write the numbers (default: build/bench.json)",
    )
    return made


def chosen(names: list[str], *, quick: bool) -> list[Benchmark]:
    """The benchmarks to run. Raises ValueError for a name that none has."""
    known = {benchmark.name: benchmark for benchmark in BENCHMARKS}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(
            f"no benchmark is called {', '.join(unknown)}; there are {', '.join(known)}"
        )
    if names:
        return [known[name] for name in names]
    return [benchmark for benchmark in BENCHMARKS if benchmark.in_quick or not quick]


def run(benchmark: Benchmark, scale: Scale) -> Outcome:
    """Run one benchmark; one that fails is reported and does not keep the others from running."""
    _say(f"{benchmark.name}: {benchmark.title}")
    started = time.monotonic()
    rows: list[Row] = []
    problem = ""
    try:
        for row in benchmark.run(scale):
            rows.append(row)
            _say(f"    {row.what}: {row.value:,.4g} {row.unit}")
    except SkippedError as error:
        problem = f"left out: {error}"
    except Exception as error:  # noqa: BLE001
        problem = f"failed: {type(error).__name__}: {error}"
    if problem:
        _say(f"    {problem}")
    return Outcome(
        benchmark.name, benchmark.title, tuple(rows), time.monotonic() - started, problem
    )


def main() -> int:
    """Run what the command line asks for.

    1 if a benchmark failed; a missed target is not a failure.
    """
    options = parser().parse_args()
    if options.list:
        for benchmark in BENCHMARKS:
            print(
                f"{benchmark.name:14}"
                f" {benchmark.title}{'' if benchmark.in_quick else ' (full run only)'}"
            )
        return 0
    try:
        benchmarks = chosen(options.only, quick=options.quick)
    except ValueError as error:
        parser().error(str(error))
    before = conditions(quick=options.quick)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for benchmark in benchmarks:
        outcomes.append(run(benchmark, Scale(quick=options.quick)))
        # After each one: what is measured is kept if the run is interrupted.
        document = as_json(before, conditions(quick=options.quick), outcomes)
        options.json.write_text(document, encoding="utf-8")
    show(before, outcomes)
    _say(f"numbers written to {options.json}")
    return int(any(outcome.problem.startswith("failed") for outcome in outcomes))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
