"""Running `fpj run` as a user does, and measuring all its processes."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import override

from bench.cache import cache_folder
from bench.files import linked_folder
from bench.measure import Contestant, Cost, run_module

_FPJ = Path(sys.executable).with_name("fpj")


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that ended: what all its processes cost, and the JSON that it printed."""

    cost: Cost
    said: dict[str, Any]

    def count(self, name: str) -> int:
        """A number of the run's progress, say ``completed``."""
        return int(self.said["progress"][name])


def fpj_run(source: Path, home: Path, *options: str) -> Finished:
    """`fpj run` on ``source`` with its cache folder and store in ``home``.

    Raises RuntimeError if it fails.
    """
    tiers = ("--tier", "full=1920x1440", "--thumbnail", "300x300")
    places = ("--out", str(home / "out"), "--store", str(home / "store.db"))
    tree = run_module(
        "tree",
        str(_FPJ),
        "run",
        str(source),
        *places,
        *tiers,
        "--json",
        "-q",
        *options,
        environment={},
    )
    if tree["code"]:
        raise RuntimeError(f"fpj run ended with code {tree['code']}: {tree['output'][:500]}")
    return Finished(Cost(tree["cpu"], tree["wall"], tree["peak"]), json.loads(tree["output"]))


class FpjRun(Contestant):
    """`fpj run` from nothing as a contestant: index, records, processing, atomic writes, finish,
    its start-up.
    """

    def __init__(self, *options: str) -> None:
        self._options = options
        self._home = Path(tempfile.mkdtemp(prefix="run-", dir=cache_folder()))

    @override
    def make(self, paths: Sequence[Path]) -> Cost:
        source = linked_folder(
            self._home / "source", [path.resolve() for path in paths], len(paths)
        )
        finished = fpj_run(source, self._home, *self._options)
        assert finished.count("completed") == len(paths)
        shutil.rmtree(self._home / "out")
        for store in self._home.glob("store.db*"):
            store.unlink()
        return finished.cost

    @override
    def close(self) -> None:
        shutil.rmtree(self._home)
