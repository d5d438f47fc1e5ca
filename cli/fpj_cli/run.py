"""`fpj run`, and going on with a job on this machine."""

from __future__ import annotations

import errno
import re
import stat
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from fpj_cli.context import (
    UsageProblemError,
    err,
    opened_store,
    out,
    print_json,
    print_text,
    say,
    size_of,
    store_option,
    store_or_empty,
    was_given,
)
from fpj_cli.durations import Duration
from fpj_cli.helptexts import Command
from fpj_cli.interrupts import stop_on_signals
from fpj_cli.runscreen import choose_display
from fpj_cli.summary import Done, removed_document, removed_text
from fpj_core import formatting
from fpj_core.errors import EnvironmentFaultError, ManifestError
from fpj_core.faults import of_errno
from fpj_core.ids import collection_id_for
from fpj_core.kube.exits import CommandExit
from fpj_core.manifest import load_manifest_file, parse_resource
from fpj_core.model import CACHE_CONTROL, Fit, Format, Job, Layout
from fpj_core.places import brief, words_of
from fpj_core.sources.base import extension
from fpj_core.sources.filters import Reason, kind_left_out, left_out_text
from fpj_core.sources.keys import display_key
from fpj_core.sources.local import may_hold_images
from fpj_core.store.protocol import Store
from fpj_core.v1alpha1 import API_VERSION, CacheFolder, CacheFolderSpec, FileProcessingJob, JobType
from fpj_core.v1alpha1.cachefolder import CACHE_CONTROL_PATTERN
from fpj_core.v1alpha1.job import USUAL_TIER, Thumbnail, Tier, Vanished
from fpj_worker.local import JobFailedError, LocalRun
from fpj_worker.localjob import WAIT_SECONDS, LocalJob, local_job, unfinished_job
from fpj_worker.places import (
    Place,
    place_by_rules,
    place_for_path,
    place_of_record,
    with_cache_control,
    with_limit,
)
from fpj_worker.preview import Preview, Why
from fpj_worker.stopping import InterruptedRunError

_MANIFESTS = {".yaml", ".yml"}
_WHY = {
    Why.NEW: "new",
    Why.CHANGED: "changed",
    Why.FAILED_BEFORE: "failed before, and tried again",
    Why.FILE_LOST: "file not in this cache folder",
    Why.SETTINGS_CHANGED: "settings changed",
    Why.FORCED: "forced",
}
_DEFAULT_OUT = "fpj-out"
_USUAL_TYPE = JobType.BOTH
_USUAL_TIER = f"{USUAL_TIER}={Tier.default_of('max_width')}x{Tier.default_of('max_height')}"
_USUAL_BOX = f"{Thumbnail.default_of('width')}x{Thumbnail.default_of('height')}"
_MOST_CACHE_CONTROL = 256
_EARLIER_JOBS = 5
"""Of a collection, those that are asked where it was written."""
_SAID_BY_MANIFEST = {
    "job_type": "--type",
    "tiers": "--tier",
    "thumbnail": "--thumbnail",
    "image_format": "--format",
    "quality": "--quality",
    "fit": "--fit",
    "collection": "--collection",
    "include": "--include",
    "exclude": "--exclude",
    "keep_vanished": "--keep-vanished",
}


_Decorator = Callable[[Any], Any]
wait_option: _Decorator = click.option(
    "--wait-for-environment",
    "wait_seconds",
    type=Duration(),
    metavar="DURATION",
    default=WAIT_SECONDS,
    help=(
        "How long to wait for a source or cache folder that stops working, such as a full disk or"
        f" a lost mount; then the job is suspended.  [default: {formatting.duration(WAIT_SECONDS)}]"
    ),
)
accept_vanished_option: _Decorator = click.option(
    "--accept-vanished",
    is_flag=True,
    help="Accept a source that is empty or lacks most known images: they were deleted.",
)
accept_source_option: _Decorator = click.option(
    "--accept-source",
    is_flag=True,
    help="Continue the collection although its source is at another place: it was moved.",
)


@click.command(
    cls=Command, short_help="Make cache images and thumbnails of a folder, or run a manifest."
)
@click.argument("target", type=click.Path(path_type=Path), metavar="FOLDER|MANIFEST")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help=(
        "Cache folder to write to.  [default: the manifest's, the one used before, or"
        f" ./{_DEFAULT_OUT}]"
    ),
)
@click.option(
    "--type",
    "job_type",
    type=click.Choice(list(JobType), case_sensitive=False),
    help=f"What to make.  [default: {_USUAL_TYPE}]",
)
@click.option(
    "--tier",
    "tiers",
    multiple=True,
    metavar="NAME=WxH",
    help=f"A cache size, e.g. medium=1280x960; up to 4 times.  [default: {_USUAL_TIER}]",
)
@click.option("--thumbnail", metavar="WxH", help=f"The thumbnail's box.  [default: {_USUAL_BOX}]")
@click.option(
    "--format",
    "image_format",
    type=click.Choice([each.value for each in Format]),
    help=f"Format of every output.  [default: {Tier.default_of('format')}]",
)
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    help=(
        "Quality of every output."
        f"  [default: {Tier.default_of('quality')}, thumbnails {Thumbnail.default_of('quality')}]"
    ),
)
@click.option(
    "--fit",
    type=click.Choice(list(Fit), case_sensitive=False),
    help=f"How thumbnails fit their box.  [default: {Thumbnail.default_of('fit')}]",
)
@click.option(
    "--layout",
    type=click.Choice(list(Layout), case_sensitive=False),
    help=(
        "How files in --out are named: Hashed (by ids), or Mirror (TIER/FOLDERS/NAME.EXT as in the"
        " source, for a web server).  [default: that of the cache folder, else"
        f" {CacheFolderSpec.default_of('layout')}]"
    ),
)
@click.option(
    "--cache-control",
    metavar="TEXT",
    help=(
        "Cache-Control of objects written to a bucket, e.g. 'public, max-age=3600'."
        f"  [default: the manifest's, else '{CACHE_CONTROL}']"
    ),
)
@click.option(
    "--max-bytes",
    metavar="SIZE",
    help=(
        "Most that the cache folder may hold, e.g. 20Gi, or none for no limit; later runs keep to"
        " it.  [default: the manifest's, else as before]"
    ),
)
@click.option(
    "--collection",
    metavar="ID",
    help="Name of the collection.  [default: derived from the folder's path]",
)
@click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help=(
        "Only images that match, as in .gitignore, e.g. '*.jpg' or 2019/; may be given several"
        " times."
    ),
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help=(
        "Leave out images that match, as in .gitignore; may be given several times. Files"
        " .fpjignore do the same."
    ),
)
@click.option(
    "--workers", type=click.IntRange(1, 256), help="Worker processes.  [default: one per core]"
)
@click.option(
    "--max-failed",
    metavar="N|P%",
    help=(
        "How many images may fail: up to this number the exit code is 0, more end the run."
        "  [default: the run continues, whatever fails]"
    ),
)
@wait_option
@click.option("--force", is_flag=True, help="Make all outputs again.")
@accept_vanished_option
@click.option(
    "--keep-vanished",
    is_flag=True,
    help=(
        "Keep what was made of images that are not in the source any more.  [default: it is"
        " removed at the end]"
    ),
)
@accept_source_option
@click.option(
    "--dry-run",
    is_flag=True,
    help=(
        "Show what would be made, why, how much space it needs, and what would be removed; write"
        " nothing."
    ),
)
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help=(
        "List each file that is left out, and why; with --dry-run also each image that would be"
        " made."
    ),
)
@click.option(
    "--claim-root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder on this machine that replaces a manifest's persistentVolumeClaim.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object at the end, on standard output."
)
@click.option("-q", "--quiet", is_flag=True, help="Show no progress and no summary.")
@store_option
def run(
    target: Path,
    as_json: bool,
    quiet: bool,
    store_url: str,
    dry_run: bool,
    verbose: bool,
    workers: int | None,
    wait_seconds: float,
    **options: Any,
) -> None:
    """Make cache images and thumbnails of a FOLDER's images, or run a FileProcessingJob MANIFEST.

    Images that are up to date are skipped. Ctrl-C stops cleanly; run the command again to continue.

    \b
    fpj run ~/Pictures --out /srv/cache
    fpj run photos --tier full=2560x1440 --format webp
    fpj run job.yaml --workers 8

    Exit codes: 0 done, 1 images failed or the run was aborted, 2 invalid input, 3 another run holds
    the collection, 4 the store or the network failed, 5 this machine failed (for example a full
    disk), 6 source or cache folder stopped working and did not recover in time, 130 interrupted.
    """  # noqa: D301 - click keeps the lines after a real backspace as they are
    with store_or_empty(store_url) if dry_run else opened_store(store_url, make=True) as store:
        if target.suffix.lower() in _MANIFESTS and _is_file(target):
            resource, folders = _from_manifest(target, options)
        else:
            resource, folders = _from_folder(target, options), []
        place = _cached(_place(resource, folders, store, options), options["cache_control"])
        if options["max_bytes"]:
            place = with_limit(place, _limit(options["max_bytes"]))
        if not (options["out"] or quiet):
            say(
                f"Writing to {escape(display_key(place.record.location))} (change it with --out"
                " DIR)"
            )
        request = local_job(resource, place, workers=workers, claim_root=options["claim_root"])
        request = _accepting(replace(request, wait_seconds=wait_seconds), options)
        if earlier := unfinished_job(store, request.job):
            request = replace(request, job=earlier)
        tolerated = options["max_failed"] is not None
        code = _execute(
            store,
            request,
            dry_run=dry_run,
            verbose=verbose,
            as_json=as_json,
            quiet=quiet,
            tolerated=tolerated,
        )
    sys.exit(code)


@dataclass(frozen=True, slots=True)
class GoingOn:
    """How to continue a job: the options of `fpj resume` and `fpj recover`."""

    workers: int | None = None
    wait_seconds: float = WAIT_SECONDS
    accept_vanished: bool = False
    accept_source: bool = False


def go_on(
    store: Store, found: Job, how: GoingOn, *, as_json: bool = False, quiet: bool = False
) -> int:
    """Do what is not done yet of a job, failed images included; the exit code."""
    resource = parse_resource(dict(found.manifest))
    if not isinstance(resource, FileProcessingJob):
        raise UsageProblemError(f"{found.name} was not recorded as a job")
    place = _recorded_place(store, found, resource)
    request = local_job(resource, place, workers=how.workers)
    request = _accepting(replace(request, job=found, wait_seconds=how.wait_seconds), asdict(how))
    return _execute(store, request, dry_run=False, as_json=as_json, quiet=quiet)


def run_again(
    store: Store,
    before: Job,
    base: FileProcessingJob,
    resource: FileProcessingJob,
    *,
    how: GoingOn,
    dry_run: bool,
    quiet: bool,
) -> int:
    """Run a job that is like an earlier one of the collection, into the same cache folder.

    ``base`` is the resource of the earlier one. Returns the exit code.
    """
    place = _recorded_place(store, before, base)
    request = local_job(resource, place, workers=how.workers)
    request = _accepting(replace(request, wait_seconds=how.wait_seconds), asdict(how))
    if earlier := unfinished_job(store, request.job):
        request = replace(request, job=earlier)
    return _execute(store, request, dry_run=dry_run, as_json=False, quiet=quiet)


def _accepting(request: LocalJob, options: Mapping[str, Any]) -> LocalJob:
    """With what this run alone accepts: it stands in no manifest,
    so no later run accepts it unasked.
    """
    return replace(
        request,
        accept_vanished=request.accept_vanished or options["accept_vanished"],
        accept_source=request.accept_source or options["accept_source"],
    )


# From the command line to a resource --------------------------------------------------------------


def _from_manifest(
    path: Path, options: dict[str, Any]
) -> tuple[FileProcessingJob, list[CacheFolder]]:
    overridden = [option for name, option in _SAID_BY_MANIFEST.items() if was_given(name)]
    if overridden:
        raise UsageProblemError(
            f"a manifest defines what to make; leave out {', '.join(overridden)}"
        )
    resources = load_manifest_file(path)
    jobs = [resource for resource in resources if isinstance(resource, FileProcessingJob)]
    if len(jobs) != 1:
        raise ManifestError(
            [f"holds {len(jobs)} FileProcessingJobs; `fpj run` takes exactly one"], origin=str(path)
        )
    job = jobs[0]
    if job.spec.suspend:
        raise ManifestError(
            ["spec.suspend: the job is suspended; set it to false to run it"], origin=str(path)
        )
    changes: dict[str, Any] = {"force": True} if options["force"] else {}
    if options["max_failed"] and (was_given("max_failed") or job.spec.max_failed_images is None):
        changes["max_failed_images"] = _max_failed(options["max_failed"])
    job = job.model_copy(update={"spec": job.spec.model_copy(update=changes)})
    return job, [resource for resource in resources if isinstance(resource, CacheFolder)]


def _from_folder(folder: Path, options: dict[str, Any]) -> FileProcessingJob:
    """The manifest that says the same as the options."""
    is_file = _is_file(folder)
    if is_file is None:
        raise UsageProblemError(_why_not_there(folder))
    if is_file and (reason := kind_left_out(extension(folder.name))):
        raise UsageProblemError(
            f"{folder} is a {reason.value} file by its name: fpj makes nothing of those"
        )
    if is_file and not may_hold_images(folder):
        raise UsageProblemError(
            f"{folder} is neither a folder, an image, an archive (zip, cbz) nor a manifest (.yaml)"
        )
    real = _storable(folder.resolve())
    job_type = JobType(options["job_type"] or _USUAL_TYPE)
    _refuse_without_effect(job_type)
    output = {
        name: options[option]
        for name, option in (("format", "image_format"), ("quality", "quality"))
        if options[option]
    }
    spec: dict[str, Any] = {
        "jobType": job_type,
        "collection": {"source": {"local": {"path": str(real)}}},
    }
    if job_type is not JobType.THUMBNAIL:
        spec["cache"] = {
            "tiers": [_tier(text) | output for text in options["tiers"] or (_USUAL_TIER,)]
        }
    if job_type is not JobType.CACHE:
        width, height = _box("--thumbnail", options["thumbnail"] or _USUAL_BOX)
        spec["thumbnail"] = (
            {"width": width, "height": height}
            | output
            | ({"fit": options["fit"]} if options["fit"] else {})
        )
    if options["force"]:
        spec["force"] = True
    spec["collection"] |= {
        name: list(options[name]) for name in ("include", "exclude") if options[name]
    } | ({"vanished": Vanished.KEEP} if options["keep_vanished"] else {})
    if options["max_failed"]:
        spec["maxFailedImages"] = _max_failed(options["max_failed"])
    name = options["collection"] or collection_id_for(real)
    document = {
        "apiVersion": API_VERSION,
        "kind": "FileProcessingJob",
        "metadata": {"name": name},
        "spec": spec,
    }
    try:
        resource = parse_resource(document)
    except ManifestError as error:
        raise UsageProblemError("\n".join(_in_words_of_options(error, options))) from error
    if not isinstance(resource, FileProcessingJob):
        raise AssertionError("unreachable")
    return resource


def _is_file(path: Path) -> bool | None:
    """Whether it is a file; None where there is nothing.

    Storage that does not answer is for the run to wait for.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        if of_errno(error.errno).environment:
            return False
        return None


def _why_not_there(path: Path) -> str:
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return f"{brief(str(path))}: {words_of(error)}"
    return f"{brief(str(path))} does not exist"


def _refuse_without_effect(job_type: JobType) -> None:
    """Raise `UsageProblemError` for an option that says something of what is not made."""
    of = {
        JobType.THUMBNAIL: (("tiers", "--tier"),),
        JobType.CACHE: (("thumbnail", "--thumbnail"), ("fit", "--fit")),
    }
    for name, option in of.get(job_type, ()):
        if was_given(name):
            raise UsageProblemError(
                f"{option} has no effect with --type {job_type.value.lower()}: leave one out"
            )


_OPTION_OF = {
    "spec.thumbnail.format": "--format",
    "spec.thumbnail.quality": "--quality",
    "spec.thumbnail.fit": "--fit",
    "spec.thumbnail": "--thumbnail",
    "spec.cache.tiers": "--tier",
    "spec.maxFailedImages": "--max-failed",
    "spec.collection.include": "--include",
    "spec.collection.exclude": "--exclude",
    "metadata.name": "--collection",
}
"""What of the manifest that stands for the options comes from which; the longest first."""


def _in_words_of_options(error: ManifestError, options: dict[str, Any]) -> list[str]:
    """The problems of a manifest that was made from options, reported for these options."""
    tiers = options["tiers"] or ()
    said = []
    for path, message in error.fields:
        option = next(
            (option for field, option in _OPTION_OF.items() if path.startswith(field)), path
        )
        number = _INDEX.search(path)
        if option == "--tier" and number and int(number[1]) < len(tiers):
            option = f"--tier {tiers[int(number[1])]}"
        elif option == "--collection":
            option = f"--collection {options['collection']}"
        said.append(f"{option}: {message}")
    return list(dict.fromkeys(said)) or error.problems


_INDEX = re.compile(r"\[(\d+)\]")


def _max_failed(text: str) -> int | str:
    """Raises `UsageProblemError` for what is neither a number nor a share."""
    if not _MAX_FAILED.fullmatch(text):
        raise UsageProblemError(
            f"--max-failed {text}: write a number of images, or a share such as 5%"
        )
    return text if text.endswith("%") else int(text)


_MAX_FAILED = re.compile(r"\d{1,9}|100%|\d{1,2}%", re.ASCII)


def _limit(text: str) -> int | None:
    return None if text.lower() == "none" else size_of(text)


def _tier(text: str) -> dict[str, Any]:
    name, equals, box = text.partition("=")
    if not equals:
        raise UsageProblemError(f"--tier {text}: write NAME=WIDTHxHEIGHT, e.g. medium=1280x960")
    width, height = _box("--tier", box)
    return {"name": name, "maxWidth": width, "maxHeight": height}


def _box(option: str, text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise UsageProblemError(
            f"{option}: {text!r} is not a size; write WIDTHxHEIGHT, e.g. 1280x960"
        )
    return int(width), int(height)


def _place(
    resource: FileProcessingJob, folders: list[CacheFolder], store: Store, options: dict[str, Any]
) -> Place:
    usual = Layout(options["layout"] or CacheFolderSpec.default_of("layout"))
    layout = usual if was_given("layout") else None
    if options["out"] and (was_given("out") or not (folders or resource.spec.cache_folder)):
        _storable(options["out"].resolve())
        return place_for_path(options["out"], store.folders(), layout, usual)
    place = place_by_rules(resource, folders, store.folders(), options["claim_root"])
    if place and layout not in (None, place.record.layout):
        raise UsageProblemError(
            f"--layout {layout}: the CacheFolder {place.record.name} is {place.record.layout} by"
            " its manifest; change spec.layout there, or say --out DIR"
        )
    return place or _place_by_habit(resource, store, layout, usual)


def _cached(place: Place, cache_control: str | None) -> Place:
    """A default has no meaning for a folder that is not a bucket."""
    if cache_control is None or not (
        was_given("cache_control") or place.record.location.startswith("s3://")
    ):
        return place
    if (
        not re.fullmatch(CACHE_CONTROL_PATTERN, cache_control)
        or len(cache_control) > _MOST_CACHE_CONTROL
    ):
        raise UsageProblemError(
            f"--cache-control {cache_control!r}: write directives such as 'public, max-age=3600'"
        )
    return with_cache_control(place, cache_control)


def _place_by_habit(
    resource: FileProcessingJob, store: Store, layout: Layout | None, usual: Layout
) -> Place:
    """Where this collection was written before, wherever one is now; else a folder in the current
    one. It is said.
    """
    for job in store.jobs(collection=resource.collection_id, limit=_EARLIER_JOBS):
        before = parse_resource(dict(job.manifest))
        if isinstance(before, FileProcessingJob) and (place := _place_of_job(store, job, before)):
            return replace(
                place, record=replace(place.record, layout=layout or place.record.layout)
            )
    if place := _place_of_files(store, resource.collection_id):
        return replace(place, record=replace(place.record, layout=layout or place.record.layout))
    return place_for_path(Path(_DEFAULT_OUT), store.folders(), layout, usual)


def _recorded_place(store: Store, job: Job, resource: FileProcessingJob) -> Place:
    """Where the job wrote before: of the cache folders that the store knows,
    the one its digest was made with.
    """
    if place := _place_of_job(store, job, resource) or _place_of_files(store, job.collection):
        return place
    raise UsageProblemError(
        "the job's cache folder is no longer known; run it with: fpj run … --out DIR"
    )


def _place_of_job(store: Store, job: Job, resource: FileProcessingJob) -> Place | None:
    for folder in store.folders():
        place = place_of_record(folder)
        if local_job(resource, place, workers=None).job.digest == job.digest:
            return place
    return None


def _place_of_files(store: Store, collection: str) -> Place | None:
    """Where a file of the collection is recorded: jobs' digests are
    of the version that wrote them.
    """
    tiers = sorted({tier for each in store.statistics(collection) for tier in each.by_tier})
    name = next((folder for _, _, folder, _, _ in store.derivative_files(collection, tiers)), None)
    return next((place_of_record(each) for each in store.folders() if each.name == name), None)


def _storable(path: Path) -> Path:
    """The path, if manifests and stores can hold it: both are Unicode text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UsageProblemError(
            f"{path}: the path is not UTF-8; rename it, or mount it under another name"
        ) from None
    return path


# Running ------------------------------------------------------------------------------------------


def _execute(
    store: Store,
    request: LocalJob,
    *,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    tolerated: bool = False,
    verbose: bool = False,
) -> int:
    started = time.monotonic()
    names = _Names(verbose, err if as_json else out)
    with stop_on_signals() as stop, choose_display(err, quiet=quiet) as display:
        runner = LocalRun(store, request, display, stop, names.left_out)
        if dry_run:
            plan = runner.preview(names.image)
        else:
            code = _run(runner, tolerated=tolerated)
    if dry_run:
        if as_json:
            print_json(_preview_document(request, plan))
        elif not quiet:
            _show_preview(plan)
        return 0
    done = Done(
        code,
        runner.job,
        *runner.progress(),
        runner.of_this_run(),
        time.monotonic() - started,
        runner.removed,
    )
    if as_json:
        print_json(done.document(request.folder.location))
    if not quiet:
        done.tell(request.folder.location)
    return code


class _Names:
    """What ``--verbose`` names, as it is found."""

    def __init__(self, wanted: bool, console: Console) -> None:
        self._wanted = wanted
        self._console = console

    def image(self, why: Why, key: str) -> None:
        """An image that would be made."""
        if self._wanted:
            print_text(f"{why.value}  {display_key(key)}", self._console)

    def left_out(self, found: Sequence[tuple[Reason, str]]) -> None:
        """Files and folders that are left out."""
        for why, key in found if self._wanted else ():
            print_text(f"{why.value}  {display_key(key)}", self._console)


def _preview_document(request: LocalJob, found: Preview) -> dict[str, Any]:
    return {
        "collection": request.job.collection,
        "total": found.total,
        "pending": found.pending,
        "reasons": {why.value: count for why, count in found.reasons.items()},
        "problems": found.problems,
        "leftOut": found.left_out,
        "needBytes": found.need_bytes,
        "removed": removed_document(found.removed),
    }


def _show_preview(found: Preview) -> None:
    need = f", about {formatting.size(found.need_bytes)}" if found.pending else ""
    err.print(
        f"Would process {formatting.count(found.pending)} of {formatting.count(found.total)}"
        f" images{need}."
    )
    for why, count in found.reasons.items():
        if count:
            err.print(f"  {_WHY[why]}: {formatting.count(count)}")
    if found.removed.files:
        say(f"Would remove {removed_text(found.removed)}")
    if found.problems:
        err.print(f"  could not be listed: {formatting.count(found.problems)}")
    if found.left_out:
        say(f"  left out: {left_out_text(found.left_out)}")


def _run(runner: LocalRun, *, tolerated: bool) -> int:
    """``tolerated`` says that somebody has said how many images may fail: no more than that did,
    if it ends well.
    """
    try:
        runner.run()
    except InterruptedRunError:
        return CommandExit.INTERRUPTED
    except EnvironmentFaultError:
        return CommandExit.SUSPENDED
    except JobFailedError:
        return CommandExit.INCOMPLETE
    failed = runner.progress()[1].failed
    return CommandExit.INCOMPLETE if failed and not tolerated else CommandExit.DONE
