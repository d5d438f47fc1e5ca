"""The commands that only look: get, describe, failures, stats, outputs."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from fpj_cli import formatting
from fpj_cli.context import err, find_job, opened_store, out, output_option, print_json, shown_phase, store_option
from fpj_core.model import Failure, Job
from fpj_core.progress import Progress, measure
from fpj_core.sources.keys import display_key
from fpj_core.store.protocol import Store

_PAGE = 1_000


@click.command()
@click.argument("job", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="Newest jobs to show.")
@output_option
@store_option
def get(job: str | None, limit: int, output: str, store_url: str) -> None:
    """List jobs, newest first, or show one JOB (a name, or the start of an id)."""
    with opened_store(store_url) as store:
        jobs = [find_job(store, job)] if job else store.jobs(limit=limit)
        rows = [(each, shown_phase(store, each), _progress(store, each)) for each in jobs]
    if output == "json":
        print_json([_job_document(each, phase, progress) for each, phase, progress in rows])
        return
    if not rows:
        err.print("No jobs yet. Make one with: [bold]fpj run FOLDER[/bold]")
        return
    table = _table("NAME", "TYPE", "PHASE", "PROGRESS", "DONE", "FAILED", "RATE", "ETA", "AGE")
    for each, phase, progress in rows:
        _add(table, *_row(each, phase, progress))
    out.print(table)


@click.command()
@click.argument("job", required=False)
@output_option
@store_option
def describe(job: str | None, output: str, store_url: str) -> None:
    """Show one JOB in full (the newest by default): settings, stages, shards, failures by type."""
    with opened_store(store_url) as store:
        found = find_job(store, job)
        counts, states = store.job_counts(found.id)
        progress = measure(found, counts)
        phase = shown_phase(store, found)
    errors = dict((found.base + counts).errors)
    if output == "json":
        document = _job_document(found, phase, progress)
        document |= {"errorBreakdown": errors, "shards": dict(states), "manifest": found.manifest}
        print_json(document)
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in _description(found, phase, progress).items():
        grid.add_row(Text(f"{name}:", style="bold"), Text(value))
    grid.add_row(Text("Shards:", style="bold"), Text(_pairs({state.value: n for state, n in states.items()})))
    grid.add_row(Text("Failures:", style="bold"), Text(_pairs(errors)))
    out.print(grid)
    if errors:
        out.print(f"\nSee each one with: [bold]fpj failures {found.name}[/bold]")


@click.command()
@click.argument("job", required=False)
@click.option("--type", "error_type", help="Only failures of this type, e.g. CorruptImage.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="How many to show.")
@output_option
@store_option
def failures(job: str | None, error_type: str | None, limit: int, output: str, store_url: str) -> None:
    """List the images that failed in JOB (the newest by default), each with its path and the reason."""
    with opened_store(store_url) as store:
        found = find_job(store, job)
        listed = _failures(store, found.id, error_type, limit)
    if output == "json":
        print_json([asdict(failure) | {"error_type": failure.error_type.value} for failure in listed])
        return
    if not listed:
        err.print(f"No failed images in {found.name}.")
        return
    table = _table("IMAGE", "ERROR", "ATTEMPTS", "REASON")
    for failure in listed:
        _add(table, display_key(failure.key), failure.error_type.value, str(failure.attempts), failure.message)
    out.print(table)


@click.command()
@click.argument("collection", required=False)
@output_option
@store_option
def stats(collection: str | None, output: str, store_url: str) -> None:
    """Show totals per collection, tier and cache folder."""
    with opened_store(store_url) as store:
        collections = store.statistics(collection)
        folders = store.folders()
        location = store.location
    if output == "json":
        print_json({"collections": [asdict(each) for each in collections], "folders": [asdict(f) for f in folders]})
        return
    if not collections:
        err.print(f"Nothing recorded in {location} yet.")
        return
    table = _table("COLLECTION", "IMAGES", "SOURCE", "TIER", "FILES", "SIZE")
    for each in collections:
        head = (each.collection, formatting.count(each.images), formatting.size(each.source_bytes))
        for tier, (files, size) in sorted(each.by_tier.items()):
            _add(table, *head, tier, formatting.count(files), formatting.size(size))
            head = ("", "", "")
    out.print(table)
    table = _table("CACHE FOLDER", "LOCATION", "FILES", "SIZE", "COLLECTIONS")
    for folder in folders:
        held = formatting.size(folder.bytes)
        _add(
            table,
            folder.name,
            display_key(folder.location),
            formatting.count(folder.files),
            held,
            str(folder.collections),
        )
    out.print()
    out.print(table)


@click.command()
@click.argument("job", required=False)
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="How many images to show.")
@output_option
@store_option
def outputs(job: str | None, limit: int, output: str, store_url: str) -> None:
    """List which file was made of which image of JOB's collection (the newest job by default)."""
    with opened_store(store_url) as store:
        found = find_job(store, job)
        rows = _outputs(store, found.collection, limit)
    if output == "json":
        print_json(rows)
        return
    table = _table("IMAGE", "TIER", "SIZE", "BYTES", "FILE")
    for row in rows:
        pixels = f"{row['width']}x{row['height']}"
        _add(
            table, display_key(row["key"]), row["tier"], pixels, formatting.size(row["bytes"]), display_key(row["path"])
        )
    out.print(table)


def _failures(store: Store, job_id: str, error_type: str | None, limit: int) -> list[Failure]:
    listed: list[Failure] = []
    while len(listed) < limit:
        after = listed[-1].ordinal if listed else -1
        page = store.failures(job_id, error_type=error_type, after=after, limit=min(limit - len(listed), _PAGE))
        if not page:
            break
        listed.extend(page)
    return listed


def _outputs(store: Store, collection: str, limit: int) -> list[dict[str, Any]]:
    tiers = [tier for each in store.statistics(collection) for tier in each.by_tier]
    locations = {folder.name: folder.location for folder in store.folders()}
    rows: list[dict[str, Any]] = []
    images = 0
    stop = store.next_ordinal(collection)
    for start in range(0, stop, _PAGE):
        derivatives = store.derivatives(collection, start, min(start + _PAGE, stop), tiers)
        for image in store.images(collection, start, min(start + _PAGE, stop)):
            if images == limit:
                return rows
            images += 1
            rows += [
                {
                    "key": image.key,
                    "tier": derivative.tier,
                    "width": derivative.width,
                    "height": derivative.height,
                    "bytes": derivative.bytes,
                    "path": f"{locations.get(derivative.folder, derivative.folder)}/{derivative.path}",
                }
                for derivative in derivatives
                if derivative.image == image.id
            ]
    return rows


def _progress(store: Store, job: Job) -> Progress:
    return measure(job, store.job_counts(job.id)[0])


def _row(job: Job, phase: str, progress: Progress) -> list[str]:
    done = progress.completed + progress.skipped + progress.failed
    return [
        job.name,
        str(_spec(job).get("jobType", "")),
        phase,
        f"{progress.percent}%" if job.total else "-",
        f"{done}/{job.total}",
        str(progress.failed),
        formatting.rate(progress.images_per_second),
        "-" if job.phase.finished else formatting.duration(progress.eta_seconds),
        formatting.duration(time.time() - job.created_at),
    ]


def _spec(job: Job) -> dict[str, Any]:
    spec = job.manifest.get("spec", {})
    return spec if isinstance(spec, dict) else {}


def _description(job: Job, phase: str, progress: Progress) -> dict[str, str]:
    described = {
        "Name": job.name,
        "Id": job.id,
        "Collection": job.collection,
        "Type": str(_spec(job).get("jobType", "")),
        "Phase": phase,
        "Stage": job.stage,
        "Reason": f"{job.reason}: {job.message}" if job.message else job.reason,
        "Progress": f"{progress.percent}% of {formatting.count(progress.total)} images",
        "Completed": formatting.count(progress.completed),
        "Skipped": formatting.count(progress.skipped),
        "Failed": formatting.count(progress.failed),
        "Written": formatting.size(progress.bytes_written),
        "Rate": formatting.rate(progress.images_per_second),
        "Per image": f"{progress.average_processing_ms:.0f} ms",
        "Started": _moment(job.started_at),
        "Finished": _moment(job.finished_at),
    }
    return {name: value for name, value in described.items() if value}


def _job_document(job: Job, phase: str, progress: Progress) -> dict[str, Any]:
    return {
        "jobId": job.id,
        "name": job.name,
        "collection": job.collection,
        "jobType": _spec(job).get("jobType"),
        "phase": phase,
        "stage": job.stage,
        "reason": job.reason,
        "message": job.message,
        "progress": progress.as_status(),
        "startTime": _moment(job.started_at) or None,
        "completionTime": _moment(job.finished_at) or None,
    }


def _moment(seconds: float | None) -> str:
    """RFC 3339 in UTC, as in Kubernetes objects."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else ""


def _pairs(numbers: dict[str, int]) -> str:
    return ", ".join(f"{name} {formatting.count(number)}" for name, number in sorted(numbers.items())) or "none"


def _table(*columns: str) -> Table:
    """The look of kubectl: no borders, upper-case heads."""
    table = Table(box=None, header_style="", pad_edge=False, padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column not in {"IMAGE", "REASON", "FILE", "LOCATION"})
    return table


def _add(table: Table, *cells: str) -> None:
    """A row of plain text: brackets in a file's name are no markup."""
    table.add_row(*map(Text, cells))
