"""What the commands share: the store they talk to, how a job is named, consoles."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import click
from click.core import ParameterSource
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from fpj_core.errors import FpjError, NoStoreError
from fpj_core.filesystems import shared_type
from fpj_core.kube.names import lease_name
from fpj_core.leases import is_dead
from fpj_core.model import Folder, Job, Phase
from fpj_core.scratch import Scratch
from fpj_core.store import file_of, open_store
from fpj_core.store.protocol import Store
from fpj_core.v1alpha1.common import parse_quantity


class Forgiving:
    """Standard error as it is now.

    That it cannot be written (a closed terminal, a full disk) never ends a run.
    """

    def write(self, text: str) -> int:
        """See `io.TextIOBase.write`."""
        with suppress(OSError):
            return self._stream().write(text)
        return len(text)

    def flush(self) -> None:
        """See `io.TextIOBase.flush`."""
        with suppress(OSError):
            self._stream().flush()

    def __getattr__(self, name: str) -> Any:
        if name == "rich_proxied_file":  # rich would write past this object
            raise AttributeError(name)
        return getattr(self._stream(), name)

    @staticmethod
    def _stream() -> IO[str]:
        """Past what a live display puts in the place of standard error while it shows:
        that writes here.
        """
        stream: IO[str] = sys.stderr
        return getattr(stream, "rich_proxied_file", stream)


# Wide enough for any table: a terminal wraps long lines itself, and a pipe gets them whole, as with
# kubectl.
out = Console(highlight=False, emoji=False, width=1_000)
err = Console(file=cast("IO[str]", Forgiving()), highlight=False, emoji=False)

Command = TypeVar("Command", bound=Callable[..., Any])

_MOST_JOBS = 1_000
_WORD = re.compile(r"\S+\s*")


class UsageProblemError(FpjError):
    """What was asked for does not exist or cannot be meant."""


def default_store() -> str:
    """``$XDG_DATA_HOME/fpj/fpj.db``: one store per user, so that `fpj get` finds every run."""
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return str(Path(base).expanduser() / "fpj" / "fpj.db")


def was_given(parameter: str) -> bool:
    """Whether the command line itself has the option,
    which a variable or the configuration file may set, too.
    """
    return (
        click.get_current_context().get_parameter_source(parameter) is ParameterSource.COMMANDLINE
    )


def store_option(command: Command) -> Command:
    """The ``--store`` option that every command has."""
    return click.option(
        "--store",
        "store_url",
        envvar="FPJ_STORE",
        show_envvar=True,
        default=default_store,
        show_default="~/.local/share/fpj/fpj.db",
        metavar="URL",
        help="Where results are recorded: a file (SQLite) or mongodb://….",
    )(command)


def output_option(command: Command) -> Command:
    """The ``-o json`` option of the commands that show things."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="Output format.",
    )(command)


@contextmanager
def opened_store(url: str, *, make: bool = False) -> Iterator[Store]:
    """The store, closed at the end.

    Raises `NoStoreError` where there is none and it must not be made.
    """
    with closing(open_store(url, make=make)) as store:
        if (path := file_of(url)) and (kind := shared_type(path)):
            print_text(
                f"Warning: the store {store.location} is on a network file system ({kind}), where"
                " SQLite may be used by one host at a time alone. For several: --store"
                " mongodb://…; for one: a file on its own disk.",
                err,
            )
        yield store


@contextmanager
def store_or_empty(url: str) -> Iterator[Store]:
    """The store, closed at the end; where there is none, an empty one for this time."""
    with ExitStack() as stack:
        try:
            store = stack.enter_context(opened_store(url))
        except NoStoreError:
            folder = Path(stack.enter_context(Scratch("fpj-dry-run-")))
            store = stack.enter_context(opened_store(str(folder / "fpj.db"), make=True))
        yield store


@contextmanager
def nothing_yet(url: str, name: str | None) -> Iterator[None]:
    """End quietly where there is no store because nobody ever ran anything,
    and neither it nor a job was named.
    """
    try:
        yield
    except NoStoreError:
        if name is not None or url != default_store():
            raise


def size_of(text: str) -> int:
    """Bytes that ``--max-bytes`` says. Raises `UsageProblemError`."""
    try:
        return parse_quantity(text)
    except ValueError as error:
        raise UsageProblemError(f"--max-bytes {text}: {error}") from error


def folders_named(store: Store, name: str | None) -> list[Folder]:
    """The cache folder of that name or place, or all.

    Raises `UsageProblemError` if there is none.
    """
    known = store.folders()
    if name is None:
        return known
    place = _place(os.path.expanduser(name))
    found = [each for each in known if each.name == name]
    found = found or [each for each in known if _place(each.location) == place]
    if not found:
        some = ", ".join(each.name for each in known[:5]) or "none"
        raise UsageProblemError(f"no cache folder {name!r} in {store.location} (known: {some})")
    return found


def _place(location: str) -> str:
    """A bucket's URL, or a path without links."""
    return location.rstrip("/") if "://" in location else os.path.realpath(location)


def find_job(store: Store, name: str | None) -> Job:
    """The job that ``name`` means: its name, its id or the start of that, or its folder.

    Without one, the newest.

    Raises `UsageProblemError` if there is none, and if the jobs of several collections could be
    meant.
    """
    if name and (exact := store.get_job(name)):
        return exact
    jobs = store.jobs(limit=_MOST_JOBS)
    if name is None:
        if not jobs:
            raise UsageProblemError(
                f"no jobs in {store.location} yet; make one with: fpj run FOLDER"
            )
        return jobs[0]
    for means in (_is_name, _begins_id, _is_folder):
        found = [job for job in jobs if means(job, name)]
        if len({job.collection for job in found}) > 1 and means is not _is_name:
            meant = ", ".join(dict.fromkeys(f"{job.name} ({job.id[:8]})" for job in found[:5]))
            raise UsageProblemError(f"{name!r} may be any of: {meant}; say which")
        if found:
            return found[0]
    known = ", ".join(dict.fromkeys(job.name for job in jobs[:5])) or "none"
    raise UsageProblemError(f"no job named {name!r} in {store.location} (newest: {known})")


def _is_name(job: Job, name: str) -> bool:
    return job.name == name


def _begins_id(job: Job, name: str) -> bool:
    return len(name) >= 4 and job.id.startswith(name)


def source_path(job: Job) -> str | None:
    """The folder on this machine that holds the job's images; None for a bucket or a claim."""
    spec = job.manifest.get("spec")
    place = (
        spec.get("collection", {}).get("source", {}).get("local")
        if isinstance(spec, dict)
        else None
    )
    return str(place["path"]) if place else None


def _is_folder(job: Job, name: str) -> bool:
    """Whether the job's source is that folder, by its path or by its own name."""
    path = (source_path(job) or "").rstrip("/")
    if not path or not name:
        return False
    return path == os.path.realpath(name) or (
        "/" not in name.rstrip("/") and os.path.basename(path) == name.rstrip("/")
    )


def shown_phase(store: Store, job: Job) -> str:
    """The job's phase; ``Stale`` when it claims to be active but nothing works on it."""
    if job.phase.finished or job.phase in (Phase.SUSPENDED, Phase.PENDING):
        return job.phase.value
    lease = store.lease(lease_name(job.collection))
    held = lease is not None and lease.expires_at > store.now() and not is_dead(lease.holder)
    return job.phase.value if held and lease and lease.holder.startswith(job.id) else "Stale"


def print_text(text: object, console: Console = out) -> None:
    """Something as it is: nothing in it is markup, and no line is broken."""
    console.print(str(text), markup=False, soft_wrap=True)


def confirm(question: str) -> None:
    """Ask a person. Raises `click.Abort` for a no, `UsageProblemError` where there is nobody."""
    if not sys.stdin.isatty():
        raise UsageProblemError("cannot ask for confirmation without a terminal; use --yes")
    click.confirm(question, abort=True, err=True)


def say(text: str) -> None:
    """A line for people, on standard error: wrapped between words on a terminal,
    whole in a log that is searched.
    """
    line = Text.from_markup(text)
    parts = line.divide(_breaks(line.plain, err.width)) if err.is_terminal else [line]
    for each in parts:
        each.rstrip()
        err.print(each, soft_wrap=True)


def _breaks(text: str, width: int) -> list[int]:
    """Where to break lines: before words.

    One that is longer than a line, a path say, stays whole.
    """
    breaks, start = [], 0
    for word in _WORD.finditer(text):
        if (
            cell_len(text[start : word.end()].rstrip()) > width
            and word.start() > start
            and text[: word.start()].strip()
        ):
            start = word.start()
            breaks.append(start)
    return breaks


def print_json(document: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")
