"""ValidatingAdmissionPolicies: what the API server itself forbids, before the operator sees it.

Pure.

Three policies: worker templates within the operator's settings (the same rules as the operator's
own check), reports of workers within the progress of their own job, and deletions by the operator
within what it made. Written once, for `deploy/` and the chart, which puts its values in place of
the operator's account and of the lists of the settings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fpj_core.kube import names
from fpj_core.kube.status import PROGRESS_FIELDS
from fpj_core.model import Phase
from fpj_operator.jobs.templatepolicy import CEL_VARIABLES, CONSTANTS, RULES, Rule, allows
from fpj_operator.settings import OperatorSettings

Lists = Callable[[str], str]
"""From the name of a setting, or ``reserved_variables``, to a CEL list of its values."""

_API = "admissionregistration.k8s.io/v1"
_TEMPLATE_OF = (
    "(dyn({object}).kind == 'FileProcessingSchedule' ?"
    " dyn({object}).spec.?jobTemplate.?spec.?workerTemplate : dyn({object}).spec.?workerTemplate)"
)


def lists_of(settings: OperatorSettings, reserved: Sequence[str]) -> Lists:
    """The lists as these settings have them."""

    def of(name: str) -> str:
        return json.dumps(
            list(reserved if name == "reserved_variables" else getattr(settings, name))
        )

    return of


def worker_templates(name: str, lists: Lists) -> dict[str, Any]:
    """Jobs and schedules whose worker template the operator would refuse are refused at once.

    An update that leaves the template as it is always passes: of what was made before the policy,
    too, finalizers can be removed and suspension changed.
    """
    settings = sorted({rule.setting for rule in RULES if rule.setting})
    before, now = _TEMPLATE_OF.format(object="oldObject"), _TEMPLATE_OF.format(object="object")
    variables = {
        "template": (
            f"(request.operation == 'UPDATE' && {before} == {now}) ? {{}} : {now}.orValue({{}})"
        ),
        **{each: json.dumps(list(values)) for each, values in CONSTANTS.items()},
        **{each: lists(each) for each in (*settings, "reserved_variables")},
        **CEL_VARIABLES,
        **{_result(rule): rule.cel for rule in RULES},
    }
    resources = [names.JOBS, names.SCHEDULES]
    return _policy(
        name,
        _resource(names.GROUP, resources, "CREATE", "UPDATE"),
        variables=variables,
        validations=[_validation(rule) for rule in RULES],
    )


def _result(rule: Rule) -> str:
    return f"forbidden_{RULES.index(rule)}"


def _validation(rule: Rule) -> dict[str, Any]:
    offenders = f"variables.{_result(rule)}"
    message = (
        f"{json.dumps(f'workerTemplate.{rule.path}: ')} + {offenders}[0] +"
        f" {json.dumps(f' {rule.problem}')}"
    )
    if rule.setting:
        allowed = f"variables.{rule.setting}"
        listed = f"({allowed}.size() == 0 ? 'none' : {allowed}.join(', '))"
        message += f" + {json.dumps(f'; {allows(rule.setting)} ')} + {listed}"
    return {
        "expression": f"{offenders}.size() == 0",
        "message": f"workerTemplate.{rule.path}: {rule.problem}",
        "messageExpression": message,
        "reason": "Forbidden",
    }


def worker_reports(name: str, operator: str) -> dict[str, Any]:
    """Accounts of a job's namespace, the operator's apart, may write progress alone,
    of the job they were made for.

    The account of a job's workers ends in the beginning of the job's uid (`names.base_name`), so
    one of an earlier job of the same name is another.
    """
    finished = [phase.value for phase in Phase if phase.finished]
    suffix = f"'-' + object.metadata.uid.substring(0, {names.UID_LENGTH})"
    variables = {
        "before": "dyn(oldObject).?status.orValue({})",
        "now": "dyn(object).?status.orValue({})",
        "changed": (
            "variables.now.filter(k, !(k in variables.before) || variables.now[k] !="
            " variables.before[k]) + variables.before.filter(k, !(k in variables.now))"
        ),
        "forbidden": f"variables.changed.filter(k, !(k in {json.dumps(list(PROGRESS_FIELDS))}))",
        "phase": "variables.before.?phase.orValue('')",
    }
    validations: list[dict[str, Any]] = [
        {
            "expression": f"request.userInfo.username.endsWith({suffix})",
            "message": (
                "the status of a job is reported by the account that was made for its workers"
            ),
        },
        {
            "expression": "variables.forbidden.size() == 0",
            "message": f"workers may report {', '.join(PROGRESS_FIELDS)} only",
            "messageExpression": (
                f"{json.dumps('workers may report ' + ', '.join(PROGRESS_FIELDS) + ' only, not ')}"
                " + variables.forbidden[0]"
            ),
        },
        {
            "expression": (
                f"!(variables.phase in {json.dumps(finished)}) || variables.changed.size() == 0"
            ),
            "message": "the job has finished: its status is final",
            "messageExpression": (
                "'the job has finished (' + variables.phase + '): its status is final'"
            ),
        },
    ]
    return _policy(
        name,
        _resource(names.GROUP, [f"{names.JOBS}/status"], "UPDATE"),
        conditions={
            "an-account-of-the-namespace": (
                'request.userInfo.username.startsWith("system:serviceaccount:" + request.namespace'
                ' + ":")'
            ),
            "not-the-operator": f"request.userInfo.username != {json.dumps(operator)}",
        },
        variables=variables,
        validations=[{"reason": "Forbidden"} | each for each in validations],
    )


def binding(policy: str, namespaces: Sequence[str] = ()) -> dict[str, Any]:
    """Puts a policy into force, in these namespaces, or in all."""
    spec: dict[str, Any] = {"policyName": policy, "validationActions": ["Deny"]}
    if namespaces:
        chosen = {
            "key": "kubernetes.io/metadata.name",
            "operator": "In",
            "values": list(namespaces),
        }
        spec["matchResources"] = {"namespaceSelector": {"matchExpressions": [chosen]}}
    return {
        "apiVersion": _API,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": policy},
        "spec": spec,
    }


def _resource(group: str, resources: Sequence[str], *operations: str) -> dict[str, Any]:
    return {
        "apiGroups": [group],
        "apiVersions": ["*"],
        "operations": list(operations),
        "resources": list(resources),
        "scope": "Namespaced",
    }


def _policy(
    name: str,
    *rules: Mapping[str, Any],
    variables: Mapping[str, str],
    validations: Sequence[Mapping[str, Any]],
    conditions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": list(rules)},
        "matchConditions": [
            {"name": each, "expression": text} for each, text in (conditions or {}).items()
        ],
        "variables": [{"name": each, "expression": text} for each, text in variables.items()],
        "validations": list(validations),
    }
    return {
        "apiVersion": _API,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {each: value for each, value in spec.items() if value},
    }
