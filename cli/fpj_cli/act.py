"""The commands that change jobs: suspend, resume, recover, release."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from fpj_cli.context import UsageProblemError, confirm, err, find_job, opened_store, out
from fpj_cli.helptexts import Command
from fpj_cli.local import StoreJobs
from fpj_cli.run import GoingOn, accept_source_option, accept_vanished_option, go_on, wait_option
from fpj_cli.setup import job_names
from fpj_cli.tables import Rows, print_rows
from fpj_cli.target import (
    all_namespaces_option,
    cluster_options,
    in_cluster,
    opened_cluster,
    opened_jobs,
    target_options,
)
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.jobresource import JobResource
from fpj_core.kube.names import FINALIZERS
from fpj_core.kube.steering import Action, refusal_of

_yes = click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
_workers = click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="On this machine: worker processes.  [default: one per core]",
)
_ACCEPTED = {"accept_vanished": "acceptVanished", "accept_source": "acceptSource"}


def _going_on(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of the commands that continue a job on this machine."""
    for option in (accept_source_option, accept_vanished_option, wait_option, _workers):
        command = option(command)
    return command


@click.command(cls=Command, short_help="Stop a job; finished images are kept.")
@click.argument("job", shell_complete=job_names)
@target_options
def suspend(job: str, store_url: str) -> None:
    """Stop JOB. Finished images are kept, and `resume` continues from there."""
    with opened_jobs(store_url) as jobs:
        found = jobs.get(job)
        if already := _already(Action.SUSPEND, found):
            _say(found, already)
            return
        jobs.suspend(found)
    _say(found, "suspended")


@click.command(cls=Command, short_help="Continue a job; only unfinished images are processed.")
@click.argument("job", required=False, shell_complete=job_names)
@_going_on
@click.option(
    "--json", "as_json", is_flag=True, help="On this machine: print one JSON object at the end."
)
@click.option(
    "-q", "--quiet", is_flag=True, help="On this machine: show no progress and no summary."
)
@target_options
def resume(job: str | None, as_json: bool, quiet: bool, store_url: str, **how: Any) -> None:
    """Continue JOB, suspended or finished.

    Only unfinished images are processed, including those that failed.

    On this machine the command does the work itself, and JOB is the newest by default. In a cluster
    the operator does it.
    """
    if not in_cluster():
        with opened_store(store_url) as store:
            code = go_on(store, find_job(store, job), GoingOn(**how), as_json=as_json, quiet=quiet)
        sys.exit(code)
    _refuse_accepting(how)
    with opened_cluster() as jobs:
        found = jobs.get(_named(job))
        again = f" (to start it again: kubectl fpj recover {found.name})"
        if already := _already(Action.RESUME, found, hint=again):
            _say(found, already)
            return
        jobs.resume(found)
    _say(found, "resumed")


@click.command(cls=Command, short_help="Retry what failed, in one job or all.")
@click.argument("job", required=False, shell_complete=job_names)
@click.option("--all", "every", is_flag=True, help="Every job that failed or has failed images.")
@_yes
@_going_on
@all_namespaces_option
@target_options
def recover(job: str | None, every: bool, yes: bool, store_url: str, **how: Any) -> None:
    """Retry what failed in JOB, or in all jobs with --all. Only unfinished images are processed.

    A running job, for example a stuck one, starts a new attempt.
    """
    _one_or_all(job, every=every)
    if in_cluster():
        _refuse_accepting(how)
        _recover_in_cluster(job, yes=yes)
    else:
        sys.exit(_recover_here(store_url, job, GoingOn(**how), yes=yes))


@click.command(
    cls=Command, short_help="Remove the finalizer of a deleted job whose operator no longer runs."
)
@click.argument("job", required=False, shell_complete=job_names)
@click.option("--all", "every", is_flag=True, help="Every job that is being deleted.")
@_yes
@all_namespaces_option
@cluster_options
def release(job: str | None, every: bool, yes: bool) -> None:
    """Remove the finalizers that an operator gave a deleted JOB,
    if no operator runs any more.

    A running operator does this itself within seconds. Finalizers of other controllers stay. Child
    Jobs are garbage-collected either way, and files that were made are kept.
    """
    _one_or_all(job, every=every)
    with opened_cluster() as jobs:
        if job is not None:
            found = [jobs.get(job)]
            if not found[0].deleting:
                raise UsageProblemError(
                    f"{job} is not being deleted; first: kubectl delete fpj {job} --wait=false"
                )
        else:
            found = [each for each in jobs.all() if each.deleting]
        held = [each for each in found if FINALIZERS.intersection(each.finalizers)]
        if not held:
            others = [name for each in found for name in each.finalizers]
            why = f"; {', '.join(others)} must be removed by whoever set it" if others else ""
            err.print(f"No finalizer of fpj to remove{why}.", soft_wrap=True)
            return
        if not yes:
            err.print(
                "Use this only if the operator no longer runs: a running one stops the pods first"
                " and does this itself."
            )
        _confirm(held, "Release", yes=yes)
        _each(held, jobs.release, "released")


def _recover_in_cluster(job: str | None, *, yes: bool) -> None:
    with opened_cluster() as jobs:
        if job is None:
            found = [each for each in jobs.all() if each.incomplete and not each.deleting]
            if not found:
                err.print(f"Nothing to recover in {jobs.place}: no job failed.", soft_wrap=True)
                return
            _confirm(found, "Recover", yes=yes)
        else:
            found = [_recoverable(jobs.get(job))]
            if not found[0].finished:
                _confirm(found, "Start a new attempt of", yes=yes)
        _each(found, jobs.resume, "recovering")


def _recover_here(store_url: str, job: str | None, how: GoingOn, *, yes: bool) -> int:
    with opened_store(store_url) as store:
        jobs = StoreJobs(store)
        if job is None:
            found = [each for each in jobs.all() if each.incomplete]
            if not found:
                err.print(f"Nothing to recover in {jobs.place}: no job failed.", soft_wrap=True)
                return 0
            _confirm(found, "Recover", yes=yes)
        else:
            found = [_recoverable(jobs.get(job))]
        return max(go_on(store, find_job(store, each.uid), how) for each in found)


def _refuse_accepting(how: Mapping[str, Any]) -> None:
    """In a cluster the manifest must say so: it is what others read."""
    for name, field in _ACCEPTED.items():
        if how[name]:
            raise UsageProblemError(
                f"--{name.replace('_', '-')} applies only to jobs on this machine; in a cluster set"
                f" spec.collection.{field}"
            )


def _recoverable(job: JobResource) -> JobResource:
    _already(Action.RECOVER, job)
    return job


def _already(action: Action, job: JobResource, hint: str = "") -> str:
    """Why there is nothing to do; empty where there is.

    Raises `UsageProblemError` where the action is not allowed.
    """
    refusal = refusal_of(action, job)
    if refusal is None:
        return ""
    if refusal.asked_already:
        return refusal.why
    raise UsageProblemError(f"{job.name} {refusal.why}{'' if job.deleting else hint}")


def _one_or_all(job: str | None, *, every: bool) -> None:
    if every == (job is not None):
        raise UsageProblemError("name one JOB, or use --all")


def _named(job: str | None) -> str:
    """On this machine JOB is the newest by default.

    In a cluster the newest may be somebody else's.
    """
    if job is None:
        raise UsageProblemError("name the JOB")
    return job


def _confirm(jobs: Sequence[JobResource], what: str, *, yes: bool) -> None:
    """Show the jobs and ask for confirmation. Raises `click.Abort` for a no."""
    if yes:
        return
    shown = Rows("NAME", "PHASE", "FAILED", "REASON")
    for job in jobs:
        shown.add(job.full_name, job.phase, str(job.progress["failed"]), job.why[1])
    print_rows(shown, err)
    number = "this job" if len(jobs) == 1 else f"these {len(jobs)} jobs"
    confirm(f"{what} {number}?")


def _each(jobs: Sequence[JobResource], do: Callable[[JobResource], None], done: str) -> None:
    """One refusal does not keep the others from being done."""
    refused = 0
    for job in jobs:
        try:
            do(job)
        except ClusterError as error:
            if len(jobs) == 1 or not error.status:
                raise
            refused += 1
            err.print(f"{job.full_name}: {error}", markup=False, soft_wrap=True)
        else:
            _say(job, done)
    if refused:
        sys.exit(1)


def _say(job: JobResource, what: str) -> None:
    out.print(f"{job.full_name} {what}", markup=False)
