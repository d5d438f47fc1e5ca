"""The commands that only look at jobs: get, describe, failures."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem
from rich.markup import escape
from typing_extensions import override

from fpj_cli.backend import Document, Jobs
from fpj_cli.context import (
    err,
    nothing_yet,
    opened_store,
    out,
    output_option,
    print_json,
    print_text,
)
from fpj_cli.helptexts import Command
from fpj_cli.local import failures_in
from fpj_cli.runscreen import STAGES
from fpj_cli.setup import job_names
from fpj_cli.tables import (
    Rows,
    age,
    errors,
    fields,
    left,
    percent,
    print_rows,
    rate,
    terminal_width,
)
from fpj_cli.target import (
    all_namespaces_option,
    in_cluster,
    opened_cluster,
    opened_jobs,
    operator_namespace_option,
    store_given,
    target_options,
)
from fpj_core import formatting
from fpj_core.errors import ErrorType
from fpj_core.formatting import seconds_of
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.events import Event
from fpj_core.kube.jobresource import JobResource
from fpj_core.kube.names import SYSTEM_NAMESPACE
from fpj_core.sources.filters import left_out_text
from fpj_core.sources.keys import display_key

_HEADS = ("NAME", "TYPE", "PHASE", "PROGRESS", "DONE", "FAILED", "RATE", "ETA", "AGE")
_SHOWN = 100
"""Failures that a table has where nobody says how many."""
_WIDE_HEADS = ("SKIPPED", "SHARDS", "LAST-PROGRESS")


@click.command(cls=Command, short_help="List jobs, newest first.")
@click.argument("job", required=False, shell_complete=job_names)
@click.option(
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="How many jobs to show, newest first.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json"]),
    default="table",
    show_default=True,
    help="Output format.",
)
@all_namespaces_option
@target_options
def get(job: str | None, limit: int, output: str, store_url: str) -> None:
    """List jobs, newest first, or show one JOB (a name, or the start of an id)."""
    found: list[JobResource] = []
    with nothing_yet(store_url, job), opened_jobs(store_url) as jobs:
        found = [jobs.get(job)] if job else jobs.all(limit + 1)
    shown = found[:limit]
    if output == "json":
        print_json([each.summary() for each in shown])
        return
    if not shown:
        make = "kubectl apply -f job.yaml" if in_cluster() else "fpj run FOLDER"
        where = f" in {jobs.place}" if in_cluster() else " yet"
        err.print(f"No jobs{where}. Make one with: [bold]{make}[/bold]", soft_wrap=True)
        return
    print_rows(_list(shown, wide=output == "wide", namespaces=jobs.all_namespaces))
    if len(found) > limit:
        err.print(f"There are older jobs; show more with --limit {limit * 10}.")


def _list(jobs: list[JobResource], *, wide: bool, namespaces: bool) -> Rows:
    heads = (*_HEADS[:-1], *(_WIDE_HEADS if wide else ()), _HEADS[-1])
    shown = Rows(*(("NAMESPACE",) if namespaces else ()), *heads)
    for job in jobs:
        progress = job.progress
        cells = [
            job.name,
            job.job_type,
            job.phase,
            percent(job),
            f"{job.done}/{progress['total']}",
            str(progress["failed"]),
            rate(job),
            left(job),
        ]
        if wide:
            cells += [str(progress["skipped"]), str(job.shards["total"]), age(job.last_progress_at)]
        shown.add(*((job.namespace or "",) if namespaces else ()), *cells, age(job.created_at))
    return shown


# One job ------------------------------------------------------------------------------------------


@click.command(cls=Command, short_help="Show one job in full.")
@click.argument("job", required=False, shell_complete=job_names)
@output_option
@target_options
def describe(job: str | None, output: str, store_url: str) -> None:
    """Show one JOB in full (the newest by default): stage, shards, failures by type, conditions,
    events.
    """
    with opened_jobs(store_url) as jobs:
        found = jobs.get(job)
        events, missing = _events(jobs, found)
    if output == "json":
        document = found.summary()
        document |= {
            "errorBreakdown": found.errors,
            "leftOut": found.left_out,
            "shards": found.shards,
            "conditions": found.conditions,
        }
        document |= {
            "events": [_event_document(each) for each in events],
            "manifest": found.manifest(),
        }
        print_json(document)
        return
    out.print(fields(_description(found), terminal_width()), soft_wrap=True)
    if len(found.conditions) > 1:
        _section("Conditions", _conditions(found))
    if events or missing:
        _section("Events", missing or _event_table(events))
    if hints := _hints(found):
        out.print("\n" + "\n".join(hints))


def _events(jobs: Jobs, job: JobResource) -> tuple[list[Event], str]:
    """Events, or why there are none: who may see a job need not be allowed to see events."""
    try:
        return jobs.events(job), ""
    except ClusterError as error:
        if error.status != 403:
            raise
        return [], "not shown: you are not allowed to list events"


def _description(job: JobResource) -> dict[str, str]:
    reason, message = job.why
    described = {
        "Name": job.name,
        "Namespace": job.namespace or "",
        "Id": job.uid,
        "Collection": job.collection,
        "Type": job.job_type,
        "Phase": f"{job.phase} (being deleted)" if job.deleting else job.phase,
        "Stage": _stage(job),
        "Reason": f"{reason}: {message}" if message else reason,
        **_numbers(job),
        **_attempt(job),
        "Created": _moment(job.created_at),
        "Started": _moment(job.started_at),
        "Last progress": _moment(job.last_progress_at),
        "Finished": _finish(job),
    }
    return {name: value for name, value in described.items() if value}


def _stage(job: JobResource) -> str:
    """Of a failed job too: where it failed."""
    if job.stage == "Finish":
        return ""
    return f"{job.stage} ({STAGES[job.stage].lower()})" if job.stage in STAGES else job.stage


def _numbers(job: JobResource) -> dict[str, str]:
    progress = job.progress
    if not progress["total"]:
        return {}
    return {
        "Progress": f"{progress['percent']}% of {formatting.count(progress['total'])} images",
        "Completed": formatting.count(progress["completed"]),
        "Skipped": formatting.count(progress["skipped"]),
        "Failed": (
            formatting.count(progress["failed"])
            + (f" ({errors(job.errors)})" if job.errors else "")
        ),
        "Left out": left_out_text(job.left_out),
        "Written": formatting.size(progress["bytesWritten"]),
        "Rate": rate(job),
        "Time left": left(job) if not job.finished else "",
        "Per image": f"{progress['averageProcessingMs']:.0f} ms",
        "Shards": _shards(job.shards),
    }


def _attempt(job: JobResource) -> dict[str, str]:
    attempt = job.status.get("attempt") or {}
    recoveries = int(job.status.get("recoveryAttempts") or 0)
    again = (
        f", recovered {'once' if recoveries == 1 else f'{recoveries} times'}" if recoveries else ""
    )
    return {
        "Cache folder": str(attempt.get("cacheFolder") or ""),
        "Attempt": f"{attempt['number']}{again}" if attempt.get("number") else "",
    }


def _finish(job: JobResource) -> str:
    if not job.finished_at:
        return ""
    took = (
        f" (took {formatting.duration(job.finished_at - job.started_at)})" if job.started_at else ""
    )
    return _moment(job.finished_at) + took


def _shards(shards: dict[str, int]) -> str:
    counted = [
        f"{formatting.count(number)} {name}"
        for name, number in shards.items()
        if number and name != "total"
    ]
    whole = formatting.count(shards["total"])
    return f"{whole} ({', '.join(counted)})" if counted else whole if shards["total"] else "none"


def _conditions(job: JobResource) -> Rows:
    """What was said already is not said again in every line."""
    said = {job.why[1]}
    shown = Rows("TYPE", "STATUS", "SINCE", "REASON", "MESSAGE")
    for each in job.conditions:
        message = str(each.get("message", ""))
        since = age(seconds_of(each.get("lastTransitionTime")) or None)
        words = "" if message in said else message
        said.add(message)
        shown.add(str(each["type"]), str(each["status"]), since, str(each.get("reason", "")), words)
    return shown


def _event_table(events: list[Event]) -> Rows:
    shown = Rows("AGE", "TYPE", "REASON", "MESSAGE")
    for each in events:
        often = f" (x{each.count})" if each.count > 1 else ""
        shown.add(
            age(each.at), "Warning" if each.warning else "Normal", each.reason, each.message + often
        )
    return shown


def _event_document(event: Event) -> Document:
    kind = "Warning" if event.warning else "Normal"
    moment = formatting.moment(event.at)
    return {
        "at": moment,
        "type": kind,
        "reason": event.reason,
        "message": event.message,
        "count": event.count,
    }


def _hints(job: JobResource) -> list[str]:
    """What to do next, where it is not plain."""
    command = "kubectl fpj" if job.namespace else "fpj"
    name = f"{escape(job.name)} -n {job.namespace}" if job.namespace else escape(job.name)
    hints = []
    if job.errors:
        hints.append(f"See each failed image with: [bold]{command} failures {name}[/bold]")
    if job.namespace and not job.seen:
        hints.append(
            "No operator has picked up this job yet. Is one running?"
            f" [bold]kubectl get pods -n {SYSTEM_NAMESPACE}[/bold]"
        )
    if job.deleting and job.finalizers:
        hints.append(
            f"If its operator no longer runs, remove its finalizer with: [bold]{command} release"
            f" {name}[/bold]"
        )
    elif job.incomplete:
        hints.append(f"Process the unfinished images with: [bold]{command} resume {name}[/bold]")
    return hints


def _section(title: str, content: Rows | str) -> None:
    out.print(f"\n[bold]{title}:[/bold]")
    print_rows(content) if isinstance(content, Rows) else print_text(content)


def _moment(seconds: float | None) -> str:
    return formatting.moment(seconds) if seconds else ""


# Failures -----------------------------------------------------------------------------------------


class _ErrorTypes(click.Choice[str]):
    """In the words of the tables, which click would turn into small letters."""

    @override
    def get_invalid_choice_message(self, value: object, ctx: click.Context | None) -> str:
        return f"{str(value)!r} is not one of {', '.join(self.choices)}"

    @override
    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        typed = incomplete.casefold()
        return [CompletionItem(each) for each in self.choices if each.casefold().startswith(typed)]


@click.command(cls=Command, short_help="List the images that failed, and why.")
@click.argument("job", required=False, shell_complete=job_names)
@click.option(
    "--type",
    "error_type",
    type=_ErrorTypes([each.value for each in ErrorType], case_sensitive=False),
    metavar="TYPE",
    help="Only failures of this type, e.g. CorruptImage.",
)
@click.option(
    "--limit", type=click.IntRange(1), help=f"How many to show.  [default: {_SHOWN}; as JSON all]"
)
@output_option
@operator_namespace_option
@target_options
def failures(
    job: str | None, error_type: str | None, limit: int | None, output: str, store_url: str
) -> None:
    """List the images that failed in JOB (the newest by default),
    each with its path and the reason.

    In a cluster they are read from the store that --store names, or else in the operator's pod.
    """
    if limit is None and output != "json":
        limit = _SHOWN
    if in_cluster():
        found, listed = _cluster_failures(job, error_type, limit, store_url)
    else:
        with opened_jobs(store_url) as jobs:
            found = jobs.get(job)
            listed = jobs.failures(found, error_type, limit)
    if output == "json":
        print_json(listed)
        return
    if not listed:
        err.print(f"No failed images in {escape(found.name)}.", soft_wrap=True)
        return
    shown = Rows("IMAGE", "ERROR", "ATTEMPTS", "REASON")
    for failure in listed:
        shown.add(
            display_key(failure["key"]),
            failure["errorType"],
            str(failure["attempts"]),
            failure["message"],
        )
    print_rows(shown)
    failed = found.errors.get(error_type, 0) if error_type else found.progress["failed"]
    if failed > len(listed):
        err.print(f"{formatting.count(failed - len(listed))} more; see them with --limit {failed}.")


def _cluster_failures(
    job: str | None, error_type: str | None, limit: int | None, store_url: str
) -> tuple[JobResource, list[Document]]:
    with opened_cluster(may_have_store=True) as jobs:
        found = jobs.get(job)
        if not store_given():
            return found, jobs.failures(found, error_type, limit)
    with opened_store(store_url) as store:
        return found, failures_in(store, found.uid, error_type, limit)
