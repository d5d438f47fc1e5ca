"""The API reference from the types.

The pages are read off the generated CRDs: what they say is what the API server checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fpj_core.v1alpha1 import RESOURCES
from fpj_generate.crd import crd
from markdown_lines import joined

_HEADER = "<!-- Generated from core/fpj_core/v1alpha1 by `make docs`. Do not edit. -->"
_TABLE = ("| Field | Type | Allowed | Required | Description |", "|---|---|---|---|---|")
_AUTHORED = ("spec", "status")

_BOUNDS = (
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " items"),
)


def files() -> dict[str, str]:
    """File name to Markdown text."""
    return {f"{resource.__name__.lower()}.md": page(crd(resource)) for resource in RESOURCES}


def page(definition: dict[str, Any]) -> str:
    """The page of one CustomResourceDefinition."""
    names = definition["spec"]["names"]
    version = definition["spec"]["versions"][0]
    root = version["schema"]["openAPIV3Schema"]
    lines = [
        _HEADER,
        "",
        f"# {names['kind']}",
        "",
        root["description"],
        "",
        f"`apiVersion: {definition['spec']['group']}/{version['name']}`, `kind: {names['kind']}`",
        f"(with kubectl: `{names['plural']}`, short `{', '.join(names['shortNames'])}`).",
        "`apiVersion`, `kind`, `metadata.name` and `spec` are required.",
        (
            "A field that is left out has the default that its description names; nothing is"
            " written into the manifest."
        ),
        "",
        *_columns(version["additionalPrinterColumns"]),
    ]
    for name in _AUTHORED:
        for path, schema in _objects(name, root["properties"][name]):
            lines += _section(path, schema)
    return joined("\n".join(lines))


def _objects(path: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """An object and those within it, in reading order, each with its path."""
    yield path, schema
    for name, field in schema["properties"].items():
        inner = field.get("items", field)
        if "properties" in inner:
            yield from _objects(_inner_path(path, name, field), inner)


def _inner_path(path: str, name: str, field: dict[str, Any]) -> str:
    return f"{path}.{name}[]" if "items" in field else f"{path}.{name}"


def _columns(columns: list[dict[str, Any]]) -> list[str]:
    """What ``kubectl get`` prints."""
    lines = ["## kubectl get", "", "| Column | Field | Shown |", "|---|---|---|"]
    for column in columns:
        shown = "with `-o wide`" if column.get("priority") else "always"
        lines.append(_row(column["name"], f"`{column['jsonPath'].removeprefix('.')}`", shown))
    return [*lines, ""]


def _section(path: str, schema: dict[str, Any]) -> list[str]:
    """An object: its fields, and the rules that bind several of them."""
    required = schema.get("required", [])
    lines = [f"## {path}", "", schema["description"], "", *_TABLE]
    for name, field in schema["properties"].items():
        mark = "yes" if name in required else ""
        lines.append(
            _row(f"`{name}`", _type(path, name, field), _allowed(field), mark, field["description"])
        )
    lines.append("")
    if rules := schema.get("x-kubernetes-validations"):
        lines += ["Rules:", "", *(f"- {rule['message']}" for rule in rules), ""]
    return lines


def _row(*cells: str) -> str:
    # Also within code: a table is split before that.
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"


def _type(path: str, name: str, field: dict[str, Any]) -> str:
    inner = field.get("items", field)
    if "properties" in inner:
        heading = _inner_path(path, name, field)
        return f"[{'list of objects' if 'items' in field else 'object'}](#{_anchor(heading)})"
    if "items" in field:
        return f"list of {_scalar(inner)}s"
    if "additionalProperties" in field:
        return f"map of string to {_scalar(field['additionalProperties'])}"
    return _scalar(field)


def _scalar(schema: dict[str, Any]) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    name = (
        "free-form object" if schema.get("x-kubernetes-preserve-unknown-fields") else schema["type"]
    )
    return f"{name} (date-time)" if schema.get("format") == "date-time" else str(name)


def _allowed(field: dict[str, Any]) -> str:
    """Bounds, values and pattern of a field."""
    found = [", ".join(f"`{value}`" for value in field["enum"])] if "enum" in field else []
    found += [
        text
        for low, high, unit in _BOUNDS
        if (text := _bounds(field.get(low), field.get(high), unit))
    ]
    found += [f"`{field['pattern']}`"] if "pattern" in field else []
    found += [f"unique by `{key}`" for key in field.get("x-kubernetes-list-map-keys", [])]
    found += [f"at most {field['maxProperties']} entries"] if "maxProperties" in field else []
    return "; ".join(found)


def _bounds(low: float | None, high: float | None, unit: str) -> str:
    if low is not None and high is not None:
        return f"{low:,} to {high:,}{unit}"
    if low is not None:
        return f"at least {low:,}{unit}"
    return f"at most {high:,}{unit}" if high is not None else ""


def _anchor(heading: str) -> str:
    """The fragment that Markdown renderers give a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
