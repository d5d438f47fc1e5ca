"""The table of all metrics from the code.

It is read off the metric objects of operator, API and worker themselves, so a metric that is not in
it does not exist. They know nothing of each other, so this is the one place that imports them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

from prometheus_client import PROCESS_COLLECTOR
from prometheus_client.metrics import MetricWrapperBase

import fpj_api.metrics
import fpj_core.process.metrics
import fpj_operator.metrics
import fpj_worker.pod.metrics
from markdown_lines import joined

FILE = "metrics.md"
_HEADER = "<!-- Generated from the code by `make docs`. Do not edit. -->"
_EXPORTERS: tuple[tuple[str, str, ModuleType], ...] = (
    ("Operator", "Served on `FPJ_METRICS_PORT` (9090).", fpj_operator.metrics),
    (
        "Worker pods",
        "Served while a pod lives, if it is given `FPJ_METRICS_PORT`.",
        fpj_worker.pod.metrics,
    ),
    ("API", "Served on `FPJ_METRICS_PORT` (9090).", fpj_api.metrics),
    ("All of them", "How the store looks from each of them.", fpj_core.process.metrics),
)
_PROCESS = "Python and process"
_PROCESS_TEXT = (
    "Of every process, from the Prometheus client itself; some more of Python's garbage collector."
)


@dataclass(frozen=True, slots=True)
class Row:
    """One metric. ``name`` is the one that queries use, without the suffixes of a histogram."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str

    @property
    def series(self) -> frozenset[str]:
        """All names under which Prometheus stores it."""
        if self.kind == "histogram":
            return frozenset(self.name + suffix for suffix in ("_bucket", "_sum", "_count"))
        return frozenset({self.name})


def metrics() -> dict[str, list[Row]]:
    """By who exports them."""
    found = {
        title: sorted(_rows(module), key=lambda row: row.name) for title, _, module in _EXPORTERS
    }
    families = sorted(PROCESS_COLLECTOR.collect(), key=lambda family: family.name)
    found[_PROCESS] = [
        _row(family.name, family.type, (), family.documentation) for family in families
    ]
    return found


def series() -> frozenset[str]:
    """Every name that a query may use."""
    return frozenset(name for rows in metrics().values() for row in rows for name in row.series)


def files() -> dict[str, str]:
    """File name to Markdown text."""
    texts = {title: text for title, text, _ in _EXPORTERS} | {_PROCESS: _PROCESS_TEXT}
    lines = [
        _HEADER,
        "",
        "# Metrics",
        "",
        "Everything that fpj tells Prometheus. Labels have values from closed sets, never a job's",
        "name; cache folders alone are named. A histogram `x` is stored as `x_bucket`, `x_sum` and",
        "`x_count`. What to make of them:",
        "[monitoring](../guide/monitoring.md).",
        "",
    ]
    for title, rows in metrics().items():
        lines += [
            f"## {title}",
            "",
            texts[title],
            "",
            "| Name | Type | Labels | Meaning |",
            "|---|---|---|---|",
        ]
        for row in rows:
            labels = ", ".join(f"`{label}`" for label in row.labels)
            lines.append(f"| `{row.name}` | {row.kind} | {labels} | {row.meaning} |")
        lines.append("")
    return {FILE: joined("\n".join(lines))}


def _rows(module: ModuleType) -> Iterator[Row]:
    for value in vars(module).values():
        if isinstance(value, MetricWrapperBase):
            (family,) = value.describe()
            yield _row(family.name, family.type, value._labelnames, family.documentation)


def _row(name: str, kind: str, labels: tuple[str, ...], meaning: str) -> Row:
    queried = f"{name}_total" if kind == "counter" else name
    return Row(queried, kind, labels, meaning.replace("|", "\\|"))
