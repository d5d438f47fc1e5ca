"""Every reason that a job can give for waiting,
not moving or failing has its page in docs/runbooks.

The reasons are read from the operator's code itself, so that a new one without a page fails here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import fpj_operator
from fpj_core.kube.exits import Reason
from fpj_core.kube.folderreport import Drift
from fpj_operator.jobs.reasons import REASONS, REPORTED, WAITING

RUNBOOKS = Path(__file__).parents[3] / "docs" / "runbooks"
SOURCES = sorted(Path(fpj_operator.__file__).parent.rglob("*.py"))

ALL_IS_WELL = frozenset(
    {
        "Indexing",
        "Running",
        "Suspended",
        "Resumed",
        "AllImagesDone",
        "Locked",
        "NotLocked",
        "Scheduled",
        "Removing",
    }
    | {"Deleted"}  # noted in the store alone: the resource is gone
    | {"Checked", "NotChecked", "WithinQuota", "NoQuota", "Idle", "Starting", "Evicting"}  # folders
    | {"Purging", "Purged"}  # purges
)
EVENTS_ONLY = frozenset(
    {"Recovering", "ImagesFailing", "NotBegunAgain"}
    | {"FilesRemoved", "FilesKept"}  # of a deletion, and the condition of that name
    | {"FilesEvicted", "EvictionShort", "FolderVerified", "FolderInTrouble"}  # of cache folders
    | {"PurgeFailed", "WebhookFailed"}  # of purges
    | {"Started", "Replaced", "WaitsForLastRun", "Missed", "TooManyMissed"}  # of schedules
)
OTHER_WORDS = frozenset(
    {"Queue", "EarlierAttempts", "Index", "Check", "Plan", "Process", "Finish"}  # stages
    | {
        "Failed",
        "FailureTarget",
        "Complete",
        "True",
        "False",
        "FailedCreate",
        "PodScheduled",
        "OOMKilled",
        "Evicted",
    }
    | {"DisruptionTarget", "Warning", "Succeeded"}
    | {"FileProcessingJob", "FileProcessingSchedule"}  # kinds
    | {"Pod", "Event", *WAITING, *REPORTED}  # Kubernetes'
    | {"Ready", "Progressing"}  # conditions
)
"""Words in CamelCase of the two modules that decide, which are not reasons of ours."""

WORD = re.compile(r"[A-Z][A-Za-z]*[a-z][A-Za-z]*")
REASON_PLACE = {
    "Verdict": 1,
    "Refusal": 0,
    "_fail": 0,
    "_recover_or_fail": 0,
    "_wait": 0,
    "Emit": 0,
    "WaitingError": 0,
}
"""Callables that take a reason, and the place it has among their arguments."""


def words(node: ast.AST) -> Iterator[str]:
    """CamelCase strings of an expression, but for those that something is compared with."""
    if (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and WORD.fullmatch(node.value)
    ):
        yield node.value
    if not isinstance(node, ast.Compare):
        for child in ast.iter_child_nodes(node):
            yield from words(child)


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def of_call(node: ast.Call) -> Iterator[str]:
    place = REASON_PLACE.get(called(node))
    if place is not None and len(node.args) > place:
        yield from words(node.args[place])
    for keyword in node.keywords:
        if keyword.arg == "reason":
            yield from words(keyword.value)


def of_assignment(node: ast.Assign) -> Iterator[str]:
    """``reason = …`` and ``phase, reason = …, …``."""
    names = {
        each.id
        for target in node.targets
        for each in ast.walk(target)
        if isinstance(each, ast.Name)
    }
    if "reason" in names:
        yield from words(node.value)


def reasons_in(source: str) -> set[str]:
    """Reasons that a module gives: to a verdict, an event or a record, or as the first of (reason,
    message).
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            found.update(of_call(node))
        elif isinstance(node, ast.Assign):
            found.update(of_assignment(node))
        elif isinstance(node, ast.Tuple) and len(node.elts) == 2:
            first = node.elts[0]
            pairs = (first.body, first.orelse) if isinstance(first, ast.IfExp) else (first,)
            found.update(
                word for each in pairs if isinstance(each, ast.Constant) for word in words(each)
            )
        elif isinstance(node, ast.Tuple) and len(node.elts) == 3:
            first, second = node.elts[:2]
            if isinstance(first, ast.Constant) and first.value in ("True", "False", "Unknown"):
                found.update(words(second))
    return found - OTHER_WORDS


def reasons() -> set[str]:
    """All that the operator or a pod can give."""
    found = {reason.value for reason in (*Reason, *Drift)} | REASONS
    return found.union(*(reasons_in(path.read_text(encoding="utf-8")) for path in SOURCES))


NEED_A_PAGE = sorted(reasons() - ALL_IS_WELL - EVENTS_ONLY)
PAGES = sorted(path.stem for path in RUNBOOKS.glob("*.md") if path.stem != "README")
INDEX = (RUNBOOKS / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("reason", NEED_A_PAGE)
def test_each_reason_has_a_page(reason: str) -> None:
    page = RUNBOOKS / f"{reason}.md"
    assert page.exists(), (
        f"docs/runbooks/{reason}.md is missing: the operator can give the reason {reason}"
    )
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {reason}\n")
    for heading in ("## How to see it", "## Does it heal by itself?", "## What to do"):
        assert len(text.partition(f"\n{heading}\n")[2].partition("\n## ")[0].strip()) > 2, (
            f"{heading} says nothing"
        )


@pytest.mark.parametrize("page", PAGES)
def test_each_page_is_linked_from_the_index_and_still_needed(page: str) -> None:
    assert f"[{page}]({page}.md)" in INDEX
    assert page in NEED_A_PAGE, "nothing gives this reason any more"


@pytest.mark.parametrize("word", sorted(ALL_IS_WELL - {"Deleted"} | EVENTS_ONLY))
def test_reasons_without_a_page_are_explained_in_the_index(word: str) -> None:
    assert f"`{word}`" in INDEX


@pytest.mark.parametrize("page", [*PAGES, "README"])
def test_links_between_documents_lead_somewhere(page: str) -> None:
    path = RUNBOOKS / f"{page}.md"
    for link in re.findall(
        r"\]\(([^)#]+\.(?:md|yaml))(?:#[^)]*)?\)", path.read_text(encoding="utf-8")
    ):
        assert (RUNBOOKS / link).exists(), f"{path.name} links to {link}"


@pytest.mark.parametrize("module", ["reconcile", "trouble", "pods"])
def test_no_reason_is_given_in_a_way_that_this_test_does_not_see(module: str) -> None:
    jobs = [path for path in SOURCES if path.parent.name == "jobs"]
    source = next(path for path in jobs if path.stem == module).read_text(encoding="utf-8")
    unseen = set(words(ast.parse(source))) - reasons_in(source) - OTHER_WORDS
    assert not unseen - REASONS, "are these reasons? Then teach `reasons_in` to find them"


def test_reasons_are_found_however_they_are_given() -> None:
    source = """
self._fail("AsArgument", text)
Verdict(phase, "OfVerdict", text)
RecordJob(phase, reason="ByKeyword")
reason = "Either" if it else "Other"
phase, reason = Phase.FAILED, "Unpacked"
found = next(troubles, ("AsPair", ""))
said = ("When" if it else "Unless", text)
verdict = ("False", "OfCondition", text)
"""
    wanted = {
        "AsArgument",
        "OfVerdict",
        "ByKeyword",
        "Either",
        "Other",
        "Unpacked",
        "AsPair",
        "When",
        "Unless",
        "OfCondition",
    }
    assert reasons_in(source) == wanted
