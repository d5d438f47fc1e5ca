"""The commands that follow jobs until they end: watch, wait."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import click

from fpj_cli.backend import Jobs
from fpj_cli.context import err, out
from fpj_cli.durations import Duration
from fpj_cli.helptexts import Command
from fpj_cli.setup import job_names
from fpj_cli.target import all_namespaces_option, opened_jobs, target_options
from fpj_cli.watchscreen import Screen, choose_screen, in_short, shown_phase
from fpj_core import formatting
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.jobresource import JobResource
from fpj_core.model import Phase

_EVERY_SECONDS = 1.0
_EVERY_SECONDS_FOR_ALL = 2.0
_PATIENCE_SECONDS = 60.0
"""How long the API server may be unreachable, for example during an upgrade,
before the command gives up.
"""
_TIMED_OUT = 124
"""As of timeout(1)."""

T = TypeVar("T")


@click.command(cls=Command, short_help="Show live progress of one job or all.")
@click.argument("job", required=False, shell_complete=job_names)
@all_namespaces_option
@target_options
def watch(job: str | None, store_url: str) -> None:
    """Show JOB's progress live until it ends, or that of all active jobs until none is left.

    Exit codes: 0 all done, 1 if one did not complete, 130 interrupted. Stopping the watch does not
    affect the job.
    """
    with opened_jobs(store_url) as jobs:
        one = jobs.get(job) if job else None
        with choose_screen(err, _full_name if jobs.all_namespaces else _name) as screen:
            code = _watch_one(jobs, one, screen) if one else _watch_all(jobs, screen)
    sys.exit(code)


def _name(job: JobResource) -> str:
    return job.name


def _full_name(job: JobResource) -> str:
    return job.full_name


def _watch_one(jobs: Jobs, job: JobResource, screen: Screen) -> int:
    for found in _looks(lambda: jobs.refresh(job), _EVERY_SECONDS):
        if found is None:
            return screen.gone(job)
        if found.at_rest:
            return screen.ended(found)
        screen.show([found])
    raise AssertionError("unreachable")


def _watch_all(jobs: Jobs, screen: Screen) -> int:
    watched: dict[str, JobResource] = {}
    code, looked = 0, False
    for found in _looks(jobs.all, _EVERY_SECONDS_FOR_ALL):
        now = {each.uid: each for each in found}
        at_work = {
            uid: each
            for uid, each in now.items()
            if not each.at_rest and each.phase != Phase.SUSPENDED
        }
        for uid, before in watched.items():
            if uid not in at_work:
                code = max(code, screen.ended(now[uid]) if uid in now else screen.gone(before))
        watched = at_work
        if not watched:
            break
        looked = True
        screen.show(list(watched.values()))
    if not looked:
        err.print("No job is active.")
    return code


@click.command(cls=Command, short_help="Wait for a job to end.")
@click.argument("job", required=False, shell_complete=job_names)
@click.option(
    "--for",
    "wanted",
    type=click.Choice(["End", "Complete", "Failed"], case_sensitive=False),
    default="End",
    show_default=True,
    help=(
        "What to wait for. Complete includes jobs with failed images, as the condition of that name"
        " does."
    ),
)
@click.option(
    "--timeout",
    type=Duration(),
    metavar="DURATION",
    help="For example 90s or 10m.  [default: none]",
)
@target_options
def wait(job: str | None, wanted: str, timeout: float | None, store_url: str) -> None:
    """Wait for JOB (the newest by default) to end.

    Exit codes: 0 the awaited state was reached (for End: all images done), 1 the job ended
    otherwise, 124 timeout.
    """
    with opened_jobs(store_url) as jobs:
        first = jobs.get(job)
        last: JobResource | None = first
        for last in _looks(lambda: jobs.refresh(first), _EVERY_SECONDS, timeout):
            if last is None:
                err.print(f"{first.name} was deleted", markup=False)
                sys.exit(1)
            if last.at_rest:
                out.print(
                    f"{last.name}  {shown_phase(last)}  {in_short(last)}",
                    markup=False,
                    soft_wrap=True,
                )
                sys.exit(0 if last.phase in _GOOD[wanted] else 1)
    now = last or first
    line = (
        f"{now.name}  {shown_phase(now)}  {in_short(now)}; timed out after"
        f" {formatting.duration(timeout)}"
    )
    err.print(line, markup=False, soft_wrap=True)
    sys.exit(_TIMED_OUT)


_GOOD = {
    "End": {Phase.COMPLETED},
    "Complete": {Phase.COMPLETED, Phase.COMPLETED_WITH_ERRORS},
    "Failed": {Phase.FAILED},
}


def _looks(look: Callable[[], T], every: float, timeout: float | None = None) -> Iterator[T]:
    """Poll until the time is over.

    Errors that may be temporary are waited out, except on the first try.
    """
    started = well = time.monotonic()
    first = True
    while True:
        try:
            found = look()
        except ClusterError as error:
            lasting = 400 <= error.status < 500 and error.status != 429
            if first or lasting or time.monotonic() - well > _PATIENCE_SECONDS:
                raise
        else:
            first = False
            well = time.monotonic()
            yield found
        left = every if timeout is None else min(every, started + timeout - time.monotonic())
        if left <= 0:
            return
        time.sleep(left)
