"""The template of the admission policies: `fpj_operator.admission`,
with values of the release in it.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic.alias_generators import to_camel

from fpj_generate.chart.templates import NOTE
from fpj_generate.generated import yaml_text
from fpj_operator.admission import binding, worker_reports, worker_templates
from fpj_operator.jobs.templatepolicy import RESERVED_VARIABLES, RULES
from fpj_operator.settings import OperatorSettings


def policies() -> str:
    """The admission policies: with the lists of the release's settings, its operator's account,
    its namespaces.
    """
    made = {
        "workerTemplates": worker_templates("HELM_NAME", lambda name: f"HELM_{name}"),
        "workerReports": worker_reports("HELM_NAME", "HELM_ACCOUNT"),
    }
    reserved = " ".join(f'"{each}"' for each in RESERVED_VARIABLES)
    policies = "".join(_policy(value, document) for value, document in made.items())
    return f"{NOTE}{_POLICY_LISTS.replace('RESERVED', reserved)}{policies}"


_POLICY_LISTS = """\
{{- /* A list as CEL has it: of the settings, or the operator's default where they do not have it. */}}
{{- define "fpj.cel" -}}
{{- $settings := .root.Values.settings | default dict }}
{{- toJson (ternary (get $settings .name) .default (hasKey $settings .name)) }}
{{- end }}

{{- define "fpj.celReserved" -}}
{{- $names := keys (.Values.workers.env | default dict) }}
{{- if .Values.metrics.workers.enabled }}
{{- $names = append $names "FPJ_METRICS_PORT" }}
{{- end }}
{{- toJson (concat (list RESERVED) ($names | uniq | sortAlpha)) }}
{{- end }}
"""
_BINDING_END = """\
  {{- with .Values.watchNamespaces }}
  matchResources:
    namespaceSelector:
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values:
            {{- toYaml . | nindent 12 }}
  {{- end }}
"""


def _policy(value: str, policy: dict[str, Any]) -> str:
    """A policy and its binding, if the value ``admissionPolicies.VALUE`` is set."""
    suffix = re.sub("([A-Z])", lambda found: f"-{found[1].lower()}", value)
    parts = _policy_part(policy) + _policy_part(binding("HELM_NAME")) + _BINDING_END
    return (
        f"{{{{- if .Values.admissionPolicies.{value} }}}}\n"
        f'{{{{- $name := printf "%s-%s-{suffix}" .Release.Namespace (include "fpj.fullname" .)'
        " }}\n"
        f"{parts}{{{{- end }}}}\n"
    )


def _policy_part(document: dict[str, Any]) -> str:
    """The values of the release take the place of what begins with ``HELM_``."""
    spec = yaml_text({"spec": document["spec"]})
    if "{{" in spec:
        raise ValueError("what Helm takes for its own would have to be escaped")
    for name, template in _POLICY_VALUES.items():
        spec = re.sub(rf"HELM_{name}\b", lambda _: template, spec)  # noqa: B023
    return (
        f"---\napiVersion: {document['apiVersion']}\nkind: {document['kind']}\nmetadata:\n  name:"
        ' {{ $name }}\n  labels:\n    {{- include "fpj.labels" . | nindent 4 }}\n  {{-'
        ' include "fpj.annotations" . | nindent 2 }}\n' + spec
    )


def _cel_list(setting: str) -> str:
    default = " ".join(f'"{each}"' for each in getattr(_DEFAULTS, setting))
    given = f'(dict "root" . "name" "{to_camel(setting)}" "default" (list {default}))'
    return f'{{{{ include "fpj.cel" {given} | quote }}}}'


_DEFAULTS = OperatorSettings(store_url="", worker_image="")


_POLICY_VALUES = {
    "NAME": "{{ $name }}",
    "ACCOUNT": (
        'system:serviceaccount:{{ .Release.Namespace }}:{{ include "fpj.serviceAccount" . }}'
    ),
    "reserved_variables": '{{ include "fpj.celReserved" . | quote }}',
} | {rule.setting: _cel_list(rule.setting) for rule in RULES if rule.setting}
