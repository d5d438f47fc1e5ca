"""Comparing cache folders with what is recorded of them: `fpj verify`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.markup import escape

from fpj_cli.context import (
    UsageProblemError,
    err,
    find_job,
    folders_named,
    opened_store,
    print_json,
    print_text,
    say,
    store_option,
)
from fpj_cli.helptexts import Command
from fpj_cli.setup import job_names
from fpj_cli.tables import Rows, print_rows
from fpj_core import formatting
from fpj_core.folders.comparing import Difference, Kind
from fpj_core.kube.exits import CommandExit
from fpj_core.model import Folder
from fpj_core.sources.keys import display_key
from fpj_core.store.protocol import Store
from fpj_worker.inventory import Inventory, take_inventory
from fpj_worker.places import place_of_record

_MEANINGS = {
    Kind.MISSING: "recorded, not there",
    Kind.WRONG_SIZE: "of another size than recorded",
    Kind.UNRECORDED: "not recorded",
    Kind.LEAVING: "being removed",
    Kind.FOREIGN: "not fpj's",
    Kind.UNREADABLE: "not readable",
}
_LINE_SECONDS = 10.0
_SHOW_SECONDS = 0.2
_SOME = 3


@click.command(cls=Command, short_help="Compare cache folders with what is recorded of them.")
@click.option(
    "--folder", metavar="NAME", help="Only this cache folder, by name or place.  [default: all]"
)
@click.option(
    "--collection",
    metavar="NAME",
    shell_complete=job_names,
    help="Only what this collection, or this job's, has there.  [default: all]",
)
@click.option("--repair", is_flag=True, help="Forget records without file, remove files without.")
@click.option("-v", "--verbose", is_flag=True, help="Print every difference, not only some.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@store_option
def verify(
    folder: str | None,
    collection: str | None,
    repair: bool,
    verbose: bool,
    quiet: bool,
    as_json: bool,
    store_url: str,
) -> None:
    """Compare the files in cache folders with what is recorded, and say how they differ.

    With --repair, what is recorded and not there, or has another size, is forgotten: the next run
    makes it again. Files of fpj that are not recorded are removed once they are an hour old. What
    is not fpj's is never touched, and nothing is where the folder's marker is not this store's.
    Exit code 1 if something differs and was not repaired, 3 if a run held a collection that was to
    be repaired, 5 if a folder could not be compared.

    \b
    fpj verify
    fpj verify --folder /srv/cache --repair
    """  # noqa: D301 - click keeps the lines after a real backspace as they are
    with opened_store(store_url) as store:
        wanted = folders_named(store, folder)
        only = None if collection is None else collection_of(store, collection)
        found = []
        for record in wanted:
            with _progress(quiet=quiet) as show:
                found.append(
                    take_inventory(
                        store,
                        place_of_record(record).config.build(),
                        record.name,
                        show,
                        repair=repair,
                        collection=only,
                        on_found=_printer(record, as_json=as_json) if verbose else _silent,
                    )
                )
    if as_json:
        print_json([_document(each, repair=repair) for each in found])
    else:
        _show(found, repair=repair)
    sys.exit(_code(found, repair=repair))


def collection_of(store: Store, name: str) -> str:
    """The collection of that id, or of the job that ``name`` means.

    Raises `UsageProblemError` if there is none.
    """
    known = store.collections()
    if name in known:
        return name
    try:
        return find_job(store, name).collection
    except UsageProblemError:
        some = ", ".join(known[:5]) or "none"
        text = f"no collection named {name!r} in {store.location} (known: {some})"
        raise UsageProblemError(text) from None


def _silent(_found: Difference) -> None:
    """Print nothing."""


def _printer(record: Folder, *, as_json: bool) -> Callable[[Difference], None]:
    """Prints each difference in a line: beside JSON on standard error."""

    def show(found: Difference) -> None:
        file = display_key(f"{record.location}/{found.path}")
        line = f"{found.kind.value}  {file}"
        if as_json:
            print_text(line, err)
        else:
            print_text(line)

    return show


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[Inventory], None]]:
    """Shows how many files were compared: in place on a terminal, in a line now and then else."""
    shown_at = time.monotonic()
    pause = _SHOW_SECONDS if err.is_terminal else _LINE_SECONDS
    status = err.status("Comparing") if err.is_terminal and not quiet else None

    def show(found: Inventory) -> None:
        nonlocal shown_at
        now = time.monotonic()
        if quiet or now - shown_at < pause:
            return
        shown_at = now
        text = f"{display_key(found.location)}: {formatting.count(found.compared)} files compared"
        if status is not None:
            status.update(escape(text))
        else:
            print_text(text, err)

    if status is None:
        yield show
        return
    with status:
        yield show


def _show(found: list[Inventory], *, repair: bool) -> None:
    rows = Rows("CACHE FOLDER", "FILES", "DIFFERENCE", "BYTES", *(["REPAIRED"] if repair else []))
    shown = False
    for each in found:
        for kind, tally in each.kinds.items():
            if tally.files:
                shown = True
                done = [formatting.count(tally.repaired)] if repair else []
                cells = (each.folder, formatting.count(tally.files), _MEANINGS[kind])
                rows.add(*cells, formatting.size(tally.bytes), *done)
    if shown:
        print_rows(rows)
    for each in found:
        _tell(each, repair=repair)


def _tell(found: Inventory, *, repair: bool) -> None:
    """What there is to say beside the table."""
    place = display_key(found.location)
    if found.marker is not None:
        print_text(f"Not compared: {found.marker}", err)
        return
    for kind, tally in found.kinds.items():
        if tally.names:
            names = ", ".join(display_key(name) for name in tally.names[:_SOME])
            more = tally.files - min(len(tally.names), _SOME)
            rest = f" and {formatting.count(more)} more" if more else ""
            print_text(f"{place}, {_MEANINGS[kind]}: {names}{rest}", err)
    for collection in found.busy:
        what = "It was not repaired" if repair else "What is said of it may be of a moment"
        print_text(f"A run works on {collection}. {what}: try again when it has ended.", err)
    for trouble in found.troubles:
        print_text(f"{place}: {trouble}", err)
    if found.young:
        count = formatting.count(found.young)
        print_text(f"{count} files that are not recorded are less than an hour old, and stay.", err)
    same = formatting.count(found.compared)
    if not found.left and not found.troubles:
        say(f"{escape(place)}: {same} files are as recorded.")
    elif not repair and found.left:
        say(f"{escape(place)}: {same} files are as recorded. To repair the rest: --repair")


def _document(found: Inventory, *, repair: bool) -> dict[str, Any]:
    """What programs get: `fpj_cli.documents.Verification`."""
    return {
        "folder": found.folder,
        "location": found.location,
        "marker": found.marker,
        "compared": found.compared,
        "differences": {
            kind.value: {
                "files": tally.files,
                "bytes": tally.bytes,
                "repaired": tally.repaired,
                "names": tally.names,
            }
            for kind, tally in found.kinds.items()
        },
        "young": found.young,
        "busy": found.busy,
        "troubles": found.troubles,
        "repaired": repair,
    }


def _code(found: list[Inventory], *, repair: bool) -> CommandExit:
    if any(each.marker is not None or each.troubles for each in found):
        return CommandExit.ENVIRONMENT
    if repair and any(each.busy for each in found):
        return CommandExit.HELD
    return CommandExit.INCOMPLETE if any(each.left for each in found) else CommandExit.DONE
