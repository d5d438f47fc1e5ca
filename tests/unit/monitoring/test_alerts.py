"""Each alert fires when it should and only then, tells a person what to do,
and asks for metrics that exist.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from monitoring_files import RULES as FILES
from monitoring_files import RUNBOOKS, metrics_in, prometheus_program, rules

from fpj_generate import metrics as metrics_reference

pytestmark = pytest.mark.slow

CASES = Path(__file__).with_name("alerts.test.yaml")
RULES = rules()
INDEX = (RUNBOOKS / "README.md").read_text()


def promtool(*arguments: str | Path) -> str:
    command = [prometheus_program("promtool"), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_rules_are_valid() -> None:
    said = promtool("check", "rules", "--lint=all", "--lint-fatal", *FILES)
    assert sum(int(number) for number in re.findall(r"SUCCESS: (\d+) rules found", said)) == len(
        RULES
    )


def test_alerts_fire_when_they_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", CASES)


def test_alerts_that_do_not_fire_are_noticed(tmp_path: Path) -> None:
    """The test before this one can fail: rules that ask for something else than the cases do not
    pass them.
    """
    for name, rule in RULES.items():
        changed = tmp_path / f"{name}.yaml"
        wrong = rule | {"expr": "vector(1) > 2"}
        changed.write_text(yaml.safe_dump({"groups": [{"name": "wrong", "rules": [wrong]}]}))
        tried = [case for case in cases() if case["alert_rule_test"][0]["alertname"] == name]
        document = {"rule_files": [str(changed)], "evaluation_interval": "1m", "tests": tried}
        (tmp_path / "cases.yaml").write_text(yaml.safe_dump(document))
        command = [
            str(prometheus_program("promtool")),
            "test",
            "rules",
            str(tmp_path / "cases.yaml"),
        ]
        assert (
            subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 1
        ), name


def cases() -> list[dict[str, Any]]:
    return list(yaml.safe_load(CASES.read_text())["tests"])


@pytest.mark.parametrize("name", RULES)
def test_each_alert_has_a_case_that_fires_and_one_that_does_not(name: str) -> None:
    expected = [
        bool(each["exp_alerts"])
        for case in cases()
        for each in case["alert_rule_test"]
        if each["alertname"] == name
    ]
    assert sorted(expected) == [False, True]


@pytest.mark.parametrize("name", RULES)
def test_each_alert_says_how_bad_it_is_and_has_a_runbook(name: str) -> None:
    rule = RULES[name]
    assert name.startswith("Fpj")
    assert rule["labels"]["severity"] in ("critical", "warning")
    notes = rule["annotations"]
    assert len(notes["summary"]) < 80 and len(notes["description"]) > 60
    base, _, path = notes["runbook_url"].partition("/docs/")
    assert base.startswith("https://") and path == f"runbooks/alerts/{name}.md"
    page = RUNBOOKS.parent / path
    text = page.read_text()
    assert text.startswith(f"# {name}\n")
    for heading in ("## What it means", "## What to check", "## What to do"):
        assert len(text.partition(f"\n{heading}\n")[2].partition("\n## ")[0].strip()) > 40, (
            f"{heading} says nothing"
        )
    assert f"| [{name}](alerts/{name}.md) | {rule['labels']['severity']} |" in INDEX


def test_no_page_is_left_of_an_alert_that_is_gone() -> None:
    assert {page.stem for page in (RUNBOOKS / "alerts").glob("*.md")} == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_alerts_ask_for_metrics_that_exist(name: str) -> None:
    asked = metrics_in(RULES[name]["expr"])
    assert asked and asked <= metrics_reference.series()


@pytest.mark.parametrize(
    "page", [*(RUNBOOKS / "alerts").glob("*.md"), RUNBOOKS.parent / "guide" / "monitoring.md"]
)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"
