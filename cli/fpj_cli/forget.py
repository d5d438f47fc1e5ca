"""Forgetting a whole collection, with its files: `fpj forget`."""

from __future__ import annotations

import sys
import uuid
from typing import Any

import click

from fpj_cli.context import confirm, err, opened_store, print_json, print_text, say, store_option
from fpj_cli.export import locations_of
from fpj_cli.helptexts import Command
from fpj_cli.setup import job_names
from fpj_cli.tables import Rows, print_rows
from fpj_cli.verify import collection_of
from fpj_core import formatting
from fpj_core.kube.exits import CommandExit
from fpj_core.sources.keys import display_key
from fpj_core.store.protocol import nothing
from fpj_worker.forgetting import Forgotten, Holdings, holdings_of
from fpj_worker.forgetting import forget as forget_all
from fpj_worker.locking import locked
from fpj_worker.places import place_of_record


@click.command(cls=Command, short_help="Remove all files and records of a collection.")
@click.argument("collection", shell_complete=job_names)
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="Print what was removed as JSON.")
@store_option
def forget(collection: str, yes: bool, dry_run: bool, as_json: bool, store_url: str) -> None:
    """Remove every file that was made of COLLECTION, and all that is recorded of it.

    COLLECTION may also be named by one of its jobs. Its images, their names, its jobs and their
    failures are forgotten. Originals are never touched. A command that was interrupted goes on when
    it is given again. Exit code 3 while a run holds the collection; nothing is forgotten while a
    cache folder with files of it cannot be reached.

    \b
    fpj forget photos-1a2b3c4d --dry-run
    fpj forget photos-1a2b3c4d --yes
    """  # noqa: D301 - click keeps the lines after a real backspace as they are
    with opened_store(store_url) as store:
        name = collection_of(store, collection)
        places = locations_of(store)
        if dry_run or not yes:
            held = holdings_of(store, name, nothing)
            if dry_run:
                _print_holdings(held, places, as_json=as_json)
                sys.exit(CommandExit.DONE)
            _print_table(held, places)
            confirm(f"Forget the collection {name}, with all its files?")
        with locked(store, name, f"forget-{uuid.uuid4()}") as lock:
            held = holdings_of(store, name, lock.renew)
            folders = {each.name: place_of_record(each).config.build() for each in store.folders()}
            done = forget_all(store, held, folders, lock, nothing)
    if as_json:
        print_json(_document(held, places, done))
    else:
        _print_receipt(done)
    for trouble in done.troubles:
        print_text(f"Not removed: {trouble}", err)
    sys.exit(CommandExit.ENVIRONMENT if done.troubles else CommandExit.DONE)


def _print_holdings(held: Holdings, places: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json(_document(held, places, None))
    else:
        _print_table(held, places)


def _print_table(held: Holdings, places: dict[str, str]) -> None:
    """What would go: on standard error, where the question is asked, too."""
    if held.files:
        rows = Rows("CACHE FOLDER", "TIER", "FILES", "BYTES")
        for (folder, tier), (files, size) in sorted(held.files.items()):
            where = display_key(places.get(folder, folder))
            rows.add(where, tier, formatting.count(files), formatting.size(size))
        print_rows(rows, err)
    files = sum(number for number, _ in held.files.values())
    size = sum(total for _, total in held.files.values())
    say(
        f"{formatting.count(files)} files, {formatting.size(size)}; the records of"
        f" {formatting.count(held.images)} images and {formatting.count(held.jobs)} jobs."
    )


def _print_receipt(done: Forgotten) -> None:
    removed = done.removed
    said = f"Removed {formatting.count(removed.files)} files, {formatting.size(removed.bytes)}"
    if done.troubles:
        say(f"{said}. The rest is recorded as before: give the command again.")
        return
    images, jobs = formatting.count(done.images), formatting.count(done.jobs)
    say(f"{said}. The records of {images} images and {jobs} jobs are gone.")
    if done.unrecorded:
        count = formatting.count(done.unrecorded)
        print_text(f"{count} files without a record are less than an hour old, and stay.", err)


def _document(held: Holdings, places: dict[str, str], done: Forgotten | None) -> dict[str, Any]:
    """What programs get: `fpj_cli.documents.ForgottenCollection`."""
    return {
        "collection": held.collection,
        "dryRun": done is None,
        "files": done.removed.files if done else sum(n for n, _ in held.files.values()),
        "bytes": done.removed.bytes if done else sum(size for _, size in held.files.values()),
        "held": [
            {
                "folder": folder,
                "location": places.get(folder, folder),
                "tier": tier,
                "files": files,
                "bytes": size,
            }
            for (folder, tier), (files, size) in sorted(held.files.items())
        ],
        "images": done.images if done else held.images,
        "jobs": done.jobs if done else held.jobs,
        "unrecorded": done.unrecorded if done else 0,
        "troubles": list(done.troubles) if done else [],
    }
