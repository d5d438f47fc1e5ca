"""CustomResourceDefinitions from the API types.

The schemas are structural (no references, nothing nullable). What people write has no default
values, so that the API server writes nothing into a manifest that a GitOps tool would then see as
drift. The status of what the operator looks at begins as not observed: without that, tools that use
kstatus take a new resource for one that is done.
"""

from __future__ import annotations

import copy
from typing import Any

from pydantic import BaseModel

import fpj_core
from fpj_core.v1alpha1 import GROUP, RESOURCES, VERSION, ResourceType
from fpj_core.v1alpha1.common import QUANTITY_PATTERN, ApiModel, model_in
from fpj_generate.generated import yaml_text

_KEPT = (
    "type",
    "description",
    "format",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
)
_INT_OR_STRING = {
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "x-kubernetes-int-or-string": True,
}
_FREEFORM = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_ITEM_LENGTH = 1024
_HEADER = "# Generated from core/fpj_core/v1alpha1 by `make crds`. Do not edit.\n"
VERSION_ANNOTATION = f"{GROUP}/version"
"""Which version of fpj a CustomResourceDefinition is from:
an operator's chart refuses older ones.
"""


def crd(resource: ResourceType) -> dict[str, Any]:
    """The CustomResourceDefinition of a resource."""
    kind = resource.__name__
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{resource.plural}.{GROUP}",
            "annotations": {VERSION_ANNOTATION: fpj_core.__version__},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": resource.plural,
                "singular": kind.lower(),
                "shortNames": list(resource.short_names),
                "categories": ["fpj-all"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [dict(column) for column in resource.columns],
                    "schema": {"openAPIV3Schema": _root_schema(resource)},
                }
            ],
        },
    }


def files() -> dict[str, str]:
    """File name to YAML text."""
    return {
        f"{GROUP}_{resource.plural}.yaml": yaml_text(crd(resource), _HEADER)
        for resource in RESOURCES
    }


def _root_schema(resource: ResourceType) -> dict[str, Any]:
    schema = _object(resource)
    properties = schema["properties"]
    for name in ("apiVersion", "kind"):  # their values are the API server's to check
        properties[name] = {"type": "string", "description": properties[name]["description"]}
    properties["metadata"] = {"type": "object"}  # nothing else is allowed here
    if resource.awaited:
        properties["status"]["default"] = {"observedGeneration": -1}
    return schema | {"required": ["spec"]}


def _object(model: type[ApiModel]) -> dict[str, Any]:
    """An object's schema: what pydantic says of its fields, with our rules as CEL."""
    generated = model.model_json_schema(by_alias=True)
    definitions = generated.get("$defs", {})
    properties = {}
    for name, field in model.model_fields.items():
        alias = field.alias or name
        properties[alias] = _property(generated["properties"][alias], field.annotation, definitions)
    schema: dict[str, Any] = {
        "type": "object",
        "description": _sentence(model),
        "properties": properties,
    }
    if required := generated.get("required"):
        schema["required"] = sorted(required)
    if model.rules:
        schema["x-kubernetes-validations"] = [
            {"rule": rule.cel, "message": rule.message} for rule in model.rules
        ]
    return schema


def _property(
    found: dict[str, Any], annotation: Any, definitions: dict[str, Any]
) -> dict[str, Any]:
    described = {"description": found["description"]} if "description" in found else {}
    if found.get("x-freeform"):
        return described | _FREEFORM
    model = model_in(annotation)
    found = _without_null(_resolved(found, definitions))
    if found.get("type") == "array":
        items = (
            _FREEFORM
            if found.get("x-freeform-items")
            else _items(found["items"], model, definitions)
        )
        return described | _kept(found) | {"items": copy.deepcopy(items)}
    if isinstance(found.get("additionalProperties"), dict):
        return (
            described
            | _kept(found)
            | {"additionalProperties": _value(found["additionalProperties"], definitions)}
        )
    if model is not None:
        return _object(model) | described
    return described | _value(found, definitions)


def _items(
    found: dict[str, Any], model: type[ApiModel] | None, definitions: dict[str, Any]
) -> dict[str, Any]:
    return _object(model) if model is not None else _value(found, definitions)


def _value(found: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A scalar: an integer, a string, an enumeration, or an integer-or-string."""
    found = _without_null(_resolved(found, definitions))
    options = found.get("anyOf")
    if options:
        described = {"description": found["description"]} if "description" in found else {}
        text = next(option for option in options if option.get("type") == "string")
        pattern = QUANTITY_PATTERN if found.get("x-quantity") else text.get("pattern")
        bounds: dict[str, Any] = {"pattern": pattern} if pattern else {}
        if "maxLength" in text:
            bounds["maxLength"] = text["maxLength"]
        if found.get("x-quantity"):
            bounds["minimum"] = 1
        return described | copy.deepcopy(_INT_OR_STRING) | bounds
    if "const" in found:
        return {"type": "string", "enum": [found["const"]]}
    kept = _kept(found)
    if kept.get("type") == "string" and "enum" not in kept and "maxLength" not in kept:
        kept["maxLength"] = _ITEM_LENGTH
    if kept.get("type") == "integer" and kept.get("maximum", 0) > 2**31 - 1:
        kept["format"] = "int64"
    return kept


def _resolved(found: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """``found`` with a reference replaced by what it refers to; the field's own words win."""
    if "$ref" in found:
        target = definitions[found["$ref"].rpartition("/")[2]]
        return {**target, **{name: value for name, value in found.items() if name != "$ref"}}
    return found


def _without_null(found: dict[str, Any]) -> dict[str, Any]:
    """An optional field is one that is left out, never one that is null."""
    options = [option for option in found.get("anyOf", []) if option.get("type") != "null"]
    if not options:
        return found
    rest = {name: value for name, value in found.items() if name != "anyOf"}
    if len(options) == 1:
        return (
            _without_null({**options[0], **rest})
            if "$ref" not in options[0]
            else {**rest, **options[0]}
        )
    return {**rest, "anyOf": options}


def _kept(found: dict[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in _KEPT if name in found}


def _sentence(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())
