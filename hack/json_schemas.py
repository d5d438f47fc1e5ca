"""Write the JSON Schemas of what `fpj` prints: `json_schemas.py docs/reference/schemas`, or with --check compare."""

from __future__ import annotations

import json
import sys

from fpj_cli.documents import SCHEMAS, schema
from fpj_core.generated import write_or_check


def files() -> dict[str, str]:
    """File name to text."""
    return {f"{name}.schema.json": json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n" for name in SCHEMAS}


if __name__ == "__main__":
    sys.exit(write_or_check(files(), "Generate the JSON Schemas."))
