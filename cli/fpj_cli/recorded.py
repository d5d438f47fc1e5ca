"""What a store has recorded over all jobs: stats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from fpj_cli.context import (
    UsageProblemError,
    err,
    find_job,
    nothing_yet,
    opened_store,
    out,
    output_option,
    print_json,
    store_option,
)
from fpj_cli.helptexts import Command
from fpj_cli.setup import job_names
from fpj_cli.tables import Rows, print_rows
from fpj_core import formatting
from fpj_core.model import Folder
from fpj_core.sources.keys import display_key
from fpj_core.store.counters import Drift
from fpj_core.store.protocol import CollectionStatistics, Store


@click.command(cls=Command)
@click.argument("collection", required=False, shell_complete=job_names)
@click.option(
    "--verify",
    is_flag=True,
    help="Count every record and compare; exit with 1 if a total is wrong.",
)
@click.option(
    "--repair", is_flag=True, help="Count every record and correct the totals that are wrong."
)
@output_option
@store_option
def stats(collection: str | None, verify: bool, repair: bool, output: str, store_url: str) -> None:
    """Show totals per collection, tier and cache folder."""
    if verify or repair:
        raise SystemExit(_check_totals(collection, store_url, output, repair=repair))
    collections: list[CollectionStatistics] = []
    folders: list[Folder] = []
    location = store_url
    with nothing_yet(store_url, collection), opened_store(store_url) as store:
        collections = _known(store, collection)
        folders = [_as_now(store, each) for each in store.folders()]
        location = store.location
    if output == "json":
        print_json(
            {
                "collections": [_of_collection(c) for c in collections],
                "folders": [_of_folder(f) for f in folders],
            }
        )
        return
    if not collections:
        err.print(f"Nothing recorded in {location} yet.")
        return
    shown = Rows("COLLECTION", "IMAGES", "SOURCE", "TIER", "FILES", "SIZE")
    for each in collections:
        head = (each.collection, formatting.count(each.images), formatting.size(each.source_bytes))
        for tier, (files, size) in sorted(each.by_tier.items()):
            shown.add(*head, tier, formatting.count(files), formatting.size(size))
            head = ("", "", "")
        if not each.by_tier:
            shown.add(*head, "-", "0", "-")
    print_rows(shown)
    shown = Rows("CACHE FOLDER", "LOCATION", "FILES", "SIZE", "LIMIT", "COLLECTIONS")
    for folder in folders:
        held, location = formatting.size(folder.bytes), display_key(folder.location)
        most = "-" if folder.max_bytes is None else formatting.size(folder.max_bytes)
        files_held = formatting.count(folder.files)
        shown.add(folder.name, location, files_held, held, most, str(folder.collections))
    out.print()
    print_rows(shown)


def _as_now(store: Store, folder: Folder) -> Folder:
    """A folder's record has what it held when a job last ended."""
    files, size, collections = store.folder_totals(folder.name)
    return replace(folder, files=files, bytes=size, collections=collections)


def _known(store: Store, collection: str | None) -> list[CollectionStatistics]:
    """Of all, or of one, which may be named as a job is.

    Raises `UsageProblemError` for one that is not there.
    """
    found = store.statistics(collection)
    if collection is None or found:
        return found
    found = [
        each for each in store.statistics() if each.collection == _collection_of(store, collection)
    ]
    if not found:
        known = ", ".join(each.collection for each in store.statistics()[:5]) or "none"
        raise UsageProblemError(
            f"no collection named {collection!r} in {store.location} (known: {known})"
        )
    return found


def _collection_of(store: Store, name: str) -> str | None:
    """The collection of the job that ``name`` means; None if it means none."""
    try:
        return find_job(store, name).collection
    except UsageProblemError:
        return None


def _of_collection(found: CollectionStatistics) -> dict[str, Any]:
    tiers = {
        tier: {"files": files, "bytes": size}
        for tier, (files, size) in sorted(found.by_tier.items())
    }
    return {
        "collection": found.collection,
        "images": found.images,
        "sourceBytes": found.source_bytes,
        "tiers": tiers,
    }


def _of_folder(folder: Folder) -> dict[str, Any]:
    return {
        "name": folder.name,
        "location": folder.location,
        "layout": folder.layout.value,
        "priority": folder.priority,
        "maxBytes": folder.max_bytes,
        "files": folder.files,
        "bytes": folder.bytes,
        "collections": folder.collections,
    }


def _of_drift(drift: Drift) -> dict[str, Any]:
    sides = (("recorded", drift.recorded), ("counted", drift.counted))
    numbers = {name: {"files": files, "bytes": size} for name, (files, size) in sides}
    return {"collection": drift.collection, "folder": drift.folder, "tier": drift.tier} | numbers


def _check_totals(collection: str | None, store_url: str, output: str, *, repair: bool) -> int:
    """Count again, say what is wrong; the exit code."""
    with opened_store(store_url) as store:
        checks = list((store.repair_counters if repair else store.verify_counters)(collection))
        for folder in store.folders() if repair else ():
            store.refresh_folder(folder.name)
    wrong = [drift for each in checks for drift in each.drifts]
    busy = [each.collection for each in checks if each.busy]
    if output == "json":
        print_json(
            {"drifts": [_of_drift(each) for each in wrong], "busy": busy, "repaired": repair}
        )
    else:
        shown = Rows("COLLECTION", "CACHE FOLDER", "TIER", "RECORDED", "COUNTED")
        for each in wrong:
            recorded, counted = (
                f"{formatting.count(n)} / {formatting.size(size)}"
                for n, size in (each.recorded, each.counted)
            )
            shown.add(each.collection, each.folder or "(images)", each.tier, recorded, counted)
        if wrong:
            print_rows(shown)
        for name in busy:
            err.print(
                f"{name} was changed while it was counted: try again when no job works on it."
            )
        if not wrong and not busy:
            err.print("All totals are correct.")
    return 1 if busy or (wrong and not repair) else 0
