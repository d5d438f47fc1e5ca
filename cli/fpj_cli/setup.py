"""The commands for setting fpj up: config, completion, schema."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from fpj_cli.context import UsageProblemError, default_store, err, output_option, print_json
from fpj_cli.helptexts import Command
from fpj_cli.settings import Settings, load_settings, shown_rows, variable
from fpj_cli.tables import Rows, print_rows
from fpj_cli.target import in_cluster, opened_cluster
from fpj_core.errors import FpjError
from fpj_core.store import file_of, open_store

SHELLS = ("bash", "zsh", "fish")
_MOST_NAMES = 200
_ANSWER_SECONDS = 2.0
"""For which whoever pressed Tab waits for a cluster."""
_DEFAULT, _NO_FILES = 0, 4
"""ShellCompDirectiveDefault and ShellCompDirectiveNoFileComp of Cobra."""


def settings_of(context: click.Context) -> Settings:
    """What is set, as it was read when the command began."""
    found = context.find_object(Settings)
    root = context.find_root().command
    if found is None and isinstance(root, click.Group):
        return load_settings(os.environ, root)
    return found or Settings(file=load_settings({}, click.Group()).file)


@click.command(cls=Command, short_help="Show the defaults that are set, and where each comes from.")
@output_option
@click.pass_context
def config(context: click.Context, output: str) -> None:
    """Show the option defaults that are set, and where each comes from.

    A default is set by a variable (FPJ_WORKERS=8), or in ~/.config/fpj/config.toml (workers = 8),
    by the option's long name. The command line takes precedence over the variable, the variable
    over the file.
    """
    settings = settings_of(context)
    rows = list(shown_rows(settings, {"store": default_store(), "cluster": "false"}))
    if output == "json":
        document = [
            {
                "key": key,
                "variable": variable(key),
                "value": _without_password(key, value),
                "from": origin,
            }
            for key, value, origin in rows
        ]
        print_json({"file": str(settings.file), "settings": document})
        return
    shown = Rows("KEY", "VALUE", "FROM")
    for key, value, origin in rows:
        shown.add(key, _without_password(key, value), origin)
    print_rows(shown)
    if not settings.file.exists():
        err.print(f"There is no {settings.file}.", markup=False, soft_wrap=True)


def _without_password(key: str, value: str) -> str:
    """A store's URL may hold one."""
    scheme, found, rest = value.partition("://")
    if key != "store" or not found or "@" not in rest:
        return value
    return f"{scheme}://…@{rest.rpartition('@')[2]}"


@click.command(cls=Command, short_help="Print a script that completes commands in a shell.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that makes SHELL complete commands, options and names of jobs.

    \b
    eval "$(fpj completion bash)"    in ~/.bashrc
    eval "$(fpj completion zsh)"     in ~/.zshrc
    fpj completion fish | source     in ~/.config/fish/config.fish

    For `kubectl fpj`, kubectl's own completion asks kubectl_complete-fpj, which is installed beside
    fpj.
    """  # noqa: D301 - click keeps the lines after a real backspace as they are
    found = get_completion_class(shell)
    if found is None:
        raise AssertionError("unreachable")
    script = found(context.find_root().command, {}, "fpj", "_FPJ_COMPLETE")
    sys.stdout.write(script.source_template % script.source_vars() + "\n")


@click.command(cls=Command, short_help="Print the JSON Schema of what a command prints as JSON.")
@click.argument(
    "name",
    required=False,
    shell_complete=lambda _context, _parameter, incomplete: _schema_names(incomplete),
)
def schema(name: str | None) -> None:
    """Print the JSON Schema of what the command NAME prints with --json or -o json.

    Without NAME, the names there are.

    Fields may be added in later versions; none is renamed or dropped.
    """
    # Importing them takes time, which no other command needs to spend.
    from fpj_cli.documents import SCHEMAS  # noqa: PLC0415
    from fpj_cli.documents import schema as schema_of  # noqa: PLC0415

    if name is None:
        sys.stdout.write("\n".join(SCHEMAS) + "\n")
    elif name in SCHEMAS:
        print_json(schema_of(name))
    else:
        raise UsageProblemError(f"there is no schema {name!r}; there are {', '.join(SCHEMAS)}")


def _schema_names(incomplete: str) -> list[CompletionItem]:
    from fpj_cli.documents import SCHEMAS  # noqa: PLC0415

    return [CompletionItem(name) for name in SCHEMAS if name.startswith(incomplete)]


def job_names(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """For a shell: names of jobs in a store of this machine, or in a cluster,
    which must answer soon.

    A database is not asked: that may take its time.
    """
    with suppress(FpjError, OSError), context.scope(cleanup=False):
        names = _names_in_cluster() if in_cluster() else _names_in_file(context)
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return []


def _names_in_cluster() -> Iterable[str]:
    with opened_cluster(may_have_store=True, seconds=_ANSWER_SECONDS) as jobs:
        return jobs.names(_MOST_NAMES)


def _names_in_file(context: click.Context) -> Iterable[str]:
    url = context.params.get("store_url") or _default_url(context)
    if file_of(url) is None:
        return ()
    with closing(open_store(url, make=False)) as store:
        return dict.fromkeys(job.name for job in store.jobs(limit=_MOST_NAMES))


def kubectl_lines(plugin: click.Group, arguments: Sequence[str]) -> Iterator[str]:
    """What `kubectl_complete-fpj` answers: a line per choice,
    and at the end whether files are choices, too.

    ``arguments`` are the words after `kubectl fpj`, of which the last is being typed. The form is
    that of Cobra.
    """
    *words, incomplete = arguments or ("",)
    files = False
    for item in ShellComplete(plugin, {}, "kubectl fpj", "").get_completions([*words], incomplete):
        files = files or item.type != "plain"
        if item.type == "plain":
            yield f"{item.value}\t{' '.join(item.help.split())}" if item.help else str(item.value)
    yield f":{_DEFAULT if files else _NO_FILES}"


def _default_url(context: click.Context) -> str:
    return str(settings_of(context).get("store") or default_store())
