"""Runs experiments with faults against fpj on a real node; see docs/development/experiments.md.

Needs root.

python hack/run_experiments.py --list
python hack/run_experiments.py [--only NAME]... [--image TAR] [--old-source DIR --old-image TAR]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "hack")]

from e2e.installation import build_image  # noqa: E402 - the folders have to be named first
from experiments import catalogue  # noqa: E402
from experiments.bed import REPOSITORY, Bed, bed, today  # noqa: E402
from experiments.trial import KNOWN, Known, Trial  # noqa: E402


def _say(text: str) -> None:
    click.echo(text)
    sys.stdout.flush()


def _run(known: Known, found: Bed, folder: Path) -> bool:
    """Whether all held that must."""
    _say(f"\n{known.name}: {known.what}")
    trial = Trial(found, folder, _say)
    start = time.monotonic()
    try:
        known.run(trial)
    except (AssertionError, OSError, RuntimeError) as error:
        trial.must(False, f"{type(error).__name__}: {str(error)[:2_000]}")
    verdict = "FAILED" if trial.failed else "held"
    _say(f"  {time.monotonic() - start:6.1f} s  verdict   {verdict}")
    return not trial.failed


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--list", "listed", is_flag=True, help="Name the experiments, and run none.")
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Run this experiment alone; may be given repeatedly.",
)
@click.option(
    "--image",
    type=click.Path(exists=True, path_type=Path),
    help=f"A docker-archive of {REPOSITORY}:today.",
)
@click.option(
    "--old-source",
    type=click.Path(exists=True, path_type=Path),
    help="Checkout of the version to upgrade.",
)
@click.option(
    "--old-image",
    type=click.Path(exists=True, path_type=Path),
    help=f"Its image, {REPOSITORY}:old.",
)
def main(
    *,
    listed: bool,
    only: tuple[str, ...],
    image: Path | None,
    old_source: Path | None,
    old_image: Path | None,
) -> None:
    """Run experiments against fpj on a real node. Exit code 1: one did not hold."""
    if listed:
        for known in KNOWN.values():
            _say(f"{known.name:24} {known.what}")
        return
    if unknown := set(only) - set(KNOWN):
        raise click.BadParameter(
            f"there is no {', '.join(sorted(unknown))}; see --list", param_hint="--only"
        )
    if os.geteuid() != 0:
        raise click.ClickException("a node needs root")
    chosen = [known for name, known in KNOWN.items() if not only or name in only]
    catalogue.OLD.update(source=old_source, image=old_image)
    with tempfile.TemporaryDirectory(prefix="fpjx", dir="/tmp") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # pods read what lies in it
        tar = image or folder / "fpj.tar"
        if image is None:
            build_image(tar, f"{REPOSITORY}:today")
        images = {"today": tar} | ({"old": old_image} if old_image else {})
        found = stack.enter_context(bed(folder, images, today()))
        held = [_run(known, found, folder) for known in chosen]
        logs = Path(tempfile.gettempdir(), "fpj-experiments-operator.log")
        logs.write_text(found.log)
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
