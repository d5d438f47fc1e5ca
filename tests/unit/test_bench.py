"""The benchmarks are not tests; that they load, and that their report is right, is tested here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import bench.run
import pytest
from bench import report
from bench.registry import BENCHMARKS
from bench.result import Row, at_least, at_most
from bench.run import chosen, parser


def test_names_are_unique_and_fit_the_list() -> None:
    names = [benchmark.name for benchmark in BENCHMARKS]
    assert len(set(names)) == len(names) >= 15
    assert all(len(name) <= 14 for name in names)


def test_short_run_leaves_out_what_needs_large_files() -> None:
    quick, full = chosen([], quick=True), chosen([], quick=False)
    assert {"bomb", "scaling"} <= {each.name for each in full} - {each.name for each in quick}


def test_the_script_starts_by_its_path_alone() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, bench.run.__file__, "--list"]
    listed = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [
        each.name for each in BENCHMARKS
    ]


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no benchmark is called speed; there are peers, "):
        chosen(["speed"], quick=True)


def test_json_goes_to_the_build_folder() -> None:
    assert parser().parse_args([]).json.parts[-2:] == ("build", "bench.json")


def test_report_says_what_is_met_and_what_is_missed() -> None:
    rows = (
        Row("faster", 0.4, "", at_most(0.5), "as hoped"),
        Row("many", 19_000, "images/s", at_least(20_000)),
        Row("known", 1.234, "s"),
    )
    outcomes = [
        report.Outcome("x", "Title", rows, 1.0),
        report.Outcome("y", "Other", (), 0.1, "left out: no peer"),
    ]
    text = report.markdown({"cores": "2"}, outcomes)
    assert "| faster | 0.4 | ≤ 0.5 | yes | as hoped |" in text
    assert "| many | 19,000 images/s | ≥ 20,000 | NO |  |" in text
    assert "| known | 1.23 s |  |  |  |" in text
    assert "1 of 2 targets met.\n- missed: many" in text
    assert "left out: no peer" in text
    loads = {"load average": "0 0 0", "when": "now"}
    document = json.loads(report.as_json(loads, loads, outcomes))
    assert [row["met"] for row in document["benchmarks"][0]["rows"]] == [True, False, None]
    assert document["benchmarks"][1]["problem"] == "left out: no peer"


def test_no_benchmark_is_collected_as_a_test() -> None:
    modules = Path(report.__file__).parent.rglob("*.py")
    assert not [
        path for path in modules if path.name.startswith("test_") or path.name.endswith("_test.py")
    ]
