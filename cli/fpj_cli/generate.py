"""New jobs for many collections at once: `fpj generate`."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from fpj_cli.context import UsageProblemError, err, find_job, opened_store, print_json, say
from fpj_cli.endings import code_of, words_of
from fpj_cli.helptexts import Command
from fpj_cli.run import GoingOn, run_again, wait_option
from fpj_cli.setup import job_names
from fpj_cli.tables import Rows, print_rows
from fpj_cli.target import (
    all_namespaces_option,
    in_cluster,
    opened_cluster,
    target_options,
)
from fpj_core.errors import FpjError, ManifestError
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.exits import CommandExit
from fpj_core.kube.generation import (
    JOB,
    MOST_COLLECTIONS,
    MOST_KEY,
    CollectionKey,
    Generation,
    NoTemplateError,
    Origin,
    Templates,
    bulk_id,
    job_name,
    origin_of_schedule,
    request_digest,
    state_size,
    templates_of,
)
from fpj_core.kube.jobresource import JobResource
from fpj_core.kube.names import BULK_REQUEST_ANNOTATION, LABEL_BULK
from fpj_core.kube.selectors import SelectorError, parse_selector
from fpj_core.manifest import parse_resource
from fpj_core.model import Job, Phase
from fpj_core.store.protocol import Store
from fpj_core.v1alpha1 import FileProcessingJob, JobType

if TYPE_CHECKING:
    from fpj_cli.cluster import ClusterJobs

_MOST_JOBS = 1_000
"""Of this machine, in which collections are looked for."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options say."""

    names: tuple[str, ...]
    every: bool
    selector: str | None
    job_type: JobType
    force: bool
    dry_run: bool
    as_json: bool

    def check(self) -> None:
        """Raises `UsageProblemError` unless exactly one choice was made."""
        if sum((bool(self.names), self.every, self.selector is not None)) != 1:
            raise UsageProblemError("name COLLECTIONs, or use --all or --selector")
        if len(self.names) > MOST_COLLECTIONS:
            raise UsageProblemError(f"name {MOST_COLLECTIONS} collections at most")

    def chosen(self, templates: Mapping[CollectionKey, Templates]) -> list[CollectionKey]:
        """Collections by --all or --selector. Raises `UsageProblemError` for none, or too many."""
        try:
            selector = parse_selector(self.selector) if self.selector is not None else None
        except SelectorError as error:
            raise UsageProblemError(str(error)) from None
        found = [
            key
            for key, each in sorted(templates.items())
            if selector is None or selector.matches(each.base.labels)
        ]
        if not found:
            raise UsageProblemError("no collection is chosen: no job names such a one")
        if len(found) > MOST_COLLECTIONS:
            raise UsageProblemError(
                f"{len(found)} collections are chosen, and {MOST_COLLECTIONS} are the most: name"
                " some, or use --selector"
            )
        return found


@dataclass(slots=True)
class Row:
    """What becomes of one collection: `fpj_cli.documents.Generated`."""

    key: CollectionKey
    job: str
    templates: Templates | None
    state: str = "Planned"
    problem: str | None = None
    exit_code: int | None = None
    """Of its run on this machine."""

    def document(self, job_type: JobType) -> dict[str, Any]:
        """As JSON."""
        return {
            **({"namespace": self.key[0]} if self.key[0] else {}),
            "collection": self.key[1],
            "job": self.job,
            "state": self.state,
            "problem": self.problem,
            **({} if self.exit_code is None else {"exitCode": self.exit_code}),
            "copiedFrom": self.templates.titles(job_type) if self.templates else [],
            "usual": list(self.templates.unsaid(job_type)) if self.templates else [],
        }

    def refuse(self, why: str) -> None:
        """Nothing is made."""
        self.state, self.problem = "NotCreated", why


@click.command(cls=Command, short_help="Make cache images and thumbnails of many collections.")
@click.argument("names", nargs=-1, metavar="[COLLECTION]...", shell_complete=job_names)
@click.option("--all", "every", is_flag=True, help="All collections.")
@click.option(
    "-l",
    "--selector",
    metavar="LABELS",
    help="Collections whose newest job has these labels, as for kubectl get, e.g. team=web.",
)
@click.option(
    "--type",
    "job_type",
    type=click.Choice(list(JobType), case_sensitive=False),
    default=JobType.BOTH,
    show_default=True,
    help="What to make.",
)
@click.option("--force", is_flag=True, help="Make all outputs again.")
@click.option("--dry-run", is_flag=True, help="Show what would be done; do nothing.")
@click.option(
    "--key",
    metavar="TEXT",
    help=(
        "In the cluster: names the operation. Commands with the same key make each job once."
        "  [default: a new one]"
    ),
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="On this machine: worker processes.  [default: one per core]",
)
@wait_option
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
@click.option(
    "-q", "--quiet", is_flag=True, help="On this machine: show no progress and no summary."
)
@all_namespaces_option
@target_options
def generate(
    store_url: str,
    key: str | None,
    workers: int | None,
    wait_seconds: float,
    quiet: bool,
    **what: Any,
) -> None:
    """Make cache images, thumbnails or both of many collections that earlier jobs made files of.

    Each COLLECTION gets a new job, copied from its newest ones: the same source, filters, sizes and
    cache folder. Images that are up to date are skipped.

    In a cluster the operator runs the jobs, 500 at most at a time; schedules count as jobs where a
    collection has none, and the label fpj.dev/bulk names the operation. On this machine the jobs
    run here, one after another, and COLLECTION may be a job or a folder, too.

    \b
    fpj generate --all --type thumbnail
    fpj generate summer-2025 summer-2026 --force
    kubectl fpj generate -l team=web --dry-run
    """  # noqa: D301 - click keeps the lines after a real backspace as they are
    wanted = Wanted(**what)
    wanted.check()
    if in_cluster():
        _refuse("On this machine", {"--workers": workers, "--quiet": quiet or None})
        with opened_cluster() as jobs:
            sys.exit(_InCluster(jobs, wanted, key).run())
    _refuse("In a cluster", {"--key": key})
    with opened_store(store_url) as store:
        how = GoingOn(workers=workers, wait_seconds=wait_seconds)
        sys.exit(_Here(store, wanted, how, quiet=quiet or wanted.as_json).run())


def _refuse(where: str, options: Mapping[str, object]) -> None:
    for name, value in options.items():
        if value is not None:
            raise UsageProblemError(f"{name} has an effect {where.lower()} only: leave it out")


def _print_document(wanted: Wanted, rows: Sequence[Row], bulk: str | None = None) -> None:
    print_json(
        {
            "id": bulk,
            "jobType": wanted.job_type.value,
            "dryRun": wanted.dry_run,
            "results": [row.document(wanted.job_type) for row in rows],
        }
    )


# In a cluster -------------------------------------------------------------------------------------


class _InCluster:
    """Jobs are made as the API does it, with the rights of whoever calls."""

    def __init__(self, jobs: ClusterJobs, wanted: Wanted, key: str | None) -> None:
        if key is not None and not (0 < len(key) <= MOST_KEY and key.isascii()):
            raise UsageProblemError(f"--key: give 1 to {MOST_KEY} ASCII characters")
        self._jobs, self._wanted = jobs, wanted
        self._bulk = bulk_id("command line", key) if key else f"bulk-{secrets.token_hex(6)}"
        self._said = {
            "jobType": wanted.job_type.value,
            "force": wanted.force,
            "collections": sorted(set(wanted.names)),
            "selector": wanted.selector,
            "place": jobs.place,
        }
        self._request = request_digest(self._said)

    def run(self) -> int:
        """The exit code."""
        found = self._jobs.all()
        there = self._there(found)
        documents = self._documents(found)
        templates = templates_of(documents)
        rows = [
            Row(key, job_name(key[1], self._bulk), templates.get(key))
            for key in self._chosen(templates)
        ]
        manifests = [self._planned(row, documents, there) for row in rows]
        state_size([each for each in manifests if each is not None])
        if not self._wanted.dry_run:
            for row, manifest in zip(rows, manifests, strict=True):
                if manifest is not None:
                    self._make(row, manifest)
        self._tell(rows)
        refused = any(row.state == "NotCreated" for row in rows)
        return CommandExit.INCOMPLETE if refused else CommandExit.DONE

    def _there(self, found: Sequence[JobResource]) -> set[tuple[str, str]]:
        """Jobs that earlier commands with the same key have made."""
        mine = [job for job in found if job.bulk == self._bulk]
        if any(not self._is_same(job) for job in mine):
            raise UsageProblemError("--key: it belongs to another request; choose a new one")
        return {(job.namespace or "", job.name) for job in mine}

    def _is_same(self, job: JobResource) -> bool:
        annotations = job.document["metadata"].get("annotations") or {}
        return bool(annotations.get(BULK_REQUEST_ANNOTATION) == self._request)

    def _documents(self, found: Sequence[JobResource]) -> dict[Origin, Any]:
        """Jobs newest first, then schedules, then jobs that failed."""
        usable = [job for job in found if not job.deleting]
        sound = [job for job in usable if job.phase != Phase.FAILED]
        failed = [job for job in usable if job.phase == Phase.FAILED]
        schedules = {origin_of_schedule(each): each for each in self._jobs.schedules()}
        return {
            **{_origin(job): job.document for job in sound},
            **schedules,
            **{_origin(job): job.document for job in failed},
        }

    def _chosen(self, templates: Mapping[CollectionKey, Templates]) -> list[CollectionKey]:
        if not self._wanted.names:
            return self._wanted.chosen(templates)
        keys: set[CollectionKey] = set()
        for name in self._wanted.names:
            namespace, _, collection = name.rpartition("/")
            if not namespace and self._jobs.all_namespaces:
                raise UsageProblemError(f"{name}: with -A name NAMESPACE/COLLECTION")
            keys.add((namespace or self._jobs.namespace or "", collection))
        return sorted(keys)

    def _planned(
        self, row: Row, documents: Mapping[Origin, Any], there: set[tuple[str, str]]
    ) -> dict[str, Any] | None:
        if (row.key[0], row.job) in there:
            row.state = "Exists"
            return None
        if row.templates is None:
            row.refuse("no job or schedule names it, so nothing says where its images are")
            return None
        wanted = self._wanted
        generation = Generation(wanted.job_type, wanted.force, self._bulk, self._request)
        try:
            manifest = generation.manifest(row.key, row.templates, documents)
            parse_resource(manifest)
        except (NoTemplateError, ManifestError) as error:
            row.refuse(str(error))
            return None
        return manifest

    def _make(self, row: Row, manifest: dict[str, Any]) -> None:
        """A refusal does not keep the others from being made; a cluster that is away does."""
        try:
            self._jobs.create(manifest)
        except ClusterError as error:
            if not error.status:
                raise
            row.refuse(str(error))
        else:
            row.state = "Created"

    def _tell(self, rows: Sequence[Row]) -> None:
        if self._wanted.as_json:
            _print_document(self._wanted, rows, self._bulk)
            return
        _show(rows, self._wanted.job_type, namespaces=self._jobs.all_namespaces)
        if not self._wanted.dry_run:
            label = f"{LABEL_BULK}={self._bulk}"
            say(f"Progress: kubectl get fpj -l {label}    Cancel: kubectl delete fpj -l {label}")


def _origin(job: JobResource) -> Origin:
    return Origin(JOB, job.namespace or "", job.name, job.collection, job.job_type, job.labels)


def _show(rows: Sequence[Row], job_type: JobType, *, namespaces: bool = False) -> None:
    shown = Rows(*(("NAMESPACE",) if namespaces else ()), "COLLECTION", "JOB", "STATE", "NOTE")
    for row in rows:
        usual = row.templates.unsaid(job_type) if row.templates else ()
        notes = [f"usual {name}: no job says another" for name in usual]
        if row.templates:
            notes.insert(0, f"from {', '.join(row.templates.titles(job_type))}")
        cells = (row.key[1], row.job, row.state, row.problem or "; ".join(notes))
        shown.add(*((row.key[0],) if namespaces else ()), *cells)
    print_rows(shown)


# On this machine ----------------------------------------------------------------------------------


class _Here:
    """Jobs run here, one after another."""

    def __init__(self, store: Store, wanted: Wanted, how: GoingOn, *, quiet: bool) -> None:
        self._store, self._wanted, self._how, self._quiet = store, wanted, how, quiet
        recorded = [job for job in store.jobs(limit=_MOST_JOBS) if job.manifest.get("spec")]
        recorded.sort(key=lambda job: job.phase is Phase.FAILED)
        self._records: dict[Origin, Job] = {}
        for job in recorded:  # several may have one name: the newest counts
            self._records.setdefault(_local_origin(job), job)

    def run(self) -> int:
        """The exit code: the highest of the runs'."""
        templates = templates_of(self._records)
        rows = [Row(key, "", templates[key]) for key in self._chosen(templates)]
        code = int(CommandExit.DONE)
        for row in rows:
            code = max(code, self._one(row))
            if code == CommandExit.INTERRUPTED:
                break
        if self._wanted.as_json:
            _print_document(self._wanted, rows)
        return code

    def _chosen(self, templates: Mapping[CollectionKey, Templates]) -> list[CollectionKey]:
        if not self._wanted.names:
            return self._wanted.chosen(templates)
        named = [find_job(self._store, name) for name in self._wanted.names]
        keys = list(dict.fromkeys(("", job.collection) for job in named))
        if odd := [job.name for job, key in zip(named, keys, strict=False) if key not in templates]:
            raise UsageProblemError(f"{odd[0]} has no record that a job can be copied from")
        return keys

    def _one(self, row: Row) -> int:
        """Run the job of a collection. What is wrong with one does not stop the others."""
        if row.templates is None:
            raise AssertionError("unreachable")
        documents = {origin: dict(job.manifest) for origin, job in self._records.items()}
        record, wanted = self._records[row.templates.base], self._wanted
        try:
            generation = Generation(wanted.job_type, wanted.force)
            made = parse_resource(generation.manifest(row.key, row.templates, documents))
            before = parse_resource(dict(record.manifest))
            if not (isinstance(made, FileProcessingJob) and isinstance(before, FileProcessingJob)):
                raise AssertionError("unreachable")
            row.job = made.metadata.name
            if not self._quiet:
                say(f"[bold]{escape(row.job)}[/]")
            code = run_again(
                self._store,
                record,
                before,
                made,
                how=self._how,
                dry_run=wanted.dry_run,
                quiet=self._quiet,
            )
        except FpjError as error:
            row.refuse(words_of(error))
            err.print(f"{row.key[1]}: {words_of(error)}", markup=False, soft_wrap=True)
            return code_of(error)
        if not wanted.dry_run:
            row.state, row.exit_code = "Created", code
        return code


def _local_origin(job: Job) -> Origin:
    spec = job.manifest.get("spec")
    metadata = job.manifest.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    job_type = str(spec.get("jobType", "")) if isinstance(spec, dict) else ""
    return Origin(JOB, "", job.name, job.collection, job_type, dict(labels or {}))
