"""Draws the dashboard from a live Prometheus: ``python hack/draw_dashboard.py URL SECONDS
FILE.svg``.

Grafana is not needed, and not imitated beyond the layout: each panel stands where the dashboard
puts it and shows what its queries answered over the last SECONDS. docs/images/dashboard.svg was
made so from a run on a test cluster.
"""

from __future__ import annotations

import json
import math
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from fpj_core import formatting
from fpj_generate.grafana import dashboard

COLUMN, ROW, GAP = 50, 22, 4
POINTS = 150
COLOURS = ("#3274d9", "#e0752d", "#3f9b3a", "#a352cc", "#c4162a", "#8f8f8f", "#b8a000", "#1f9aa8")
MOST_LEGENDS = 5

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Line:
    """What one series of a panel answered: (seconds, value), NaN left out."""

    name: str
    points: Points


@dataclass(frozen=True, slots=True)
class Span:
    """The time that is drawn."""

    url: str
    start: float
    end: float

    def ask(self, query: str, legend: str) -> list[Line]:
        """A range query."""
        filled = query.replace("$namespace", ".*").replace("$__rate_interval", "20s")
        step = max((self.end - self.start) / POINTS, 1.0)
        asked = {"query": filled, "start": self.start, "end": self.end, "step": step}
        address = f"{self.url}/api/v1/query_range?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - the user's own Prometheus
            found = json.load(answer)["data"]["result"]
        return [Line(_named(legend, each["metric"]), _numbers(each["values"])) for each in found]


def _named(legend: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        legend = legend.replace("{{" + name + "}}", value)
    return "" if legend == "__auto" else legend


def _numbers(values: Sequence[tuple[float, str]]) -> Points:
    read = [(float(at), float(text)) for at, text in values]
    return [(at, value) for at, value in read if math.isfinite(value)]


def shown(value: float, unit: str) -> str:
    """A value as people read it."""
    match unit:
        case "s":
            return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
        case "bytes" | "Bps":
            return formatting.size(value) + ("/s" if unit == "Bps" else "")
        case "percentunit":
            return f"{value:.0%}"
        case "ops":
            return f"{value:.3g}/s"
        case _:
            return f"{value:.3g}"


def draw(span: Span) -> str:
    """The whole dashboard as SVG."""
    panels = dashboard()["panels"]
    bottom = max(each["gridPos"]["y"] + each["gridPos"]["h"] for each in panels)
    width, height = 24 * COLUMN + GAP, bottom * ROW + GAP
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
            ' font-family="sans-serif">'
        ),
        f'<rect width="{width}" height="{height}" fill="#f4f5f5"/>',
    ]
    for panel in panels:
        place = panel["gridPos"]
        x, y = place["x"] * COLUMN + GAP, place["y"] * ROW + GAP
        w, h = place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
        parts += [f'<g transform="translate({x},{y})">', *_panel(panel, span, w, h), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, colour: str, size: int = 9, anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="{size}" fill="{colour}">{escape(text)}</text>'


def _panel(panel: dict[str, Any], span: Span, w: float, h: float) -> list[str]:
    if panel["type"] == "row":
        return [_text(0, 14, panel["title"], "#111", 13)]
    unit = panel["fieldConfig"]["defaults"]["unit"]
    lines = [
        line for each in panel["targets"] for line in span.ask(each["expr"], each["legendFormat"])
    ]
    lines = [line for line in lines if line.points]
    frame = [
        f'<rect width="{w}" height="{h}" fill="white" stroke="#d8d9da" rx="2"/>',
        _text(8, 15, panel["title"], "#444", 11),
    ]
    if not lines:
        return [*frame, _text(w / 2, h / 2, "no data", "#999", 11, "middle")]
    if panel["type"] == "stat":
        value = shown(lines[0].points[-1][1], unit)
        return [*frame, _text(w / 2, h / 2 + 20, value, "#3274d9", 28, "middle")]
    stacked = panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
    return frame + _plot(_stack(lines) if stacked else lines, span, unit, (w, h))


def _stack(lines: list[Line]) -> list[Line]:
    """Each line on top of those before it; the topmost first, so that the others are seen."""
    below: dict[float, float] = {}
    made = []
    for line in lines:
        points = [(at, below.get(at, 0.0) + value) for at, value in line.points]
        below |= dict(points)
        made.append(Line(line.name, points))
    return made


def _plot(lines: list[Line], span: Span, unit: str, size: tuple[float, float]) -> list[str]:
    left, top, right, bottom = 62.0, 24.0, size[0] - 8, size[1] - 36
    most = max((value for line in lines for _, value in line.points), default=0.0) or 1.0

    def at(moment: float, value: float) -> str:
        x = left + (moment - span.start) / (span.end - span.start) * (right - left)
        return f"{x:.1f},{bottom - value / most * (bottom - top):.1f}"

    parts = []
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * (bottom - top)
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#eee"/>')
        parts.append(_text(left - 4, y + 4, shown(share * most, unit), "#777", anchor="end"))
    coloured = list(zip(lines, COLOURS * len(lines), strict=False))
    for line, colour in coloured:
        path = " ".join(at(*point) for point in line.points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.4"/>'
        )
    x = left
    for line, colour in sorted(coloured, key=lambda each: -each[0].points[-1][1])[:MOST_LEGENDS]:
        parts.append(f'<rect x="{x:.1f}" y="{bottom + 14}" width="8" height="3" fill="{colour}"/>')
        parts.append(_text(x + 11, bottom + 20, line.name, "#555"))
        x += 18 + 5.2 * len(line.name)
    return parts


def main() -> None:
    """Command line."""
    url, seconds, path = sys.argv[1:]
    now = time.time()
    Path(path).write_text(draw(Span(url.rstrip("/"), now - float(seconds), now)), encoding="utf-8")


if __name__ == "__main__":
    main()
