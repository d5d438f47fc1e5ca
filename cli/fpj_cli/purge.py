"""Removing at once what was made of some images: `fpj purge`."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from fpj_cli.context import (
    UsageProblemError,
    confirm,
    err,
    opened_store,
    print_json,
    say,
    store_option,
)
from fpj_cli.export import collections_of, locations_of, tiers_of
from fpj_cli.finding import matcher, source_roots
from fpj_cli.helptexts import Command
from fpj_cli.setup import job_names
from fpj_cli.tables import Rows, print_rows, stream
from fpj_core import formatting
from fpj_core.errors import CacheFolderError, ImageError
from fpj_core.ids import image_id
from fpj_core.kube.exits import CommandExit
from fpj_core.kube.purgereport import Notified
from fpj_core.model import Derivative
from fpj_core.sources.keys import display_key
from fpj_core.store.protocol import Store, nothing
from fpj_worker.locking import locked
from fpj_worker.places import place_of_record
from fpj_worker.purging import Purge, PurgedFile
from fpj_worker.webhook import TOKEN, Webhook

_PAGE = 1_000
_MOST_SHOWN = 20
_HEADS = ("IMAGE", "TIER", "BYTES", "FILE")
_EVER = 2.0**62
"""Seconds: later than any moment."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file to remove, and the key of the image that it was made of."""

    key: str
    made: Derivative
    location: str

    @property
    def file(self) -> str:
        """Its whole path."""
        return f"{self.location}/{self.made.path}"

    def row(self) -> tuple[str, ...]:
        """Cells of a table."""
        size = formatting.size(self.made.bytes)
        return display_key(self.key), self.made.tier, size, display_key(self.file)

    def document(self) -> dict[str, Any]:
        """What programs get: `fpj_cli.documents.Purged`."""
        made = self.made
        return {
            "collection": made.collection,
            "source": self.key,
            "tier": made.tier,
            "path": self.file,
            "bytes": made.bytes,
        }


@click.command(cls=Command, short_help="Remove at once all files that were made of an image.")
@click.argument("name")
@click.option(
    "--job", shell_complete=job_names, help="Only in this job's collection.  [default: in all]"
)
@click.option(
    "--webhook", metavar="URL", help="Post the URLs of the removed files there, say to a CDN."
)
@click.option("--base-url", metavar="URL", help="What those URLs begin with; paths follow.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print what was removed as JSON.")
@store_option
def purge(
    name: str,
    job: str | None,
    webhook: str | None,
    base_url: str | None,
    yes: bool,
    as_json: bool,
    store_url: str,
) -> None:
    """Remove at once every file that was made of NAME: an image, an output, or an id.

    An image is found as by `fpj find`: by its name, the end of its path, or a pattern with * and ?.
    Lists what was removed. Originals are never touched: while the image is in the source, the next
    run makes its files again. Exit code 1 if nothing was made of it, 3 while a run holds its
    collection.

    A webhook gets JSON with the collection and at most 1,000 urls, and the token in
    FPJ_WEBHOOK_TOKEN, if that is set, as Authorization: Bearer. If it fails, the files are gone
    anyway.

    \b
    fpj purge IMG_0042.jpg
    fpj purge 'wedding/*' --yes --json > removed.json
    """  # noqa: D301 - click keeps the lines after a real backspace as they are
    hook = _webhook(webhook, base_url)
    with opened_store(store_url) as store:
        wanted = collections_of(store, job)
        found = [each for collection in wanted for each in _find(store, collection, name)]
        if not found:
            err.print(f"Nothing was made of {display_key(name)}.", markup=False, soft_wrap=True)
            sys.exit(CommandExit.INCOMPLETE)
        if not yes:
            _confirm(found)
        gone, troubles = _remove(store, found, hook)
    if as_json:
        print_json([each.document() for each in gone])
    else:
        stream(_HEADS, (each.row() for each in gone))
        size = sum(each.made.bytes for each in gone)
        say(f"Removed {formatting.count(len(gone))} files, {formatting.size(size)}.")
    if hook is not None:
        _tell(hook.notified)
    for trouble in troubles:
        err.print(f"Not removed: {trouble}", markup=False, soft_wrap=True)
    sys.exit(CommandExit.ENVIRONMENT if troubles else CommandExit.DONE)


def _find(store: Store, collection: str, name: str) -> Iterator[Found]:
    """Files of the images that are meant, also of those that vanished."""
    folders, tiers = locations_of(store), tiers_of(store, collection)
    matches = matcher(name, source_roots(store, collection), list(folders.values()))
    vanished = {ordinal: key for ordinal, _, key in store.vanished(collection, _EVER, nothing)}
    for start in range(0, store.next_ordinal(collection), _PAGE):
        stop = start + _PAGE
        keys = {image.ordinal: image.key for image in store.images(collection, start, stop)}
        made: dict[int, list[Derivative]] = {}
        for each in store.derivatives(collection, start, stop, tiers):
            made.setdefault(each.ordinal, []).append(each)
        for ordinal, files in made.items():
            key = keys.get(ordinal) or vanished.get(ordinal, "")
            if matches(key, image_id(collection, key), [each.path for each in files]):
                yield from (Found(key, f, folders.get(f.folder, f.folder)) for f in files)


def _confirm(found: Sequence[Found]) -> None:
    """Show some of the files and ask. Raises `click.Abort` for a no."""
    shown = Rows(*_HEADS)
    for each in found[:_MOST_SHOWN]:
        shown.add(*each.row())
    print_rows(shown, err)
    if len(found) > _MOST_SHOWN:
        say(f"and {formatting.count(len(found) - _MOST_SHOWN)} more")
    number = "this file" if len(found) == 1 else f"these {formatting.count(len(found))} files"
    confirm(f"Remove {number}?")


def _remove(
    store: Store, found: Sequence[Found], webhook: Webhook | None
) -> tuple[list[Found], list[str]]:
    """What was removed, and what stands in the way of the rest: the next run tries that again."""
    gone: list[Found] = []
    troubles: list[str] = []
    for collection in dict.fromkeys(each.made.collection for each in found):
        mine = [each for each in found if each.made.collection == collection]
        with locked(store, collection, f"purge-{uuid.uuid4()}") as lock:
            purge_of = Purge(store, collection, lock)
            purge_of.mark((each.made.ordinal, each.made.tier) for each in mine)
            troubles += _finish(store, purge_of, webhook)
            left = {
                (folder.name, each.path)
                for folder in store.folders()
                for each in store.removals(collection, folder.name)
            }
        gone += [each for each in mine if (each.made.folder, each.made.path) not in left]
    return gone, troubles


def _finish(store: Store, purge_of: Purge, webhook: Webhook | None) -> Iterator[str]:
    """The second phase, in each cache folder; what stands in its way."""

    def on_purged(purged: Sequence[PurgedFile]) -> None:
        if webhook is not None:
            webhook.notify(purged, purge_of.tick)

    for record in store.folders():
        folder = place_of_record(record).config.build()
        try:
            removed = purge_of.finish(folder, record.name, on_purged)
        except (CacheFolderError, ImageError) as error:
            yield str(error)
            continue
        yield from (f"{path}: {why}" for path, why in removed.troubles.items())


def _webhook(url: str | None, base_url: str | None) -> Webhook | None:
    """Raises `UsageProblemError`."""
    if url is None and base_url is None:
        return None
    if url is None or base_url is None:
        raise UsageProblemError("--webhook and --base-url go together")
    try:
        return Webhook(url, base_url, os.environ.get(TOKEN))
    except ValueError as error:
        raise UsageProblemError(f"--webhook: {error}") from None


def _tell(notified: Notified) -> None:
    """Whom the webhook has reached is in no receipt: a failure is said beside it."""
    if notified.failed:
        count = formatting.count(notified.failed)
        text = f"The webhook has not accepted {count} URLs: {notified.message}"
        err.print(text, markup=False, soft_wrap=True)
