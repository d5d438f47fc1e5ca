"""Reading manifests.

Each problem is named by its field's path, what is wrong, and what is allowed.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json
from typing_extensions import override

from fpj_core.errors import ManifestError
from fpj_core.sources.keys import display_key
from fpj_core.v1alpha1 import API_VERSION, RESOURCES, Resource, ResourceType
from fpj_core.v1alpha1.common import ApiModel, model_in

_KINDS: dict[str, ResourceType] = {resource.__name__: resource for resource in RESOURCES}
_MOST_BYTES = 1_000_000
_MOST_READINGS = 3
"""One finds all unknown fields; what is left out may show others
where a value has several forms.
"""
_MOST_EXPANDED = 4 * _MOST_BYTES
"""Characters of a document with its aliases written out.

Without aliases no text of `_MOST_BYTES` comes near.
"""
_MOST_PROBLEMS = 50
_MOST_HINTED = 200
"""Characters of a value that is compared with those that are allowed."""
_TYPES = {
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
}


def load_manifest_file(path: Path) -> list[Resource]:
    """The resources in a YAML file. Raises `ManifestError`."""
    try:
        with path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ManifestError([f"cannot be read: {error.strerror}"], origin=str(path)) from error
    # Before decoding: what was cut off must not go unnoticed.
    _refuse_large(len(content), str(path))
    try:
        return load_manifests(content.decode(), str(path))
    except UnicodeDecodeError:
        raise ManifestError(["is not text in UTF-8"], origin=str(path)) from None


def load_manifests(text: str, origin: str) -> list[Resource]:
    """The resources in a YAML text of one or more documents.

    Raises `ManifestError` with every problem found.
    """
    _refuse_large(len(text), origin)
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


def read_resource(document: object) -> Resource:
    """One resource as an API server holds it. Raises `ManifestError`.

    Fields that this version does not know are left out: the CRD may be newer than the program that
    reads. Only what a person writes is held to the last letter, by `parse_resource`.
    """
    found = document
    for _ in range(_MOST_READINGS):
        try:
            return parse_resource(found)
        except ManifestError as error:
            if not error.unknown:
                raise
            found = _without(found, error.unknown)
    return parse_resource(found)


def parse_resource(document: object) -> Resource:
    """One resource from plain data, nothing unknown in it. Raises `ManifestError`."""
    text = _as_json(document)
    if not isinstance(document, dict):
        raise ManifestError([f"a resource is a mapping, not {_type_name(document)}"])
    kind = document.get("kind")
    model = _KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise ManifestError(
            [f"kind: {_shown(kind)} is not known; use {' or '.join(_KINDS)}{_hint(kind, _KINDS)}"]
        )
    if document.get("apiVersion") != API_VERSION:
        raise ManifestError(
            [f"apiVersion: {_shown(document.get('apiVersion'))} is not known; use {API_VERSION}"]
        )
    # As the API server sees it: nothing converted ("5" is not a number), fields by their own names
    # only.
    try:
        return model.model_validate_json(text, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        found = _problems(error, model, document)
        unknown = [
            each["loc"]
            for each in error.errors(include_url=False)
            if each["type"] == "extra_forbidden"
        ]
        problems = [f"{path}: {message}" if path else message for path, message in found]
        raise ManifestError(problems, fields=found, unknown=unknown) from None


def _without(document: Any, places: Iterable[tuple[int | str, ...]]) -> Any:
    """A copy of plain data without what stands at ``places``."""
    copied = json.loads(json.dumps(document, default=str))
    for *way, last in places:
        here = copied
        for step in way:
            here = here[step]
        del here[last]
    return copied


def _refuse_large(size: int, origin: str) -> None:
    if size > _MOST_BYTES:
        raise ManifestError([f"is larger than {_MOST_BYTES:,} bytes"], origin=origin)


def _as_json(document: object) -> str:
    """What pydantic can read; some Pythons write deeper JSON than that."""
    try:
        text = json.dumps(document, default=str, allow_nan=False)
    except RecursionError:
        raise ManifestError(["is nested too deep"]) from None
    except ValueError as error:
        raise ManifestError([f"cannot be read: {error}"]) from None
    try:
        from_json(text)
    except ValueError as error:  # what else is wrong is said when the resource is read
        if "recursion limit" in str(error):
            raise ManifestError(["is nested too deep"]) from None
    return text


# Problems -----------------------------------------------------------------------------------------


def _problems(
    error: ValidationError, model: type[ApiModel], document: dict[str, Any]
) -> list[tuple[str, str]]:
    """(path, message), one per field, also where a union has several errors to report.

    The first `_MOST_PROBLEMS`.
    """
    found: dict[str, list[ErrorDetails]] = {}
    more = ""
    for details in error.errors(include_url=False):
        path = _path(details, document)
        if path not in found and len(found) >= _MOST_PROBLEMS:
            more = f"has {error.error_count()} problems, of which these are the first"
            break
        found.setdefault(path, []).append(details)
    return [(path, _message(errors, model)) for path, errors in found.items()] + (
        [("", more)] if more else []
    )


def _message(errors: list[ErrorDetails], model: type[ApiModel]) -> str:
    """Of a union's errors, the one of the type that was given.

    If it is none of the types, all that are allowed.
    """
    telling = [details for details in errors if not details["type"].endswith("_type")]
    if telling:
        return _words(telling[0], model)
    wanted = " or ".join(dict.fromkeys(_wanted(details["type"]) for details in errors))
    return f"must be {wanted}, not {_type_name(errors[0]['input'])}"


def _words(details: ErrorDetails, model: type[ApiModel]) -> str:  # noqa: C901, PLR0911 - a table of errors, one return each
    given, context = details["input"], details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            return (
                "unknown"
                f" field{_hint(str(details['loc'][-1]), _fields_beside(model, details['loc']))}"
            )
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
            return f"needs at least {context['min_length']}, has {len(given)}"
        case "too_long":
            return f"may have at most {context['max_length']}, has {len(given)}"
        case "string_too_short" | "string_too_long":
            return details["msg"].replace("String should have", "must have")
        case "json_invalid":
            return f"cannot be read: {context['error']}"
        case _:
            return details["msg"]


def _path(details: ErrorDetails, document: Any) -> str:
    """``spec.cache.tiers[0].quality``: the steps that the user wrote or left out,
    none of the model's own.
    """
    location = details["loc"]
    left_out = len(location) - 1 if details["type"] == "missing" else None
    path = ""
    here = document
    for number, step in enumerate(location):
        if isinstance(step, int):
            path += f"[{step}]"
            here = here[step] if isinstance(here, list) and step < len(here) else None
        elif isinstance(here, dict) and (step in here or number == left_out):
            path += f".{display_key(step)}" if path else display_key(step)
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
    if len(str(given)) > _MOST_HINTED:
        return ""
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
    return (
        "nothing"
        if value is None
        else f"{_TYPES.get(type(value), 'something else')} ({_shown(value)})"
    )


def _shown(value: object) -> str:
    """A value as a manifest has it, cut where it is long, safe on a terminal."""
    text = (
        "nothing"
        if value is None
        else json.dumps(value)
        if isinstance(value, bool)
        else str(value) or "''"
    )
    return display_key(text if len(text) <= 60 else text[:57] + "...")


# YAML ---------------------------------------------------------------------------------------------


_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_INTEGER = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"


class _Loader(yaml.SafeLoader):
    """Safe loading that refuses repeated keys, and aliases that multiply without end.

    A date stays text, as in JSON.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._sizes: dict[yaml.Node, int] = {}

    @override
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Bound what the document comes to once its aliases are written out."""
        alias = self.check_event(yaml.AliasEvent)
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        if node is None:
            return None
        if alias and node not in self._sizes:
            raise yaml.MarkedYAMLError(
                problem="an alias stands inside what it stands for", problem_mark=mark
            )
        if not alias:
            self._refuse_repeated_keys(node)
            self._sizes[node] = self._size(node)
        if self._sizes[node] > _MOST_EXPANDED:
            raise yaml.MarkedYAMLError(
                problem=f"aliases come to more than {_MOST_EXPANDED:,} characters",
                problem_mark=mark,
            )
        return node

    def _size(self, node: yaml.Node) -> int:
        if isinstance(node, yaml.MappingNode):
            return 1 + sum(self._sizes[key] + self._sizes[value] for key, value in node.value)
        if isinstance(node, yaml.SequenceNode):
            return 1 + sum(self._sizes[item] for item in node.value)
        return 1 + len(node.value)

    def _refuse_repeated_keys(self, node: yaml.Node) -> None:
        """One of the two would be lost.

        Merges (``<<``) repeat keys by right: they come later, in construction.
        """
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} is given twice", problem_mark=key.start_mark
                )
            seen.add(key.value)

    def construct_number(self, node: yaml.ScalarNode) -> float:
        """Refuse what JSON, or an API server's 64 bits, cannot hold."""
        try:
            whole = node.tag == _INTEGER
            number = self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)
            fits = -(2**63) <= number < 2**63 if whole else math.isfinite(number)
        except (ValueError, IndexError):
            fits = False
        if not fits:
            problem = f"{_shown(node.value)} is not a 64-bit number"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return number

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a key that JSON cannot have."""
        mapping = super().construct_mapping(node, deep)
        if odd := [key for key in mapping if not isinstance(key, str)]:
            raise yaml.MarkedYAMLError(
                problem=f"the key {_shown(odd[0])} is not text: quote it",
                problem_mark=node.start_mark,
            )
        return mapping


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

for _tag in (_INTEGER, _FLOAT):
    _Loader.add_constructor(_tag, _Loader.construct_number)


def _parse(text: str, origin: str) -> list[Any]:
    try:
        return list(yaml.load_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ManifestError(
            [f"{where}{error.problem or error.context or 'not YAML'}"], origin=origin
        ) from None
    except yaml.YAMLError as error:
        raise ManifestError([f"not YAML: {str(error).splitlines()[0]}"], origin=origin) from None
    except RecursionError:
        raise ManifestError(["is nested too deep"], origin=origin) from None
    except (ValueError, LookupError, AttributeError):  # PyYAML lets these out
        raise ManifestError(
            ["a tag (!!…) stands before a value that is not of its kind"], origin=origin
        ) from None
