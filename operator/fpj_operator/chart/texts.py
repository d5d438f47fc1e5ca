"""The values as people read them: `values.yaml`, and the tables of the chart's README."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml

from fpj_core.generated import yaml_text
from fpj_operator.chart.schema import schema
from fpj_operator.chart.values import VERSION, Values

_WIDTH = 110
_SOURCE = "operator/fpj_operator/chart"
_HIDDEN = frozenset({"enabled", "global"})
"""Top-level values that are there only for charts that depend on this one."""


def values_yaml() -> str:
    """The defaults, each below what it means."""
    lines = [f"# Generated from {_SOURCE}/values.py by `make chart`. Do not edit."]
    defaults = Values().model_dump(mode="json", by_alias=True)
    lines += _commented(schema(), {name: each for name, each in defaults.items() if name not in _HIDDEN}, 0)
    return "\n".join(lines) + "\n"


def _commented(described: dict[str, Any], defaults: dict[str, Any], depth: int) -> Iterator[str]:
    space = "  " * depth
    for name, value in defaults.items():
        field = described["properties"][name]
        if not depth:
            yield ""
        yield from textwrap.wrap(
            field["description"], _WIDTH, initial_indent=f"{space}# ", subsequent_indent=f"{space}# "
        )
        if "properties" in field:
            yield f"{space}{name}:"
            yield from _commented(field, value, depth + 1)
        else:
            yield textwrap.indent(yaml_text({name: value}).rstrip(), space)


def readme() -> str:
    """The chart's README.md."""
    defaults = Values().model_dump(mode="json", by_alias=True)
    described = schema()["properties"]
    plain = {name: each for name, each in described.items() if "properties" not in each and name not in _HIDDEN}
    lines = [_INTRODUCTION.format(version=VERSION), *_table(plain, defaults)]
    for name, field in described.items():
        if "properties" in field:
            lines += ["", f"### {name}", "", field["description"], "", *_table(*_flat(name, field, defaults[name]))]
    return "\n".join(lines) + "\n"


def _flat(path: str, field: dict[str, Any], default: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields and defaults below a path, by their whole paths."""
    fields: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for name, inner in field["properties"].items():
        below = f"{path}.{name}"
        found = (
            _flat(below, inner, default[name]) if "properties" in inner else ({below: inner}, {below: default[name]})
        )
        fields |= found[0]
        defaults |= found[1]
    return fields, defaults


def _table(fields: dict[str, Any], defaults: dict[str, Any]) -> list[str]:
    lines = ["| Name | Type | Default | |", "|---|---|---|---|"]
    for name, field in fields.items():
        cells = (f"`{name}`", _type(field), f"`{_short(defaults[name])}`", field["description"])
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return lines


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(f"`{each}`" for each in field["enum"])
    kind = str(field["type"])
    if kind == "array":
        return f"list of {_type(field['items'])}s"
    if "additionalProperties" in field and isinstance(field["additionalProperties"], dict):
        return "map of strings"
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None:
        return f"{kind}, {low:g} to {high:g}" if high is not None else f"{kind}, {low:g} or more"
    return kind


def _short(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").strip()


_INTRODUCTION = f"""\
<!-- Generated from {_SOURCE} by `make chart`. Do not edit. -->
# fpj

Cache images and thumbnails for collections of photographs, from a folder to millions: the operator, its resources and its rights. Version {{version}}, for Kubernetes 1.33 and later.

```console
$ helm install fpj charts/fpj --namespace fpj-system --create-namespace --wait \\
    --set image.repository=registry.example.com/team/fpj --set mongodb.uri="$MONGODB_URL"
```

[The guide](../../docs/guide/helm.md) leads from there to the first job, and on to secrets, namespaces, upgrades and removal. fpj needs MongoDB and brings none.

## Values

A value that is not listed, or of another type, fails the install with its path (`values.schema.json`).
"""
