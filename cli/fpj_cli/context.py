"""What the commands share: the store they talk to, how a job is named, consoles."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from fpj_core.errors import FpjError
from fpj_core.leases import is_dead, lease_name
from fpj_core.model import Job, Phase
from fpj_core.store import open_store
from fpj_core.store.protocol import Store

# Wide enough for any table: a terminal wraps long lines itself, and a pipe gets them whole, as with kubectl.
out = Console(highlight=False, emoji=False, width=1_000)
err = Console(stderr=True, highlight=False, emoji=False)

Command = TypeVar("Command", bound=Callable[..., Any])

_MOST_JOBS = 1_000


class UsageProblemError(FpjError):
    """What was asked for does not exist or cannot be meant."""


def default_store() -> str:
    """``$XDG_DATA_HOME/fpj/fpj.db``: one store per user, so that `fpj get` finds every run."""
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return str(Path(base).expanduser() / "fpj" / "fpj.db")


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
        "-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True, help="How to print."
    )(command)


@contextmanager
def opened_store(url: str) -> Iterator[Store]:
    """The store, closed at the end."""
    store = open_store(url)
    try:
        yield store
    finally:
        store.close()


def find_job(store: Store, name: str | None) -> Job:
    """The newest job whose name is ``name`` or whose id begins so; the newest of all without one."""
    if name and (exact := store.get_job(name)):
        return exact
    jobs = store.jobs(limit=_MOST_JOBS)
    if name is None:
        if not jobs:
            raise UsageProblemError(f"no jobs in {store.location} yet; make one with: fpj run FOLDER")
        return jobs[0]
    for job in jobs:
        if job.name == name or (len(name) >= 4 and job.id.startswith(name)):
            return job
    known = ", ".join(dict.fromkeys(job.name for job in jobs[:5])) or "none"
    raise UsageProblemError(f"no job named {name!r} in {store.location} (newest: {known})")


def shown_phase(store: Store, job: Job) -> str:
    """The job's phase; ``Stale`` when it claims to be active but nothing works on it."""
    if job.phase.finished or job.phase in (Phase.SUSPENDED, Phase.PENDING):
        return job.phase.value
    lease = store.lease(lease_name(job.collection))
    held = lease is not None and lease.expires_at > time.time() and not is_dead(lease.holder)
    return job.phase.value if held and lease and lease.holder.startswith(job.id) else "Stale"


def print_text(text: object, console: Console = out) -> None:
    """Something as it is: nothing in it is markup, and no line is broken."""
    console.print(str(text), markup=False, soft_wrap=True)


def print_json(document: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")
