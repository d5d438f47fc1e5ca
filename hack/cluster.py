"""Starts and ends a real Kubernetes cluster on this machine; see docs/development/cluster.md.

python hack/cluster.py up [--node] [--dir DIR]     prints the `export KUBECONFIG=...` to use it with
python hack/cluster.py down | status | kubeconfig | import-image TAR
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click

from fpj_cluster import Cluster, ClusterError, binaries, default_directory

_PACKAGES = Path(__file__).parent / "node-packages.sh"


def _say(message: str) -> None:
    click.echo(f"cluster: {message}", err=True)


def _directory(command: Callable[..., None]) -> Callable[..., None]:
    kind = click.Path(file_okay=False, path_type=Path)
    help_ = "The cluster's directory (default: one below the cache folder)."
    option = click.option("--dir", "directory", type=kind, default=default_directory, help=help_)
    return option(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Start and end a real Kubernetes cluster on this machine."""


@cli.command()
@click.option("--node", is_flag=True, help="Also run a node, so that pods run (needs root).")
@_directory
def up(directory: Path, *, node: bool) -> None:
    """Start a cluster, building its programs first where they are missing."""
    if node and os.geteuid() != 0:
        raise ClusterError("a node needs root; without --node no root is needed")
    binaries.build(node=node)
    if node and subprocess.run([_PACKAGES], check=False).returncode:  # noqa: S603
        raise ClusterError("a node's packages are missing; see above")
    cluster = Cluster(directory, node=node, say=_say)
    cluster.up()
    click.echo(f"export KUBECONFIG={cluster.kubeconfig}")


@cli.command()
@_directory
def down(directory: Path) -> None:
    """End a cluster and remove what it kept, but for its logs."""
    Cluster(directory).down()
    _say("ended")


@cli.command()
@_directory
def status(directory: Path) -> None:
    """Show which components run. Exit code 1: not all of them do."""
    components = Cluster(directory).status()
    for name, is_alive in components.items():
        click.echo(f"{name:24} {'running' if is_alive else 'ended'}")
    if not components:
        click.echo(f"no cluster runs in {directory}")
    if not components or not all(components.values()):
        sys.exit(1)


@cli.command()
@_directory
def kubeconfig(directory: Path) -> None:
    """Print the `export KUBECONFIG=...` of a running cluster."""
    cluster = Cluster(directory)
    if not cluster.kubeconfig.exists():
        raise ClusterError(f"no cluster runs in {directory}")
    click.echo(f"export KUBECONFIG={cluster.kubeconfig}")


@cli.command("import-image")
@click.argument("tar", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_directory
def import_image(tar: Path, directory: Path) -> None:
    """Give a node an image, such as hack/image.sh writes."""
    Cluster(directory).import_image(tar)


@cli.command(hidden=True)
@click.option("--owner", type=int, required=True)
@_directory
def guard(owner: int, directory: Path) -> None:
    """Wait for a process to end, however it does, and end the cluster then."""
    try:
        descriptor = os.pidfd_open(owner)
    except ProcessLookupError:
        pass
    else:
        select.select([descriptor], [], [])
    Cluster(directory).down()


def main() -> None:
    """Entry point."""
    try:
        cli(prog_name="cluster.py")
    except ClusterError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
