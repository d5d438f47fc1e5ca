"""The peers that are not Python: sharp, and the command-line tools of libvips and ImageMagick."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from typing_extensions import override

from bench.cache import cache_folder
from bench.measure import Contestant, Cost, Server, command_server, python_server
from bench.ways import OUTPUTS, WAYS, Box


class MissingPeerError(Exception):
    """A peer is not installed."""


class Command(Contestant):
    """A command-line tool, started once for every output, as scripts do it.

    So its start-up counts.
    """

    def __init__(
        self, command: Callable[[Path, Box, Path], Sequence[str]], boxes: Sequence[Box]
    ) -> None:
        self._command = command
        self._boxes = boxes
        self._scratch = tempfile.TemporaryDirectory(prefix="fpj-bench-")
        self._server = command_server()

    @override
    def make(self, paths: Sequence[Path]) -> Cost:
        target = Path(self._scratch.name, "output.jpg")
        return self._server.ask(
            [self._command(path, box, target) for path in paths for box in self._boxes]
        )

    @override
    def close(self) -> None:
        self._server.close()
        self._scratch.cleanup()


def contestant(name: str, outputs: str = "cache and thumbnail") -> Contestant:
    """Any way of `bench.ways` or peer by its name. Raises `MissingPeerError`."""
    if name in WAYS:
        return python_server(name, outputs)
    return _PEERS[name](OUTPUTS[outputs])


def contestants(
    names: Sequence[str], outputs: str = "cache and thumbnail"
) -> dict[str, Contestant]:
    """Those of ``names`` that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = contestant(name, outputs)
        except MissingPeerError:
            continue
    return found


def sharp_version() -> str | None:
    """The installed sharp's version."""
    manifest = cache_folder() / "node_modules" / "sharp" / "package.json"
    if not manifest.exists() or shutil.which("node") is None:
        return None
    script = f"process.stdout.write(require({str(manifest)!r}).version)"
    return subprocess.run(["node", "-e", script], check=True, capture_output=True, text=True).stdout


def _sharp(boxes: Sequence[Box], *, optimise: str) -> Contestant:
    if sharp_version() is None:
        raise MissingPeerError("sharp")
    script = Path(__file__).with_name("sharp.mjs")
    sizes = [f"{box.width},{box.height},{box.quality}" for box in boxes]
    return Server(["node", str(script), str(cache_folder()), optimise, *sizes])


def _vipsthumbnail(boxes: Sequence[Box]) -> Contestant:
    _require("vipsthumbnail")
    return Command(
        lambda path, box, target: [
            "vipsthumbnail",
            str(path),
            f"--size={box.width}x{box.height}>",
            f"--output={target}[Q={box.quality},strip]",
        ],
        boxes,
    )


def _imagemagick(boxes: Sequence[Box]) -> Contestant:
    _require("convert")
    return Command(
        lambda path, box, target: [
            "convert",
            str(path),
            "-resize",
            f"{box.width}x{box.height}>",
            "-quality",
            str(box.quality),
            "-strip",
            str(target),
        ],
        boxes,
    )


_PEERS: Mapping[str, Callable[[Sequence[Box]], Contestant]] = {
    "sharp": lambda boxes: _sharp(boxes, optimise="default"),
    "sharp, plain Huffman": lambda boxes: _sharp(boxes, optimise="plain"),
    "vipsthumbnail": _vipsthumbnail,
    "ImageMagick": _imagemagick,
}


def _require(tool: str) -> None:
    if shutil.which(tool) is None:
        raise MissingPeerError(tool)
