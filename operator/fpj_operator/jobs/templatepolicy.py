"""What a job's ``workerTemplate`` may ask for: one table of rules, each as a check and as CEL.

Pure.

Who may create jobs would otherwise run any code as any ServiceAccount of the namespace: by a volume
over our own programs, by a variable such as LD_PRELOAD, by an account's projected token. The
operator makes no pod that breaks a rule. `fpj_operator.admission` turns the same table into a
ValidatingAdmissionPolicy, and tests/integration/test_policies.py compares the two, message by
message, on a real API server.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from fpj_operator.settings import OperatorSettings

Template = Mapping[str, Any]
"""A ``workerTemplate`` as a manifest has it: camelCase names, no nulls."""

OUR_VOLUMES = ("tmp", "cache", "source")
OUR_MOUNTS = ("/tmp", "/cache", "/source")  # noqa: S108 - in the container
RESERVED_VARIABLES = ("FPJ_*", "POD_NAME", "KUBERNETES_*")
"""Set by us or by the kubelet; another KUBERNETES_SERVICE_HOST
would be given the account's token.
"""
MOUNT_FIELDS = ("name", "mountPath", "subPath", "readOnly", "recursiveReadOnly", "mountPropagation")
"""Not ``subPathExpr``: it would write the value of any variable, the store's URL too,
into a folder's name.
"""

_NEVER_IN_A_PATH = r"(^|/)\.\.?(/|$)|[:$]"
"""`.`, `..`, what a runtime could read as options, and what a kubelet could replace."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that a template may not have.

    ``offenders`` and the CEL expression ``cel`` give the same list: what breaks the rule, as
    messages show it. In the CEL ``variables.NAME`` is one of `CEL_VARIABLES`, one of `CONSTANTS`,
    or a list that a setting gives.
    """

    path: str
    """The field below ``workerTemplate``."""
    problem: str
    offenders: Callable[[Template, OperatorSettings], Iterator[str]]
    cel: str
    setting: str = ""
    """Field of `OperatorSettings` that allows more; empty if nothing does."""

    def message(self, offender: str, allowed: Sequence[str]) -> str:
        """What the person reads who asked for ``offender``."""
        text = f"workerTemplate.{self.path}: {offender} {self.problem}"
        if not self.setting:
            return text
        return f"{text}; {allows(self.setting)} {', '.join(allowed) or 'none'}"


def violations(template: Template, settings: OperatorSettings) -> list[str]:
    """A message for each rule that the template breaks, naming the first thing that does."""
    found = []
    for rule in RULES:
        first = next(rule.offenders(template, settings), None)
        if first is not None:
            found.append(
                rule.message(first, getattr(settings, rule.setting) if rule.setting else ())
            )
    return found


def allows(setting: str) -> str:
    """How a message about the setting begins: under which name an administrator finds it."""
    variable = next(each for each in fields(OperatorSettings) if each.name == setting).metadata[
        "variable"
    ]
    return f"the operator's setting {variable} allows"


def reserved_variables(settings: OperatorSettings) -> tuple[str, ...]:
    """Names that no template may set: those of our own,
    and those that the installation sets for all workers.
    """
    return (*RESERVED_VARIABLES, *sorted(settings.worker_env))


# The checks ---------------------------------------------------------------------------------------


def _matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name is among the patterns: names, or beginnings of names that end in ``*``."""
    return any(
        name.startswith(each[:-1]) if each.endswith("*") else name == each for each in patterns
    )


def _within(path: str, folders: Sequence[str]) -> bool:
    return any(
        path.startswith(each) if each.endswith("/") else f"{path}/".startswith(f"{each}/")
        for each in folders
    )


def _names(objects: Sequence[Mapping[str, Any]], field: str) -> list[str]:
    return [_text(each.get(field)) for each in objects]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _accounts(template: Template, settings: OperatorSettings) -> Iterator[str]:
    name = template.get("serviceAccountName", "")
    if name and not _matches(name, settings.template_service_accounts):
        yield name


def _volume_types(template: Template, settings: OperatorSettings) -> Iterator[str]:
    for volume in template.get("volumes", ()):
        types = [each for each in volume if each != "name"] or ["emptyDir"]
        if refused := [each for each in types if each not in settings.template_volumes]:
            yield f"{_text(volume.get('name'))} ({refused[0]})"


def _volume_names(template: Template, _settings: OperatorSettings) -> Iterator[str]:
    found = _names(template.get("volumes", ()), "name")
    return (
        f'"{each}"' for each in found if not each or each in OUR_VOLUMES or found.count(each) > 1
    )


def _mounted_volumes(template: Template, _settings: OperatorSettings) -> Iterator[str]:
    own = _names(template.get("volumes", ()), "name")
    return (
        f'"{each}"' for each in _names(template.get("volumeMounts", ()), "name") if each not in own
    )


def _mount_paths(template: Template, settings: OperatorSettings) -> Iterator[str]:
    for path in _names(template.get("volumeMounts", ()), "mountPath"):
        if not _within(path, settings.template_mount_paths) or re.search(_NEVER_IN_A_PATH, path):
            yield f'"{path}"'


def _mounts_over_ours(template: Template, _settings: OperatorSettings) -> Iterator[str]:
    found = _names(template.get("volumeMounts", ()), "mountPath")
    return (f'"{each}"' for each in found if _within(each, OUR_MOUNTS) or found.count(each) > 1)


def _mount_fields(template: Template, _settings: OperatorSettings) -> Iterator[str]:
    for mount in template.get("volumeMounts", ()):
        yield from (each for each in mount if each not in MOUNT_FIELDS)


def _reserved(template: Template, settings: OperatorSettings) -> Iterator[str]:
    reserved = reserved_variables(settings)
    return (each for each in _names(template.get("env", ()), "name") if _matches(each, reserved))


def _variables(template: Template, settings: OperatorSettings) -> Iterator[str]:
    allowed = settings.template_env
    return (each for each in _names(template.get("env", ()), "name") if not _matches(each, allowed))


def _sources(template: Template, settings: OperatorSettings) -> Iterator[str]:
    for variable in template.get("env", ()):
        for source in variable.get("valueFrom", ()):
            if source not in settings.template_env_sources:
                yield f"{variable['name']} ({source})"


# The same in CEL ----------------------------------------------------------------------------------


def _cel_matches(name: str, patterns: str) -> str:
    return (
        f"variables.{patterns}.exists(p, p.endsWith('*') ? {name}.startsWith(p.substring(0,"
        f" p.size() - 1)) : {name} == p)"
    )


def _cel_within(path: str, folders: str) -> str:
    inside = f"p.endsWith('/') ? {path}.startsWith(p) : ({path} + '/').startsWith(p + '/')"
    return f"variables.{folders}.exists(p, {inside})"


def _cel_text(field: str) -> str:
    """The text of that field of an object ``o``; empty where it is missing or not a string."""
    value = f"o.?{field}.orValue('')"
    return f"(type({value}) == string ? {value} : '')"


def _cel_names(objects: str, field: str) -> str:
    return f"variables.{objects}.map(o, {_cel_text(field)})"


def _cel_first(keys: str, condition: str) -> str:
    return f"{keys}.filter(k, {condition})[0]"


CEL_VARIABLES: dict[str, str] = {
    "volumes": "variables.template.?volumes.orValue([])",
    "mounts": "variables.template.?volumeMounts.orValue([])",
    "env": "variables.template.?env.orValue([])",
    "volume_names": _cel_names("volumes", "name"),
    "mount_names": _cel_names("mounts", "name"),
    "mount_paths": _cel_names("mounts", "mountPath"),
    "variable_names": _cel_names("env", "name"),
}
"""Parts of ``variables.template``, which whoever uses the rules defines."""

CONSTANTS: dict[str, Sequence[str]] = {
    "our_volumes": OUR_VOLUMES,
    "our_mounts": OUR_MOUNTS,
    "mount_fields": MOUNT_FIELDS,
}

_QUOTED = """map(n, '"' + n + '"')"""
_FORBIDDEN_TYPE, _FORBIDDEN_SOURCE, _UNKNOWN_FIELD = (
    f"!(k in variables.{name})"
    for name in ("template_volumes", "template_env_sources", "mount_fields")
)
_TYPES = "(o.exists(k, k != 'name') ? o.filter(k, k != 'name') : ['emptyDir'])"

RULES: tuple[Rule, ...] = (
    Rule(
        "serviceAccountName",
        "is not allowed",
        _accounts,
        "[variables.template.?serviceAccountName.orValue('')]"
        f".filter(n, n != '' && !{_cel_matches('n', 'template_service_accounts')})",
        setting="template_service_accounts",
    ),
    Rule(
        "volumes",
        "is of a type that is not allowed",
        _volume_types,
        f"variables.volumes.filter(o, {_TYPES}.exists(k, {_FORBIDDEN_TYPE}))"
        f".map(o, {_cel_text('name')} + ' (' + {_cel_first(_TYPES, _FORBIDDEN_TYPE)} + ')')",
        setting="template_volumes",
    ),
    Rule(
        "volumes",
        f"cannot be the name of a volume: names are unique, and {', '.join(OUR_VOLUMES)} are"
        " volumes of fpj",
        _volume_names,
        "variables.volume_names.filter(n, n == '' || n in variables.our_volumes"
        f" || variables.volume_names.filter(m, m == n).size() > 1).{_QUOTED}",
    ),
    Rule(
        "volumeMounts",
        "is not the name of one of workerTemplate.volumes",
        _mounted_volumes,
        f"variables.mount_names.filter(n, !(n in variables.volume_names)).{_QUOTED}",
    ),
    Rule(
        "volumeMounts",
        "is not a path that may be mounted",
        _mount_paths,
        f"variables.mount_paths.filter(n, !{_cel_within('n', 'template_mount_paths')}"
        f" || n.matches({json.dumps(_NEVER_IN_A_PATH)})).{_QUOTED}",
        setting="template_mount_paths",
    ),
    Rule(
        "volumeMounts",
        f"cannot be mounted: paths are unique, and {', '.join(OUR_MOUNTS)} are mounts of fpj",
        _mounts_over_ours,
        f"variables.mount_paths.filter(n, {_cel_within('n', 'our_mounts')}"
        f" || variables.mount_paths.filter(m, m == n).size() > 1).{_QUOTED}",
    ),
    Rule(
        "volumeMounts",
        f"is not supported: a mount has {', '.join(MOUNT_FIELDS)}",
        _mount_fields,
        f"variables.mounts.filter(o, o.exists(k, {_UNKNOWN_FIELD})).map(o,"
        f" {_cel_first('o', _UNKNOWN_FIELD)})",
    ),
    Rule(
        "env",
        "is reserved: fpj or the installation sets it",
        _reserved,
        f"variables.variable_names.filter(n, {_cel_matches('n', 'reserved_variables')})",
    ),
    Rule(
        "env",
        "is not a variable that may be set",
        _variables,
        f"variables.variable_names.filter(n, !{_cel_matches('n', 'template_env')})",
        setting="template_env",
    ),
    Rule(
        "env",
        "takes its value from a source that is not allowed",
        _sources,
        f"variables.env.filter(o, o.?valueFrom.orValue({{}}).exists(k, {_FORBIDDEN_SOURCE}))"
        f".map(o, o.name + ' (' + {_cel_first('o.valueFrom', _FORBIDDEN_SOURCE)} + ')')",
        setting="template_env_sources",
    ),
)
