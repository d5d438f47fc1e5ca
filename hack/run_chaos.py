"""Injects faults into fpj on a real node, by seed, and checks that nothing was lost, made twice or got stuck.

python hack/run_chaos.py --seeds 1-100 --faults 100     see docs/resilience.md; needs root
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "hack")]

from chaos.proxied import Proxied  # noqa: E402 - the folders have to be named first
from chaos.report import write_report  # noqa: E402
from chaos.run import Order, run_seed, summary  # noqa: E402
from chaos.schedule import KINDS  # noqa: E402
from e2e.installation import build_image  # noqa: E402

from fpj_cluster import Cluster  # noqa: E402

RESULTS = ROOT / "build" / "chaos.jsonl"
REPORT = ROOT / "docs" / "resilience.md"


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


def _done(results: Path) -> set[str]:
    """Keys of the runs that have a result."""
    lines = results.read_text().splitlines() if results.exists() else []
    return {json.loads(line)["key"] for line in lines}


def _revision() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seeds", default="1", show_default=True, help="Seeds: 3, 1-100, or 1-5,9.")
@click.option("--faults", default=100, show_default=True, help="Faults of each seed.")
@click.option("--calm", type=float, help="Seconds without a fault after each: then times to recover are measured.")
@click.option("--only", multiple=True, metavar="KIND", help="Only this kind of fault; may be given repeatedly.")
@click.option("--list", "listed", is_flag=True, help="Show the kinds of faults, and run none.")
@click.option("--minutes", type=float, help="Begin no seed later than this.")
@click.option("--image", type=click.Path(exists=True, path_type=Path), help="A docker-archive of localhost/fpj:e2e.")
@click.option("--revision", help="Of what that image was built, for the report; else that of this checkout.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, show_default=True, help="JSON Lines.")
@click.option("--report", is_flag=True, help="Write docs/resilience.md from the results there are, and run none.")
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
    results: Path,
    report: bool,
) -> None:
    """Inject faults into fpj on a node; seeds that have a result are passed over. Exit code 1: one is not clean."""
    if listed:
        for kind in KINDS.values():
            _say(f"{kind.name:26} {kind.what}")
        return
    if report:
        write_report(results, REPORT)
        return
    if unknown := set(only) - set(KINDS):
        raise click.BadParameter(f"there is no {', '.join(sorted(unknown))}; see --list", param_hint="--only")
    try:
        wanted = seeds_in(seeds)
    except ValueError:
        raise click.BadParameter(f"{seeds!r} names no seeds", param_hint="--seeds") from None
    if os.geteuid() != 0:
        raise click.ClickException("a node needs root")
    kinds = only or tuple(KINDS)
    # Where recovery is measured, a job should outlast some faults: what begins with the next one is no recovery.
    job = {} if calm is None else {"images": 400, "slowness": 0.5}
    orders = [Order(seed, faults, calm, kinds, **job) for seed in wanted]
    done = _done(results)
    orders = [order for order in orders if order.key not in done]
    _say(f"{len(orders)} of {len(wanted)} seeds to run; results in {results}")
    _on_signals(_stop)
    if orders and not _run(orders, image, results, minutes, revision or _revision()):
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


def _run(orders: list[Order], image: Path | None, results: Path, minutes: float | None, revision: str) -> bool:
    """Whether all were clean."""
    clean = True
    until = time.monotonic() + (minutes or 1e6) * 60
    results.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fpjc", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)  # pods read what lies in it
        with _installation(image, folder) as (fpj, cluster):
            for number, order in enumerate(orders, 1):
                if time.monotonic() > until:
                    _say(f"time is up: {len(orders) - number + 1} seeds are left for the next call")
                    break
                _say(f"\n{number} of {len(orders)}: seed {order.seed}, {order.faults} faults")
                result = run_seed(fpj, cluster, folder, order, _say)
                clean = clean and not result.violations
                with results.open("a") as file:
                    file.write(json.dumps(result.document() | {"revision": revision}) + "\n")
                _say(summary(result))
    return clean


if __name__ == "__main__":
    main()
