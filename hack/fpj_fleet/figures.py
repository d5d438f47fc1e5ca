"""The measured figures that the simulation rests on, each with the command that gave it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("figures.toml")


@dataclass(frozen=True, slots=True)
class Figure:
    """One number. ``source`` is the command that measured it, or why it is a guess."""

    value: float
    unit: str
    source: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of picture: CPU milliseconds for one, with a 1,920 px and a 300 px output."""

    name: str
    figure: Figure


@dataclass(frozen=True, slots=True)
class Check:
    """A run that was measured, and that the simulation can be held against; ``seconds`` is what it
    took.
    """

    name: str
    seconds: float
    images: int
    shard_size: int
    pods: int
    workers: int
    image_ms: float
    """CPU of one image on that machine on that day, by `fpj run` over the same images."""
    cores: float
    """Of the node, for all pods together."""
    source: str


@dataclass(frozen=True, slots=True)
class Figures:
    """All of them."""

    kinds: Mapping[str, Kind]
    figures: Mapping[str, Figure]
    """By ``section.name``."""
    commands: Mapping[str, int]
    """Commands to MongoDB by what the code does once; a test counts them."""
    requests: Mapping[str, float]
    """Requests to the API server for one pod, by kind."""
    checks: tuple[Check, ...]

    def __getitem__(self, name: str) -> float:
        return self.figures[name].value


def load(text: str | None = None) -> Figures:
    """Read ``figures.toml``, or its ``text``."""
    document: Mapping[str, Any] = tomllib.loads(
        FILE.read_text(encoding="utf-8") if text is None else text
    )
    return Figures(
        kinds={
            key: Kind(given["name"], _figure(given)) for key, given in document["kinds"].items()
        },
        figures={
            f"{section}.{name}": _figure(given)
            for section in ("job", "pod", "index", "worker", "store", "api", "limits")
            for name, given in document[section].items()
        },
        commands={name: given["value"] for name, given in document["commands"].items()},
        requests={name: given["value"] for name, given in document["requests"].items()},
        checks=tuple(Check(**given) for given in document["checks"]),
    )


def _figure(given: Mapping[str, Any]) -> Figure:
    return Figure(given["value"], given["unit"], given["source"])
