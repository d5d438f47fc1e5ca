"""What was made, for other programs: `fpj export`, `fpj find`."""

from __future__ import annotations

import base64
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import click

from fpj_cli.context import (
    UsageProblemError,
    err,
    find_job,
    opened_store,
    output_option,
    print_json,
    store_option,
)
from fpj_cli.finding import matcher, source_roots
from fpj_cli.helptexts import Command
from fpj_cli.setup import job_names
from fpj_cli.tables import stream
from fpj_core import formatting
from fpj_core.model import Derivative, Folder, ImageRecord
from fpj_core.sources.keys import display_key
from fpj_core.store.protocol import Store
from fpj_worker.indexer import listing_problem

_PAGE = 1_000
_COLUMNS = (
    "source",
    "id",
    "bytes",
    "width",
    "height",
    "format",
    "thumbHash",
    "color",
    "capturedAt",
    "srcset",
)
_OF_TIER = ("folder", "path", "width", "height", "bytes")

Made = tuple[ImageRecord, list[Derivative]]
Document = dict[str, Any]


@click.command(
    cls=Command, short_help="Write one line per image, for other programs: JSON Lines or CSV."
)
@click.argument("job", required=False, shell_complete=job_names)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    show_default=True,
    help="Output format.",
)
@click.option(
    "--base-url",
    default="",
    metavar="URL",
    help="What the paths in srcset begin with, e.g. /images/.",
)
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file; it appears once it is complete.",
)
@store_option
def export(
    job: str | None, file_format: str, base_url: str, to: Path | None, store_url: str
) -> None:
    """Write one line per image of JOB's collection (the newest job by default).

    Each line has the image's name in the source, its size and format, the file of every tier, a
    ThumbHash (base64), a color and a srcset.
    Paths are relative to the cache folder. Images that failed have no tiers.

    \b
    fpj export > images.jsonl
    fpj export --format csv --base-url /img/ --to images.csv
    """  # noqa: D301 - click keeps the lines after a real backspace as they are
    with opened_store(store_url) as store, _target(to) as stream_:
        collection = find_job(store, job).collection
        tiers = tiers_of(store, collection)
        folders = locations_of(store)
        rows = (
            document(each, made, folders, base_url)
            for each, made in images_of(store, collection, tiers)
        )
        if file_format == "csv":
            _write_csv(rows, tiers, stream_)
        else:
            for row in rows:
                stream_.write(json.dumps(row, ensure_ascii=False) + "\n")


@click.command(cls=Command, short_help="Find an image's outputs, or the image behind an output.")
@click.argument("name")
@click.option(
    "--job", shell_complete=job_names, help="Only in this job's collection.  [default: in all]"
)
@output_option
@store_option
def find(name: str, job: str | None, output: str, store_url: str) -> None:
    """Find what NAME is: an image, an output, or an id.

    An image is found by its name, the end of its path, or a pattern with * and ?.
    Shows the image and every file that was made of it. Exit code 1 if there is none.

    \b
    fpj find IMG_0042.jpg
    fpj find '2019/*.heic'
    fpj find /srv/cache/photos-1a2b3c4d/full/9f/9f…e1.jpg
    """  # noqa: D301 - click keeps the lines after a real backspace as they are
    with opened_store(store_url) as store:
        wanted = collections_of(store, job)
        folders = locations_of(store)
        found = (made for each in wanted for made in _matches(store, each, name, folders))
        if output == "json":
            documents = [document(image, made, folders, "") for image, made in found]
            print_json(documents)
            sys.exit(0 if documents else 1)
        shown = stream(
            ("IMAGE", *_HEADS),
            (row for image, made in found for row in output_rows(image, made, folders)),
        )
    if not shown:
        hint = (
            ""
            if set("*?[") & set(name)
            else f" A pattern finds more, such as '*{display_key(name)}*'."
        )
        err.print(f"Nothing is named {display_key(name)}.{hint}", markup=False, soft_wrap=True)
        sys.exit(1)


@click.command(cls=Command, short_help="List the output files of each image.")
@click.argument("job", required=False, shell_complete=job_names)
@click.option("--limit", type=click.IntRange(1), help="How many images to show.  [default: all]")
@output_option
@store_option
def outputs(job: str | None, limit: int | None, output: str, store_url: str) -> None:
    """List the output files of each image of JOB's collection (the newest job by default)."""
    with opened_store(store_url) as store:
        collection = find_job(store, job).collection
        folders = locations_of(store)
        made = (
            each for each in images_of(store, collection, tiers_of(store, collection)) if each[1]
        )
        shown = islice(made, limit)
        if output == "json":
            _print_outputs(shown, folders)
        else:
            stream(
                ("IMAGE", *_HEADS),
                (row for image, files in shown for row in output_rows(image, files, folders)),
            )
        if limit is not None and next(made, None) is not None:
            err.print(f"There are more; leave out --limit to see all, or use --limit {limit * 10}.")


_HEADS = ("TIER", "SIZE", "BYTES", "FILE")


def output_rows(
    image: ImageRecord, made: Sequence[Derivative], folders: dict[str, str]
) -> Iterator[tuple[str, ...]]:
    """Cells of a table: one row per file, and one without a file where nothing was made."""
    name = display_key(image.key)
    if not made:
        yield (name, "-", "-", "-", "-")
    for each in made:
        file = display_key(_file(each, folders))
        yield (name, each.tier, f"{each.width}x{each.height}", formatting.size(each.bytes), file)


def _file(made: Derivative, folders: dict[str, str]) -> str:
    return f"{folders.get(made.folder, made.folder)}/{made.path}"


def _print_outputs(made: Iterator[Made], folders: dict[str, str]) -> None:
    """One JSON list, written while it is read."""
    started = False
    for image, files in made:
        for each in files:
            row = {"key": image.key, "tier": each.tier, "width": each.width, "height": each.height}
            row |= {"bytes": each.bytes, "path": _file(each, folders)}
            sys.stdout.write(f"{',' if started else '['}\n  {json.dumps(row, ensure_ascii=False)}")
            started = True
    sys.stdout.write("\n]\n" if started else "[]\n")


# Reading ------------------------------------------------------------------------------------------


def images_of(store: Store, collection: str, tiers: Sequence[str]) -> Iterator[Made]:
    """Every image of a collection with the files that show it as it is now,
    in the order of the source, by pages.
    """
    stop = store.next_ordinal(collection)
    for start in range(0, stop, _PAGE):
        made: dict[int, list[Derivative]] = {}
        for each in store.derivatives(collection, start, min(start + _PAGE, stop), tiers):
            made.setdefault(each.ordinal, []).append(each)
        for image in store.images(collection, start, min(start + _PAGE, stop)):
            if listing_problem(image) is None:
                yield (
                    image,
                    [d for d in made.get(image.ordinal, ()) if d.source_version == image.version],
                )


def _matches(store: Store, collection: str, name: str, folders: dict[str, str]) -> Iterator[Made]:
    matches = matcher(name, source_roots(store, collection), list(folders.values()))
    for image, made in images_of(store, collection, tiers_of(store, collection)):
        if matches(image.key, image.id, [each.path for each in made]):
            yield image, made


def collections_of(store: Store, job: str | None) -> list[str]:
    """That of a job, or all that have images."""
    if job:
        return [find_job(store, job).collection]
    return [each.collection for each in store.statistics()]


def tiers_of(store: Store, collection: str) -> list[str]:
    """The tiers that the collection has files in."""
    return sorted({tier for each in store.statistics(collection) for tier in each.by_tier})


def locations_of(store: Store) -> dict[str, str]:
    """Where each cache folder is, by its name."""
    folders: list[Folder] = store.folders()
    return {folder.name: folder.location for folder in folders}


# Writing ------------------------------------------------------------------------------------------


def document(
    image: ImageRecord, made: Sequence[Derivative], folders: dict[str, str], base_url: str
) -> Document:
    """One image as `fpj export` writes it."""
    return {
        "source": image.key,
        "id": image.id,
        "bytes": image.size,
        "width": image.width,
        "height": image.height,
        "format": image.format,
        "thumbHash": base64.b64encode(image.thumbhash).decode() if image.thumbhash else None,
        "color": image.dominant_color,
        "capturedAt": image.captured_at,
        "tiers": {
            each.tier: {
                "folder": folders.get(each.folder, each.folder),
                "path": each.path,
                "width": each.width,
                "height": each.height,
                "bytes": each.bytes,
            }
            for each in made
        },
        "srcset": srcset(image, made, base_url),
    }


def srcset(image: ImageRecord, made: Sequence[Derivative], base_url: str) -> str:
    """``path WIDTHw, …``, by width, of the files that show the whole picture:
    a browser may choose any of them.
    """
    by_width: dict[int, Derivative] = {}
    for each in made:
        known = by_width.get(each.width)
        if _shows_all(image, each) and (known is None or each.bytes < known.bytes):
            by_width[each.width] = each
    return ", ".join(
        f"{base_url}{quote(each.path)} {width}w" for width, each in sorted(by_width.items())
    )


def _shows_all(image: ImageRecord, made: Derivative) -> bool:
    """Whether it has the image's shape, to the pixel that rounding may cost:
    a square cut-out has not.
    """
    if not image.width or not image.height:
        return False
    return abs(made.width * image.height / image.width - made.height) <= 1.0


def _write_csv(rows: Iterator[Document], tiers: Sequence[str], target: IO[str]) -> None:
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow([*_COLUMNS, *(f"{tier}.{name}" for tier in tiers for name in _OF_TIER)])
    for row in rows:
        made = [row["tiers"].get(tier, {}).get(name) for tier in tiers for name in _OF_TIER]
        writer.writerow([*(row[name] for name in _COLUMNS), *made])


@contextmanager
def _target(path: Path | None) -> Iterator[IO[str]]:
    """Standard output, or a file that appears when all of it is written."""
    if path is None:
        yield sys.stdout
        return
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as stream_:
            yield stream_
        part.replace(path)
    except OSError as error:
        raise UsageProblemError(f"--to {path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
