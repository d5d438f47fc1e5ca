"""The JSON Schemas of what `fpj` prints."""

from __future__ import annotations

import json

from fpj_cli.documents import SCHEMAS, schema


def files() -> dict[str, str]:
    """File name to text."""
    return {
        f"{name}.schema.json": json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"
        for name in SCHEMAS
    }
