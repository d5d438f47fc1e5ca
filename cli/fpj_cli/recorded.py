"""What a store has recorded over all jobs: stats."""

from __future__ import annotations

from dataclasses import asdict

import click

from fpj_cli.context import err, opened_store, out, output_option, print_json, print_text, store_option
from fpj_cli.tables import Rows
from fpj_core import formatting
from fpj_core.sources.keys import display_key


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
