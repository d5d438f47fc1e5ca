"""Reading manifests. Each problem is named by its field's path, what is wrong, and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fpj_core.errors import ManifestError
from fpj_core.v1alpha1 import API_VERSION, CacheFolder, FileProcessingJob
from fpj_core.v1alpha1.common import ApiModel, model_in

Resource = FileProcessingJob | CacheFolder

_KINDS: dict[str, type[FileProcessingJob] | type[CacheFolder]] = {
    "FileProcessingJob": FileProcessingJob,
    "CacheFolder": CacheFolder,
}
_MOST_BYTES = 1_000_000
_MOST_ALIASES = 100
_TYPES = {str: "text", int: "a number", float: "a number", bool: "true or false", list: "a list", dict: "a mapping"}


def load_manifest_file(path: Path) -> list[Resource]:
    """The resources in a YAML file. Raises `ManifestError`."""
    try:
        with path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ManifestError([f"cannot be read: {error.strerror}"], origin=str(path)) from error
    try:
        return load_manifests(content.decode(), str(path))
    except UnicodeDecodeError:
        raise ManifestError(["is not text in UTF-8"], origin=str(path)) from None


def load_manifests(text: str, origin: str) -> list[Resource]:
    """The resources in a YAML text of one or more documents. Raises `ManifestError` with every problem found."""
    if len(text) > _MOST_BYTES:
        raise ManifestError([f"is larger than {_MOST_BYTES:,} bytes"], origin=origin)
    documents = [document for document in _parse(text, origin) if document is not None]
    if not documents:
        raise ManifestError(["holds no resource"], origin=origin)
    problems: list[str] = []
    resources: list[Resource] = []
    for number, document in enumerate(documents, 1):
        where = f"document {number}: " if len(documents) > 1 else ""
        try:
            resources.append(parse_resource(document))
        except ManifestError as error:
            problems += [where + problem for problem in error.problems]
    if problems:
        raise ManifestError(problems, origin=origin)
    return resources


def parse_resource(document: object) -> Resource:
    """One resource from plain data. Raises `ManifestError`."""
    if not isinstance(document, dict):
        raise ManifestError([f"a resource is a mapping, not {_type_name(document)}"])
    kind = document.get("kind")
    model = _KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise ManifestError([f"kind: {_shown(kind)} is not known; use {' or '.join(_KINDS)}{_hint(kind, _KINDS)}"])
    if document.get("apiVersion") != API_VERSION:
        raise ManifestError([f"apiVersion: {_shown(document.get('apiVersion'))} is not known; use {API_VERSION}"])
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise ManifestError(_problems(error, model, document)) from None


# Problems -------------------------------------------------------------------------------------------------


def _problems(error: ValidationError, model: type[ApiModel], document: dict[str, Any]) -> list[str]:
    """One line per field: of the several errors of a union only the first says anything new."""
    lines: dict[str, str] = {}
    for details in error.errors(include_url=False):
        path = _path(details["loc"], document)
        lines.setdefault(path, _line(path, details, model))
    return list(lines.values())


def _line(path: str, details: ErrorDetails, model: type[ApiModel]) -> str:
    message = _words(details, model)
    return f"{path}: {message}" if path else message


def _words(details: ErrorDetails, model: type[ApiModel]) -> str:  # noqa: C901, PLR0911 - a table of errors, one return each
    given, context = details["input"], details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            return f"unknown field{_hint(str(details['loc'][-1]), _fields_beside(model, details['loc']))}"
        case "missing":
            return "is required"
        case "greater_than_equal":
            return f"{_shown(given)} is under the minimum {context['ge']}"
        case "less_than_equal":
            return f"{_shown(given)} is over the maximum {context['le']}"
        case "enum" | "literal_error":
            allowed = str(context["expected"])
            return f"{_shown(given)} is not allowed; use {allowed}{_hint(given, _choices(allowed))}"
        case "value_error":
            error = str(context["error"])
            return f"{_shown(given)} {error}" if error.startswith(("is not", "must be")) else error
        case "string_pattern_mismatch":
            return f"{_shown(given)} does not match {context['pattern']}"
        case "too_short":
            return f"needs at least {context['min_length']}, has {context['actual_length']}"
        case "too_long":
            return f"may have at most {context['max_length']}, has {context['actual_length']}"
        case "string_too_short" | "string_too_long":
            return details["msg"].replace("String should have", "must have")
        case kind if kind.endswith(("_type", "_parsing")):
            return f"must be {_wanted(kind)}, not {_type_name(given)}"
        case _:
            return details["msg"]


def _path(location: tuple[int | str, ...], document: Any) -> str:
    """``spec.cache.tiers[0].quality``: only the steps that the user wrote, none of the model's own."""
    path = ""
    here = document
    for number, step in enumerate(location):
        if isinstance(step, int):
            path += f"[{step}]"
            here = here[step] if isinstance(here, list) and step < len(here) else None
        elif isinstance(here, dict) and (step in here or number == len(location) - 1):
            path += f".{step}" if path else step
            here = here.get(step)
    return path


def _fields_beside(model: type[ApiModel], location: tuple[int | str, ...]) -> list[str]:
    """The names allowed where an unknown field stands."""
    here: Any = model
    for step in location[:-1]:
        if isinstance(step, int):
            continue
        field = next((f for name, f in here.model_fields.items() if step in (name, f.alias)), None)
        inner = model_in(field.annotation) if field else None
        if inner is None:
            return []
        here = inner
    return [field.alias or name for name, field in here.model_fields.items()]


def _hint(given: object, allowed: Iterable[str]) -> str:
    by_lower = {name.lower(): name for name in allowed}
    close = difflib.get_close_matches(str(given).lower(), by_lower, n=1)
    return f"; did you mean {by_lower[close[0]]}?" if close else ""


def _choices(expected: str) -> list[str]:
    return [word.strip("' ") for word in expected.replace(" or ", ",").split(",")]


def _wanted(kind: str) -> str:
    for word, name in (
        ("int", "a whole number"),
        ("float", "a number"),
        ("bool", "true or false"),
        ("string", "text"),
        ("list", "a list"),
    ):
        if kind.startswith(word):
            return name
    return "a mapping"


def _type_name(value: object) -> str:
    return "nothing" if value is None else f"{_TYPES.get(type(value), 'something else')} ({_shown(value)})"


def _shown(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


# YAML -----------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Safe loading that refuses repeated keys and bounds aliases, which could otherwise multiply without end."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Count the aliases."""
        if self.check_event(yaml.AliasEvent):
            self._aliases += 1
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            if self._aliases > _MOST_ALIASES:
                raise yaml.MarkedYAMLError(problem=f"more than {_MOST_ALIASES} aliases", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a key that is given twice: one of the two would be lost."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is not None and key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} is given twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _parse(text: str, origin: str) -> list[Any]:
    try:
        return list(yaml.load_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ManifestError([f"{where}{error.problem or error.context or 'not YAML'}"], origin=origin) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ManifestError([f"not YAML: {str(error).splitlines()[0]}"], origin=origin) from None
