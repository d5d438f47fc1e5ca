"""Files made from the code: written, or compared with what is committed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Every object written out where it stands: people read these files."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        """Never an anchor."""
        return True


def yaml_text(document: Any, header: str = "", *, width: int = 120) -> str:
    """A document as YAML, its keys in the order given."""
    return header + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=width, allow_unicode=True)


def write_or_check(files: Mapping[str, str], description: str, arguments: list[str] | None = None) -> int:
    """Command line shared by the generators: write ``files`` (name to text) into DIR, or with --check compare.

    Returns the exit code: 1 when a file differs, which is then named.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args(arguments)
    outdated = []
    for name, text in files.items():
        path: Path = options.directory / name
        if options.check:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                outdated.append(path)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in outdated:
        sys.stderr.write(f"{path} is not what the types say: run `make docs` and commit the result\n")
    return 1 if outdated else 0
