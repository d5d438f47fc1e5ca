"""Files made from the code: written, or compared with what is committed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from typing_extensions import override


class _Dumper(yaml.SafeDumper):
    """Every object written out where it stands: people read these files."""

    @override
    def ignore_aliases(self, data: object) -> bool:
        """Never an anchor."""
        return True


def yaml_text(document: Any, header: str = "", *, width: int = 120) -> str:
    """A document as YAML, its keys in the order given."""
    return header + yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, width=width, allow_unicode=True
    )


def write(files: Mapping[str, str], directory: Path) -> None:
    """Write ``files`` (name, which may have folders, to text) into a directory."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def outdated(files: Mapping[str, str], directory: Path) -> list[Path]:
    """Those of ``files`` that are missing in the directory, or differ there."""
    paths = {directory / name: text for name, text in files.items()}
    return [
        path
        for path, text in paths.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
