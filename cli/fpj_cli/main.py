"""The `fpj` command: every subcommand. `fpj_core.kube.exits.CommandExit` has its exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

import fpj_core
from fpj_cli.endings import guarded
from fpj_cli.helptexts import Commands, Group
from fpj_cli.settings import Settings, load_settings
from fpj_cli.target import cluster_options, is_plugin

_ANYWHERE = {
    "fpj_cli.show": ("get", "describe", "failures"),
    "fpj_cli.follow": ("watch", "wait"),
    "fpj_cli.generate": ("generate",),
    "fpj_cli.act": ("suspend", "resume", "recover", "release"),
    "fpj_cli.logs": ("logs",),
}
"""The commands by module; each has the name of its function."""
_HERE = {
    "fpj_cli.run": ("run",),
    "fpj_cli.recorded": ("stats",),
    "fpj_cli.export": ("outputs", "find", "export"),
    "fpj_cli.purge": ("purge",),
    "fpj_cli.cleanup": ("cleanup",),
    "fpj_cli.forget": ("forget",),
    "fpj_cli.verify": ("verify",),
    "fpj_cli.setup": ("config", "completion", "schema"),
}


def _commands(*modules: Mapping[str, Sequence[str]]) -> Commands:
    return Commands(
        {
            name: (module, name)
            for each in modules
            for module, names in each.items()
            for name in names
        }
    )


@click.group(
    cls=Group,
    commands=_commands(_HERE, _ANYWHERE),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(fpj_core.__version__, prog_name="fpj")
@cluster_options
def cli() -> None:
    """Cache images and thumbnails for millions of photographs.

    \b
    fpj run ~/Pictures              make a 1920x1080 cache image and a thumbnail of each image
    fpj run job.yaml                run a FileProcessingJob manifest, the same as in a cluster
    fpj get                         list jobs and their progress
    fpj failures                    list the images that failed, and why
    fpj get -n photos               the same for a cluster's jobs; or: kubectl fpj get -n photos
    """  # noqa: D301 - click keeps the lines after a real backspace as they are


@click.group(
    cls=Group,
    commands=_commands(_ANYWHERE),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(fpj_core.__version__, prog_name="kubectl fpj")
@cluster_options
def plugin() -> None:
    """Inspect and control FileProcessingJobs, which make cache images and thumbnails.

    \b
    kubectl fpj get                 list jobs and their progress
    kubectl fpj watch photos        a live progress bar until it ends
    kubectl fpj describe photos     stage, shards, failures by type, conditions, events
    kubectl fpj failures photos     which images failed, and why
    kubectl fpj recover photos      retry what failed
    """  # noqa: D301


def main() -> None:
    """Entry point. Errors that are the user's to fix are shown without a traceback."""
    sys.exit(guarded(_command, sys.argv[1:]))


def complete() -> None:
    """Entry point of `kubectl_complete-fpj`, which kubectl's completion runs for `kubectl fpj`."""
    from fpj_cli.setup import kubectl_lines  # noqa: PLC0415 - no command needs it

    sys.stdout.writelines(f"{line}\n" for line in kubectl_lines(plugin, sys.argv[1:]))


def _command() -> None:
    group, name = (plugin, "kubectl fpj") if is_plugin() else (cli, "fpj")
    settings = None if _asks_for_help(sys.argv[1:]) else load_settings(os.environ, group)
    group(prog_name=name, standalone_mode=False, **_extra(settings, group))


def _extra(settings: Settings | None, group: click.Group) -> dict[str, Any]:
    return {"obj": settings, "default_map": settings.default_map(group)} if settings else {}


def _asks_for_help(arguments: Sequence[str]) -> bool:
    """Then the settings do not matter, even if they are invalid.

    Shell completion does not need them either.
    """
    return (
        not arguments
        or not {"-h", "--help", "--version"}.isdisjoint(arguments)
        or "_FPJ_COMPLETE" in os.environ
    )


if __name__ == "__main__":
    main()
