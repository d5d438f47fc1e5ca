"""What a store has recorded over all jobs: stats, outputs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from fpj_cli.context import err, find_job, opened_store, out, output_option, print_json, print_text, store_option
from fpj_cli.tables import Rows
from fpj_core import formatting
from fpj_core.sources.keys import display_key
from fpj_core.store.protocol import Store

_PAGE = 1_000


@click.command()
@click.argument("collection", required=False)
@click.option("--verify", is_flag=True, help="Count every record and compare; exit with 1 if a total is wrong.")
@click.option("--repair", is_flag=True, help="Count every record and set the totals that are wrong.")
@output_option
@store_option
def stats(collection: str | None, verify: bool, repair: bool, output: str, store_url: str) -> None:
    """Show totals per collection, tier and cache folder."""
    if verify or repair:
        raise SystemExit(_check_totals(collection, store_url, output, repair=repair))
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
    shown = Rows("COLLECTION", "IMAGES", "SOURCE", "TIER", "FILES", "SIZE")
    for each in collections:
        head = (each.collection, formatting.count(each.images), formatting.size(each.source_bytes))
        for tier, (files, size) in sorted(each.by_tier.items()):
            shown.add(*head, tier, formatting.count(files), formatting.size(size))
            head = ("", "", "")
    print_text(shown)
    shown = Rows("CACHE FOLDER", "LOCATION", "FILES", "SIZE", "COLLECTIONS")
    for folder in folders:
        held, location = formatting.size(folder.bytes), display_key(folder.location)
        shown.add(folder.name, location, formatting.count(folder.files), held, str(folder.collections))
    out.print()
    print_text(shown)


def _check_totals(collection: str | None, store_url: str, output: str, *, repair: bool) -> int:
    """Count again, say what is wrong; the exit code."""
    with opened_store(store_url) as store:
        checks = list((store.repair_counters if repair else store.verify_counters)(collection))
        for folder in store.folders() if repair else ():
            store.refresh_folder(folder.name)
    wrong = [drift for each in checks for drift in each.drifts]
    busy = [each.collection for each in checks if each.busy]
    if output == "json":
        print_json({"drifts": [asdict(each) for each in wrong], "busy": busy, "repaired": repair})
    else:
        shown = Rows("COLLECTION", "CACHE FOLDER", "TIER", "RECORDED", "COUNTED")
        for each in wrong:
            recorded, counted = (
                f"{formatting.count(n)} / {formatting.size(size)}" for n, size in (each.recorded, each.counted)
            )
            shown.add(each.collection, each.folder or "(images)", each.tier, recorded, counted)
        if wrong:
            print_text(shown)
        for name in busy:
            err.print(f"{name} was changed while it was counted: try again when no job works on it.")
        if not wrong and not busy:
            err.print("All totals are right.")
    return 1 if busy or (wrong and not repair) else 0


@click.command(short_help="List which file was made of which image.")
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
    shown = Rows("IMAGE", "TIER", "SIZE", "BYTES", "FILE")
    for row in rows:
        pixels, held = f"{row['width']}x{row['height']}", formatting.size(row["bytes"])
        shown.add(display_key(row["key"]), row["tier"], pixels, held, display_key(row["path"]))
    print_text(shown)


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
