"""Generates the files that come from the code: ``python hack/generate.py [--check] [NAME ...]``,
all without a name.

With --check it writes nothing, and fails if a committed file is not what the code says.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fpj_generate.generated import outdated, write
from fpj_generate.targets import TARGETS
from fpj_release import ReleaseError

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """0, or 1 if a file is out of date or cannot be generated."""
    parser = argparse.ArgumentParser(description="Generate the files that come from the code.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of {', '.join(TARGETS)}; all without a name"
    )
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in TARGETS]:
        parser.error(f"nothing is called {', '.join(unknown)}: there are {', '.join(TARGETS)}")
    wrong = [
        path for name in options.names or TARGETS for path in _generate(name, check=options.check)
    ]
    for path in wrong:
        sys.stderr.write(
            f"{path.relative_to(ROOT)} is out of date: run `make docs` and commit the result\n"
        )
    return 1 if wrong else 0


def _generate(name: str, *, check: bool) -> list[Path]:
    target = TARGETS[name]
    folder = ROOT / target.folder
    if check:
        return outdated(target.files(), folder)
    write(target.files(), folder)
    return []


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ReleaseError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
