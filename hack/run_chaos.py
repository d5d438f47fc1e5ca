"""Injects faults into fpj on a real node, by seed, and checks that nothing was lost,
made twice or got stuck.

python hack/run_chaos.py --seeds 1-100 --faults 100     see docs/resilience.md; needs root
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import click

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "hack")]

from chaos import results  # noqa: E402 - the folders have to be named first
from chaos.proxied import Proxied  # noqa: E402
from chaos.results import Order, Result  # noqa: E402
from chaos.run import play, run_seed, summary  # noqa: E402
from chaos.schedule import KINDS  # noqa: E402
from e2e.installation import build_image  # noqa: E402

from fpj_cluster import Cluster  # noqa: E402

TRACES = ROOT / "build" / "chaos"
PRODUCT = (
    "core",
    "operator",
    "worker",
    "api",
    "cli",
    "crds",
    "deploy",
    "requirements",
    "Dockerfile",
    "pyproject.toml",
)
"""What the image is made of, and what installs it."""


def _say(text: str) -> None:
    click.echo(text)
    sys.stdout.flush()


def seeds_in(text: str) -> list[int]:
    """``3``, ``1-100`` or ``1-5,9``. ValueError for anything else."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


@contextmanager
def _installation(image: Path | None, folder: Path) -> Iterator[tuple[Proxied, Cluster]]:
    tar = image or folder / "fpj.tar"
    if image is None:
        build_image(tar)
    cluster = Cluster(folder / "node", node=True)
    cluster.up(owner=os.getpid())
    try:
        cluster.import_image(tar)
        with Proxied(cluster, folder) as fpj:
            yield fpj, cluster
    finally:
        _on_signals(signal.SIG_IGN)  # what is half ended leaves mounts and rules behind
        cluster.down()


def _revision() -> str:
    """Of what is tested: the last commit that changed it."""
    commit = _git("log", "-1", "--format=%h", "--", *PRODUCT)
    return f"{commit}-dirty" if _git("status", "--porcelain", "--", *PRODUCT) else commit


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seeds", default="1", show_default=True, help="Seeds: 3, 1-100, or 1-5,9.")
@click.option("--faults", default=100, show_default=True, help="Faults of each seed.")
@click.option(
    "--calm",
    type=float,
    help="Wait for recovery after each, so many seconds at most, and measure it.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="KIND",
    help="Only this kind of fault; may be given repeatedly.",
)
@click.option("--list", "listed", is_flag=True, help="Show the kinds of faults, and run none.")
@click.option("--minutes", type=float, help="Begin no seed later than this.")
@click.option(
    "--image",
    type=click.Path(exists=True, path_type=Path),
    help="A docker-archive of localhost/fpj:e2e.",
)
@click.option(
    "--revision", help="Of what that image was built, for the report; else that of this checkout."
)
@click.option(
    "--results",
    "kept",
    type=click.Path(path_type=Path),
    default=results.KEPT,
    help="JSON Lines to go on with.",
)
@click.option(
    "--again", is_flag=True, help="Also seeds that were clean; nothing is added to the results."
)
def main(
    *,
    seeds: str,
    faults: int,
    calm: float | None,
    only: tuple[str, ...],
    listed: bool,
    minutes: float | None,
    image: Path | None,
    revision: str | None,
    kept: Path,
    again: bool,
) -> None:
    """Inject faults into fpj on a node; seeds that were clean are skipped.

    Exit code 1: one is not clean.
    """
    if listed:
        for kind in KINDS.values():
            _say(f"{kind.name:26} {kind.what}")
        return
    if unknown := set(only) - set(KINDS):
        raise click.BadParameter(
            f"there is no {', '.join(sorted(unknown))}; see --list", param_hint="--only"
        )
    try:
        wanted = seeds_in(seeds)
    except ValueError:
        raise click.BadParameter(f"{seeds!r} names no seeds", param_hint="--seeds") from None
    if os.geteuid() != 0:
        raise click.ClickException("a node needs root")
    kinds = only or tuple(KINDS)
    # Where recovery is measured, a job should outlast some faults: what begins with the next one
    # does not count.
    job: dict[str, Any] = {} if calm is None else {"images": 400, "slowness": 0.5, "warm": True}
    orders = [Order(seed, faults, calm, kinds, **job) for seed in wanted]
    if not again:
        orders = results.left_to_run(orders, results.kept(kept))
    _say(f"{len(orders)} of {len(wanted)} seeds to run; results in {kept}, traces in {TRACES}")
    _on_signals(_stop)
    if orders and not _run(
        orders, image, None if again else kept, minutes, revision or _revision()
    ):
        sys.exit(1)


def _on_signals(do: Callable[[int, object], None] | signal.Handlers) -> None:
    """Also for SIGINT: a shell that starts this in the background has it ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, do)


def _stop(_number: int, _frame: object) -> None:
    """All that was started ends, and the mounts and rules with it."""
    _on_signals(signal.SIG_IGN)
    _say("stopping; what has a result is kept, and the next call goes on with the rest")
    raise KeyboardInterrupt


def _run(
    orders: list[Order], image: Path | None, kept: Path | None, minutes: float | None, revision: str
) -> bool:
    """Whether all were clean."""
    until = time.monotonic() + (minutes or 1e6) * 60
    with tempfile.TemporaryDirectory(prefix="fpjc", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)  # pods read what lies in it
        with _installation(image, folder) as (fpj, cluster), _Ends(kept, revision) as ends:
            for number, order in enumerate(orders, 1):
                if time.monotonic() > until:
                    _say(f"time is up: {len(orders) - number + 1} seeds are left for the next call")
                    break
                _say(f"\n{number} of {len(orders)}: seed {order.seed}, {order.faults} faults")
                with _traced(order) as say:
                    if order.calm is None:
                        ends.after(*play(fpj, cluster, folder, order, say))
                    else:  # what is measured is not to be disturbed
                        ends.after(run_seed(fpj, cluster, folder, order, say), lambda: None)
    return ends.all_clean


class _Ends:
    """Deletes what a seed made while the next one runs, and keeps its result then."""

    def __init__(self, kept: Path | None, revision: str) -> None:
        self.all_clean = True
        self._kept, self._revision = kept, revision
        self._pool = ThreadPoolExecutor(1)
        self._last: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind in (None, KeyboardInterrupt):  # what ended before somebody stopped this counts
            self._wait()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def after(self, result: Result, delete: Callable[[], None]) -> None:
        """Once the one before is deleted."""
        self._wait()
        self._last = self._pool.submit(self._end, result, delete)

    def _wait(self) -> None:
        if self._last:
            self._last.result()

    def _end(self, result: Result, delete: Callable[[], None]) -> None:
        delete()
        result.revision = self._revision
        self.all_clean = self.all_clean and result.clean
        if self._kept:
            results.keep(result, self._kept)
        _say(summary(result))


@contextmanager
def _traced(order: Order) -> Iterator[Callable[[str], None]]:
    """A run's trace, on the terminal and in a file."""
    TRACES.mkdir(parents=True, exist_ok=True)
    path = TRACES / f"{order.seed}-{order.faults}{'' if order.calm is None else '-calm'}.txt"
    with path.open("w") as file:

        def say(line: str) -> None:
            _say(line)
            file.write(f"{line}\n")
            file.flush()

        yield say


if __name__ == "__main__":
    main()
