"""What GitOps tools make of our resources: the real kstatus library,
and Argo CD's health scripts in Argo CD's Lua.

`EXPECTED` says what a person would want to know of each object in objects/. Those are recorded
from a real API server with a real operator, by `FPJ_RECORD=1 pytest
tests/integration/test_gitops.py`, which also holds them against the table as they happen.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
OBJECTS = Path(__file__).parent / "objects"
SCRIPTS = ROOT / "deploy" / "argocd" / "resource_customizations" / "fpj.dev"

Document = dict[str, Any]


@dataclass(frozen=True)
class Health:
    """A word for each tool, and part of what Argo CD says."""

    kstatus: str
    argocd: str
    message: str = ""


_UNSEEN = "the operator has not looked at it yet"
EXPECTED = {
    "job-new": Health("InProgress", "Progressing", _UNSEEN),
    "job-pending": Health("InProgress", "Progressing", "NoCacheFolder: "),
    "job-indexing": Health("InProgress", "Progressing", "Indexing: "),
    "job-held-up": Health("InProgress", "Progressing", "HeldByQueue: "),
    "job-running": Health("InProgress", "Progressing", "Running: working on "),
    "job-recovering": Health("InProgress", "Progressing", "NoCacheFolder: "),
    "job-suspended": Health("Current", "Suspended", "Suspended: "),
    "job-completed": Health("Current", "Healthy", "AllImagesDone: 5 made, 0 up to date, 0 failed"),
    "job-completed-with-errors": Health(
        "Current", "Healthy", "ImagesFailed: 3 made, 0 up to date, 2 failed"
    ),
    "job-failed": Health("Failed", "Degraded", "TooManyFailedImages: "),
    "job-edited": Health("InProgress", "Progressing", _UNSEEN),
    "job-edited-seen": Health("Current", "Healthy", "AllImagesDone: "),
    "job-edited-not-made": Health(
        "Failed", "Degraded", "SpecChanged: the spec was changed after the job had finished"
    ),
    # The end of an attempt, or any stage of the next.
    "job-edited-active": Health("InProgress", "Progressing", ": "),
    "folder-new": Health("Current", "Healthy"),
    "folder-used": Health("Current", "Healthy"),
    "purge-new": Health("InProgress", "Progressing", _UNSEEN),
    "purge-completed": Health("Current", "Healthy", "Purged: nothing was made of what it names"),
    "purge-failed": Health("Failed", "Degraded", "NoCacheFolder: there is no CacheFolder "),
    "schedule-new": Health("InProgress", "Progressing", _UNSEEN),
    "schedule-waiting": Health("Current", "Healthy", "Scheduled: @yearly in Europe/Berlin"),
    "schedule-active": Health("Current", "Healthy", "Scheduled: "),
    "schedule-suspended": Health("Current", "Suspended", "Suspended: "),
    "schedule-invalid": Health(
        "Failed", "Degraded", "InvalidSpec: timeZone 'Mars/Olympus' is not known"
    ),
    "schedule-refused": Health("InProgress", "Progressing", "JobRefused: "),
}


def recorded() -> dict[str, Document]:
    """The objects by name."""
    return {
        path.stem: json.loads(path.read_text("utf-8")) for path in sorted(OBJECTS.glob("*.json"))
    }


def record(name: str, found: Document) -> None:
    """Write an object, without what is of no use to anybody."""
    found = json.loads(json.dumps(found))
    found["metadata"].pop("managedFields", None)
    found["metadata"].pop("annotations", None)  # kubectl's own
    OBJECTS.mkdir(exist_ok=True)
    (OBJECTS / f"{name}.json").write_text(
        json.dumps(found, indent=1, sort_keys=True) + "\n", "utf-8"
    )


def judge(found: Document) -> Health:
    """What both say of an object."""
    (by_kstatus,) = _run([found], "kstatus")
    (by_script,) = _run([found], "lua", str(SCRIPTS / found["kind"] / "health.lua"))
    return Health(by_kstatus["status"], by_script["status"], by_script["message"])


def fits(found: Health, expected: Health) -> bool:
    """Whether it is what a person would want to know."""
    same = (found.kstatus, found.argocd) == (expected.kstatus, expected.argocd)
    return same and expected.message in found.message


def _run(objects: Sequence[Document], *arguments: str) -> list[dict[str, str]]:
    lines = "".join(json.dumps(each) + "\n" for each in objects)
    binary = subprocess.run(
        [ROOT / "hack" / "gitops.sh"], capture_output=True, text=True, check=True, timeout=900
    )
    done = subprocess.run(
        [binary.stdout.strip(), *arguments],
        input=lines,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
