"""Checks texts for words that hack/words.toml avoids: plain English, and the field's own terms.

python hack/words.py fails for each avoided word.

Code in Markdown, fenced or in backticks, is left alone.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIST = ROOT / "hack" / "words.toml"
_SUFFIXES = frozenset(
    {".md", ".py", ".js", ".html", ".yaml", ".yml", ".toml", ".json", ".sh", ".tpl", ".txt", ".tla"}
)
_NAMES = frozenset({"Makefile", "Dockerfile"})
_NOT_OURS = (
    "hack/js/package-lock.json",
    "hack/words*",
    "requirements/*",
    "tests/gitops/objects/*",
    "tests/unit/fuzz/*",
    "tests/unit/release/test_words.py",
)
_CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Avoided:
    """A word and what to write instead."""

    pattern: re.Pattern[str]
    better: str


def avoided(words: dict[str, str]) -> list[Avoided]:
    """Patterns of the list. Raises re.error for one that is none."""
    return [
        Avoided(re.compile(rf"\b(?:{word})\b", re.IGNORECASE), better)
        for word, better in words.items()
    ]


def prose(path: str, text: str) -> str:
    """The text without code, whose lines keep their numbers."""
    if not path.endswith(".md"):
        return text
    return _CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), text)


def found(path: str, text: str, words: list[Avoided]) -> Iterator[str]:
    """``path:line: word: what to write`` of each."""
    for number, line in enumerate(prose(path, text).splitlines(), 1):
        for word in words:
            for match in word.pattern.finditer(line):
                yield f"{path}:{number}: {match[0].strip()}: write {word.better}"


def matches(path: str, globs: list[str] | tuple[str, ...]) -> bool:
    """Whether one of them fits; ``*`` also stands for ``/``."""
    return any(fnmatchcase(path, glob.replace("**", "*")) for glob in globs)


def texts() -> Iterator[tuple[str, str]]:
    """(path, content) of each tracked text that is ours."""
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        ours = not matches(name, _NOT_OURS) and (path.suffix in _SUFFIXES or path.name in _NAMES)
        if ours and path.is_file():
            yield name, path.read_text(encoding="utf-8")


def main() -> int:
    """Exit code 1 where something is to be changed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    words = avoided(tomllib.loads(LIST.read_text(encoding="utf-8"))["words"])
    errors = 0
    for name, text in texts():
        lines = list(found(name, text, words))
        errors += len(lines)
        for line in lines:
            sys.stdout.write(f"{line}\n")
    if errors:
        sys.stderr.write(f"{errors} words to change; hack/words.toml has the list\n")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
