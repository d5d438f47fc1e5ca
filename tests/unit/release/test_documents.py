"""The documentation holds together: each page is in an index, and each link leads somewhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def tracked(pattern: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", pattern], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.splitlines()]


def links(page: Path) -> list[tuple[Path, str]]:
    """(file, anchor) of each link that is not an address."""
    found = []
    for target in LINK.findall(CODE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found.append(((page.parent / path).resolve() if path else page, anchor))
    return found


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    titles = re.findall(
        r"^#+ (.*)$", CODE.sub(lambda code: code[0].strip("`"), page.read_text()), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


PAGES = [page for page in tracked("*.md") if ".github" not in page.parts]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in links(page):
        assert target.exists(), f"{page.name}: there is no {target}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name}: {target.name} has no heading #{anchor}"


@pytest.mark.parametrize(
    ("index", "folder"),
    [("README.md", "."), ("runbooks/README.md", "runbooks"), ("decisions/README.md", "decisions")],
)
def test_an_index_has_every_page(index: str, folder: str) -> None:
    listed = {target for target, _ in links(DOCS / index)}
    own = {"runbooks", "decisions"} - {folder}
    wanted = {
        page
        for page in (DOCS / folder).rglob("*.md")
        if not own & set(page.relative_to(DOCS).parts[:-1])
    }
    if folder == ".":
        wanted |= {DOCS / "runbooks" / "README.md", DOCS / "decisions" / "README.md"}
    assert wanted - {DOCS / index} <= listed
