"""Who keeps an object as a repository or a chart has it: what is changed beside them is undone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ARGO_CD, FLUX, HELM = "Argo CD", "Flux", "Helm"
_MARKS = (
    # Part of the object's metadata, what a key there begins with, whose it is.
    ("annotations", "argocd.argoproj.io/tracking-id", ARGO_CD),
    ("labels", "argocd.argoproj.io/", ARGO_CD),
    ("labels", "kustomize.toolkit.fluxcd.io/", FLUX),
    ("labels", "helm.toolkit.fluxcd.io/", FLUX),
    ("annotations", "meta.helm.sh/release-name", HELM),
)
_MANAGERS = {
    "argocd-controller": ARGO_CD,
    "argocd-application-controller": ARGO_CD,
    "kustomize-controller": FLUX,
    "helm-controller": FLUX,
}
"""Managers of fields, as these tools call themselves."""


def keeper_of(metadata: Mapping[str, Any]) -> str | None:
    """Argo CD, Flux or Helm, by an object's labels, annotations and managed fields; None for
    nobody that is known.
    """
    for part, beginning, keeper in _MARKS:
        if any(key.startswith(beginning) for key in metadata.get(part) or {}):
            return keeper
    managers = [each.get("manager") for each in metadata.get("managedFields") or ()]
    return next((_MANAGERS[each] for each in managers if each in _MANAGERS), None)
