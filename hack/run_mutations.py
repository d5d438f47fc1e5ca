"""Breaks a copy of the tree in one line at a time, and says which tests notice.

See docs/development/mutations.md.

python hack/run_mutations.py [--only TEXT]... [--again] [--list | --report]
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "hack")]

from mongodb_server import free_port, start_server  # noqa: E402
from waiting import end  # noqa: E402

from fpj_mutations.catalogue import Mutation, mutations  # noqa: E402 - the folders have to be named first
from fpj_mutations.report import killers, page, summary  # noqa: E402
from fpj_mutations.running import Result, Runner, Verdict  # noqa: E402
from fpj_mutations.tree import Copy  # noqa: E402

_RESULTS = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fpj" / "mutations.jsonl"
)
"""By what each rests on, so that it is true for every checkout that has the same texts."""
_PAGE = ROOT / "docs" / "development" / "mutations.md"


def _known() -> dict[str, Result]:
    if not _RESULTS.exists():
        return {}
    lines = [json.loads(line) for line in _RESULTS.read_text(encoding="utf-8").splitlines()]
    return {
        each["key"]: Result(Verdict(each["verdict"]), each["by"], each["seconds"]) for each in lines
    }


def _keep(key: str, result: Result) -> None:
    _RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with _RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"key": key} | asdict(result)) + "\n")


def _is_killed(result: Result | None) -> bool:
    return result is not None and result.verdict is Verdict.KILLED


def _needs_server(chosen: Sequence[Mutation], *, wide: bool) -> bool:
    run = {test for each in chosen for test in (*each.tests, *(each.fallback if wide else ()))}
    return any(each.startswith("tests/contract") for each in run)


def _run(
    chosen: Sequence[Mutation], known: Mapping[str, Result], *, wide: bool
) -> dict[str, Result]:
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory(prefix="fpj-mutations-") as name, ExitStack() as stack:
        environment = {}
        if _needs_server(chosen, wide=wide) and "FPJ_TEST_MONGODB_URI" not in os.environ:
            storage = Path(name, "mongodb")
            storage.mkdir()
            port = free_port()
            server = start_server(storage, port)
            stack.callback(end, server)
            environment["FPJ_TEST_MONGODB_URI"] = f"mongodb://127.0.0.1:{port}"
        runner = Runner(Copy(Path(name)), environment, wide=wide)
        stack.callback(runner.close)
        before = killers(_PAGE.read_text(encoding="utf-8"))
        left = {
            before.get(each.id, "") for each in chosen if not _is_killed(known.get(each.key()))
        } - {""}
        if left:
            click.echo(f"first {len(left)} tests without an error")
            runner.look(sorted(left))
        for number, mutation in enumerate(chosen, 1):
            key = mutation.key()
            result = known.get(key)
            if result is None or not _is_killed(result):  # new tests may notice it
                result = runner.judge(mutation, before.get(mutation.id, ""))
                _keep(key, result)
            results[mutation.id] = result
            took = f"{result.verdict} in {result.seconds:.0f} s"
            click.echo(f"{number}/{len(chosen)} {mutation.id} {took}: {mutation.means}")
            click.echo(f"    {result.by or mutation.survives or 'NO TEST NOTICES IT'}")
    return results


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--only",
    multiple=True,
    metavar="TEXT",
    help="Those whose id or file contains it; may be repeated.",
)
@click.option("--again", is_flag=True, help="Run also what has a result that still holds.")
@click.option(
    "--wide",
    is_flag=True,
    help="Run all tests of the package on what the nearest ones do not notice.",
)
@click.option("--list", "listed", is_flag=True, help="Name them, and run none.")
@click.option(
    "--report", is_flag=True, help="Write the page from the results there are, and run none."
)
def main(*, only: tuple[str, ...], again: bool, wide: bool, listed: bool, report: bool) -> None:
    """Say which tests notice which one-line errors.

    Exit code 1: one without a stated reason is noticed by none.
    """
    chosen = [
        each
        for each in mutations()
        if not only or any(text in f"{each.id} {each.file}" for text in only)
    ]
    if listed:
        for each in chosen:
            click.echo(f"{each.id:5} {each.file}: {each.means}")
        return
    os.nice(5)
    results = {} if report else _run(chosen, {} if again else _known(), wide=wide)
    known = _known()
    if not only:
        before = killers(_PAGE.read_text(encoding="utf-8"))
        _PAGE.write_text(
            page([(each, known.get(each.key())) for each in mutations()], before), encoding="utf-8"
        )
        click.echo(f"wrote {_PAGE.relative_to(ROOT)}")
    if results:
        click.echo(summary(results))
    stated = {each.id for each in chosen if each.survives}
    left = [
        name
        for name, result in results.items()
        if result.verdict is not Verdict.KILLED and name not in stated
    ]
    if left:
        raise click.ClickException(f"noticed by no test: {', '.join(left)}")


if __name__ == "__main__":
    main()
