"""``python -m fpj_operator.chart [--check] charts/fpj``."""

from __future__ import annotations

import sys

from fpj_core.generated import write_or_check, yaml_text
from fpj_operator.chart import policies, schema, settings, templates, texts
from fpj_operator.chart.values import VERSION

_CHART = {
    "apiVersion": "v2",
    "name": "fpj",
    "description": "Cache images and thumbnails for millions of photographs: operator, resources, rights",
    "type": "application",
    "version": VERSION,
    "appVersion": VERSION,
    "kubeVersion": ">=1.33.0-0",
    "keywords": ["images", "thumbnails", "libvips", "operator", "cache"],
    "annotations": {"artifacthub.io/license": "Apache-2.0", "artifacthub.io/operator": "true"},
}


def files() -> dict[str, str]:
    """File name to text."""
    return {
        "Chart.yaml": yaml_text(_CHART, "# Generated from operator/fpj_operator/chart by `make chart`. Do not edit.\n"),
        "README.md": texts.readme(),
        "values.yaml": texts.values_yaml(),
        "values.schema.json": schema.text(),
        "templates/_settings.tpl": settings.template(),
        "templates/_rights.tpl": templates.rights(),
        "templates/admissionpolicies.yaml": policies.policies(),
        "templates/people.yaml": templates.people(),
        **{f"templates/{name}": text for name, text in templates.crds().items()},
    }


if __name__ == "__main__":
    sys.exit(write_or_check(files(), "Generate parts of the Helm chart."))
