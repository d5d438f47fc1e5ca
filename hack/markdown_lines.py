"""Holds Markdown to one rule: a paragraph, and each item of a list, is one line.

Editors wrap it for the eye.

python hack/markdown_lines.py           fails where a line goes on with the paragraph before it
python hack/markdown_lines.py --fix     joins such lines

Code, tables, HTML and lines that end in a hard break are left alone. What generates pages joins
their lines with `joined`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
_FENCE = re.compile(r"^\s*(```|~~~)")
_STARTS = re.compile(r"^\s*([-*+] |\d+[.)] |#|\||<|>|\[[^\]]+\]: |!\[|---)")
"""What begins a block of its own: items, headings, tables, HTML, quotes, definitions of links,
pictures, rules.
"""
_ENDS = re.compile(r"(^\s*(#|\||<|>|!\[|---)|  $|\\$|-->\s*$)")
"""A line behind which nothing goes on."""


def joined(text: str) -> str:
    """The same text with each paragraph on one line."""
    lines: list[str] = []
    fenced = False
    for line in text.splitlines():
        if _FENCE.match(line):
            fenced = not fenced
            lines.append(line)
        elif fenced or not _goes_on(line, lines):
            lines.append(line)
        else:
            lines[-1] = f"{lines[-1]} {line.strip()}"
    return "\n".join(lines) + "\n"


def _goes_on(line: str, before: list[str]) -> bool:
    if not line.strip() or not before or not before[-1].strip():
        return False
    if _STARTS.match(line) or _FENCE.match(before[-1]):
        return False
    indented = line.startswith("    ") and not _STARTS.match(before[-1])
    return not indented and not _ENDS.search(before[-1])


def main() -> int:
    """Exit code 1 where a paragraph is wrapped."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fix", action="store_true", help="join the lines")
    parser.add_argument("files", nargs="*", type=Path, help="all of the repository, if left out")
    arguments = parser.parse_args()
    wrapped = 0
    for path in arguments.files or tracked():
        text = path.read_text(encoding="utf-8")
        better = joined(text)
        if better == text:
            continue
        wrapped += 1
        if arguments.fix:
            path.write_text(better, encoding="utf-8")
        else:
            sys.stdout.write(
                f"{path}: wrapped paragraphs; hack/markdown_lines.py --fix {path} joins them\n"
            )
    return 1 if wrapped and not arguments.fix else 0


def tracked() -> list[Path]:
    """Every Markdown file of the repository."""
    command = ["git", "ls-files", "-z", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    names = filter(None, listed.stdout.split("\0"))
    return [Path(name) for name in sorted(names) if (ROOT / name).is_file()]


if __name__ == "__main__":
    sys.exit(main())
