"""The operator's settings as chart values: each but those that other values give,
or that only tests use.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import Field, fields
from itertools import pairwise
from typing import Annotated, Any, get_type_hints

from pydantic import Field as PydanticField
from pydantic import StringConstraints, create_model
from pydantic.alias_generators import to_camel

from fpj_generate.chart.base import Part
from fpj_operator.settings import OperatorSettings

Item = Annotated[str, StringConstraints(pattern=r"^[^,\s]+$")]
"""Of a list: it becomes a variable's value, separated by commas."""

_ELSEWHERE = frozenset(
    {
        "store_url",  # mongodb.uri or its Secret
        "store_secret",  # mongodb.workerSecret
        "worker_image",  # image
        "image_pull_policy",  # image.pullPolicy
        "image_pull_secrets",  # workers.imagePullSecrets
        "worker_env",  # workers.env
        "worker_user",  # user
        "namespaces",  # watchNamespaces
        "own_namespace",  # where the release is
        "liveness_port",  # fixed in a pod of its own
        "metrics_port",  # the same, and metrics.enabled
    }
)
_CONVERSIONS: dict[Any, str] = {
    int: " | int64",
    tuple[str, ...]: ' | join "," | default ","',  # an empty variable would mean the default
}
_TESTS_ONLY = frozenset({"worker_store_url", "stale_after_floor"})


def chart_settings() -> list[Field[Any]]:
    """The settings that are values of their own."""
    return [each for each in fields(OperatorSettings) if each.name not in _ELSEWHERE | _TESTS_ONLY]


def settings_model() -> type[Part]:
    """The type of ``settings``."""
    types, words = get_type_hints(OperatorSettings), _docstrings()
    made: dict[str, Any] = {}
    for each in chart_settings():
        kind: Any = types[each.name]
        default: Any = each.default
        if kind == tuple[str, ...]:
            kind, default = list[Item], list(default)
        bounds = {"ge": kind(each.metadata["least"])} if kind in (int, float) else {}
        made[each.name] = (
            kind,
            PydanticField(default=default, description=words[each.name], **bounds),
        )
    return create_model(
        "Settings", __base__=Part, __doc__="Operator settings. Durations are seconds.", **made
    )


def template() -> str:
    """A template that turns ``settings`` into environment variables."""
    types = get_type_hints(OperatorSettings)
    lines = ['{{- define "fpj.settings" -}}']
    for each in chart_settings():
        value = f".{to_camel(each.name)}" + _CONVERSIONS.get(types[each.name], "")
        lines += [
            f'{{{{- if hasKey . "{to_camel(each.name)}" }}}}',
            f"- name: {each.metadata['variable']}",
            f"  value: {{{{ {value} | toString | quote }}}}",
            "{{- end }}",
        ]
    return "\n".join([*lines, "{{- end }}", ""])


def _docstrings() -> dict[str, str]:
    """The words below each setting."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(OperatorSettings)))
    body = tree.body[0].body  # type: ignore[attr-defined] # the class
    found = {}
    for before, after in pairwise(body):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            found[ast.unparse(before.target)] = " ".join(str(after.value.value).split())
    return found
