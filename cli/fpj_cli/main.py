"""The `fpj` command: every subcommand. `fpj_core.kube.exits.CommandExit` has its exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

import fpj_core
from fpj_cli.act import recover, release, resume, suspend
from fpj_cli.cleanup import cleanup
from fpj_cli.endings import guarded
from fpj_cli.export import export, find, outputs
from fpj_cli.follow import wait, watch
from fpj_cli.forget import forget_command
from fpj_cli.generate import generate
from fpj_cli.helptexts import Group
from fpj_cli.logs import logs
from fpj_cli.purge import purge
from fpj_cli.recorded import stats
from fpj_cli.run import run
from fpj_cli.settings import Settings, load_settings
from fpj_cli.setup import completion, config, kubectl_lines, schema
from fpj_cli.show import describe, failures, get
from fpj_cli.target import cluster_options, is_plugin
from fpj_cli.verify import verify


@click.group(
    cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
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
    cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
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


_ANYWHERE = (
    *(get, describe, failures, watch, wait, generate),
    *(suspend, resume, recover, logs, release),
)
_STORED = (stats, outputs, find, export, purge, cleanup, forget_command, verify)
for command in (run, *_ANYWHERE, *_STORED, config, completion, schema):
    cli.add_command(command)
for command in _ANYWHERE:
    plugin.add_command(command)


def main() -> None:
    """Entry point. Errors that are the user's to fix are shown without a traceback."""
    sys.exit(guarded(_command, sys.argv[1:]))


def complete() -> None:
    """Entry point of `kubectl_complete-fpj`, which kubectl's completion runs for `kubectl fpj`."""
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
