"""The dashboard is one that Grafana can import, and asks for metrics that exist.

That they answer: see integration.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from monitoring_files import FILES, dashboard, metrics_in, rules

from fpj_generate import grafana as generator
from fpj_generate import metrics as metrics_reference

BOARD = dashboard()
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
TITLES = [panel["title"] for panel in PANELS]


def test_it_is_the_one_that_is_generated() -> None:
    assert (FILES / generator.FILE).read_text() == generator.files()[generator.FILE]


def test_panels_are_told_apart_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert len(set(TITLES)) == len(TITLES)
    for one, other in combinations([panel["gridPos"] for panel in BOARD["panels"]], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"], (
            one,
            other,
        )
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in BOARD["panels"])


@pytest.mark.parametrize("panel", PANELS, ids=TITLES)
def test_each_panel_is_whole(panel: dict[str, Any]) -> None:
    assert panel["type"] in ("stat", "timeseries")
    assert panel["title"] and panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in (
        "short",
        "s",
        "bytes",
        "Bps",
        "ops",
        "percentunit",
    )
    assert [target["refId"] for target in panel["targets"]] == list(
        "ABCDEF"[: len(panel["targets"])]
    )
    for target in panel["targets"]:
        assert (
            target["datasource"]
            == panel["datasource"]
            == {"type": "prometheus", "uid": "${datasource}"}
        )
        asked = metrics_in(target["expr"])
        assert asked and asked <= metrics_reference.series()


def test_its_variables_are_defined_and_used() -> None:
    text = (FILES / generator.FILE).read_text()
    for variable in BOARD["templating"]["list"]:
        assert f"${variable['name']}" in text or f"${{{variable['name']}}}" in text
    assert [variable["name"] for variable in BOARD["templating"]["list"]] == [
        "datasource",
        "namespace",
    ]


def test_it_shows_what_operators_of_it_ask_for() -> None:
    shown = set().union(
        *(metrics_in(target["expr"]) for panel in PANELS for target in panel["targets"])
    )
    alerted = set().union(*(metrics_in(rule["expr"]) for rule in rules().values()))
    unseen = {name.removesuffix("_bucket").removesuffix("_count") for name in alerted} - {
        name.removesuffix("_bucket").removesuffix("_count") for name in shown
    }
    assert unseen == {"process_start_time_seconds"}, (
        "whoever is woken can see in the dashboard what woke them"
    )
