"""A bounded patch of the worker pod: what teams need to set, not the whole pod schema."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from fpj_core.v1alpha1.common import NAME_PATTERN, ApiModel, optional, refuse_repeated

ShortText = Annotated[str, Field(max_length=1024)]


def _freeform(description: str) -> Any:
    return Field(
        None,
        description=description,
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True, "x-freeform": True},
    )


class Resources(ApiModel):
    """Compute resources of a worker, as in a container."""

    requests: dict[str, int | Annotated[str, Field(max_length=32)]] | None = Field(
        None, description="What is reserved, such as cpu: 500m, memory: 512Mi.", max_length=16
    )
    limits: dict[str, int | Annotated[str, Field(max_length=32)]] | None = Field(
        None, description="What may be used at most.", max_length=16
    )


class EnvVar(ApiModel):
    """An environment variable, given by value or taken from elsewhere."""

    name: str = Field(
        description="Name of the variable.",
        min_length=1,
        max_length=256,
        pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$",
    )
    value: str | None = Field(None, description="Its value.", max_length=4096)
    value_from: dict[str, Any] | None = _freeform(
        "Where its value comes from, as in a container, if the operator's settings allow that"
        " source."
    )


class ImagePullSecret(ApiModel):
    """A reference to a Secret."""

    name: str = Field(description="Name of the Secret.", max_length=253, pattern=NAME_PATTERN)


class WorkerTemplate(ApiModel):
    """Changes to the pods that work on this job."""

    resources: Resources | None = Field(
        None, description="Compute resources of the worker container."
    )
    node_selector: dict[str, ShortText] | None = Field(
        None, description="Labels a node must have.", max_length=32
    )
    tolerations: list[dict[str, Any]] | None = Field(
        None,
        description="Taints that are tolerated, as in a pod.",
        max_length=32,
        json_schema_extra={"x-freeform-items": True, "x-kubernetes-list-type": "atomic"},
    )
    affinity: dict[str, Any] | None = _freeform("Affinity, as in a pod.")
    labels: dict[str, ShortText] | None = Field(
        None, description="Extra labels of the pods.", max_length=32
    )
    annotations: dict[str, ShortText] | None = Field(
        None, description="Extra annotations of the pods.", max_length=32
    )
    image_pull_secrets: list[ImagePullSecret] | None = Field(
        None,
        description="Secrets for pulling the worker image.",
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    priority_class_name: str | None = Field(
        None, description="PriorityClass of the pods.", max_length=253, pattern=NAME_PATTERN
    )
    service_account_name: str | None = optional(
        "ServiceAccount of the pods, if the operator's settings allow it.",
        absent="one made for the job",
        max_length=253,
        pattern=NAME_PATTERN,
    )
    env: list[EnvVar] | None = Field(
        None,
        description=(
            "Extra environment variables that the operator's settings allow. Values are literal."
        ),
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    volumes: list[dict[str, Any]] | None = Field(
        None,
        description="Extra volumes, as in a pod, of types that the operator's settings allow.",
        max_length=16,
        json_schema_extra={"x-freeform-items": True, "x-kubernetes-list-type": "atomic"},
    )
    volume_mounts: list[dict[str, Any]] | None = Field(
        None,
        description=(
            "Where they are mounted, as in a container, where the operator's settings allow it."
        ),
        max_length=16,
        json_schema_extra={"x-freeform-items": True, "x-kubernetes-list-type": "atomic"},
    )

    @field_validator("env", "image_pull_secrets")
    @classmethod
    def _unique(
        cls, items: list[EnvVar] | list[ImagePullSecret] | None
    ) -> list[EnvVar] | list[ImagePullSecret] | None:
        refuse_repeated(items or (), "name")
        return items
