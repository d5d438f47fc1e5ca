"""`values.schema.json`: Helm refuses what it does not allow, naming the path."""

from __future__ import annotations

import json
from typing import Any

from fpj_generate.chart.values import Values


def schema() -> dict[str, Any]:
    """Without references, which some validators resolve badly, and without titles,
    which say nothing.
    """
    generated = Values.model_json_schema(by_alias=True)
    inlined: dict[str, Any] = _inlined(generated, generated.pop("$defs", {}))
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart fpj",
    } | inlined


def text() -> str:
    """The file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _inlined(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(each, definitions) for each in node]
    if isinstance(node, str):
        return " ".join(node.split())  # docstrings of several lines
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        node = target | {name: value for name, value in node.items() if name != "$ref"}
    return {
        name: {each: _inlined(value, definitions) for each, value in found.items()}
        if name == "properties"
        else _inlined(found, definitions)
        for name, found in node.items()
        if name not in ("title", "default")
    }
