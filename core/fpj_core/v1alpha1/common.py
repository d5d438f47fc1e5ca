"""What both resources share: the base model, quantities, storage places, conditions, metadata."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from fpj_core.model import REGION

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
QUANTITY_PATTERN = (
    r"^([0-9]*[1-9][0-9]*(\.[0-9]+)?|[0-9]+\.[0-9]*[1-9][0-9]*)(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
)
"""A number above 0, and a unit."""

_SUFFIXES: dict[str, int] = (
    {"": 1}
    | {s: 1000**n for n, s in enumerate("kMGTP", 1)}
    | {s + "i": 1024**n for n, s in enumerate("KMGTP", 1)}
)

_MOST_BYTES = 2**63 - 1
DEFAULT, ABSENT = "x-default", "x-absent"
"""Where a field says what it means to leave it out; the API server's schemas have neither."""


class Rule(BaseModel):
    """A rule that binds several fields: as CEL for the API server, in the same words here."""

    model_config = ConfigDict(frozen=True)

    cel: str
    message: str


class ApiModel(BaseModel):
    """Base of all parts of a resource: camelCase names, nothing unknown,
    nothing changed once read.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        defer_build=True,  # most commands never validate: importing takes half the time
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    """CEL rules of this object."""

    @classmethod
    def default_of(cls, name: str) -> Any:
        """What it means to leave a field out, where a value says it; see `optional`.

        Raises LookupError elsewhere.
        """
        extra = cls.model_fields[name].json_schema_extra
        if not isinstance(extra, dict) or DEFAULT not in extra:
            raise LookupError(f"{cls.__name__}.{name} has no default that is a value")
        return extra[DEFAULT]

    def meant(self, name: str) -> Any:
        """A field's value, or its default where it is left out."""
        given = getattr(self, name)
        return self.default_of(name) if given is None else given


def optional(description: str, *, default: Any = None, absent: str = "", **options: Any) -> Any:
    """A field that may be left out.

    Its description ends with what that means: a value, or words where none says it.

    The field itself is then None: nothing is written into a manifest. ``options`` are those of
    pydantic's ``Field``.
    """
    extra = options.pop("json_schema_extra", {}) | (
        {ABSENT: absent} if absent else {DEFAULT: default}
    )
    meaning = absent or shown(default)
    return Field(
        None, description=f"{description} Default: {meaning}.", json_schema_extra=extra, **options
    )


def shown(value: Any) -> str:
    """A default as YAML takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value}" if re.fullmatch(r"[\w./-]+", f"{value}") else f"'{value}'"


def exactly_one(model: BaseModel, names: tuple[str, ...], message: str) -> None:
    """Raise ValueError(message) unless exactly one of the fields is given."""
    if sum(getattr(model, name) is not None for name in names) != 1:
        raise ValueError(message)


def one_of_rule(names: tuple[str, ...], message: str) -> Rule:
    """The CEL form of `exactly_one`."""
    return Rule(
        cel=f"[{', '.join(f'has(self.{name})' for name in names)}].filter(x, x).size() == 1",
        message=message,
    )


def refuse_repeated(items: Iterable[BaseModel], name: str) -> None:
    """Raise ValueError if two items have the same ``name``,
    as the API server refuses it in lists keyed by it.
    """
    seen: set[object] = set()
    for item in items:
        key = getattr(item, name)
        if key in seen:
            raise ValueError(f"the {name} {key!r} is given twice")
        seen.add(key)


def parse_quantity(value: int | str) -> int:
    """Bytes of a Kubernetes quantity: ``500Mi``, ``1.5G``, ``1048576``. Raises ValueError.

    As in Kubernetes, parts of a byte are rounded up, and what does not fit in 64 bits is the most
    that does.
    """
    if isinstance(value, int):
        if value <= 0:
            raise ValueError("must be more than 0 bytes")
        return min(value, _MOST_BYTES)
    if not re.fullmatch(QUANTITY_PATTERN, value):
        raise ValueError("is not a quantity of bytes above 0, such as 500Mi, 2G or 1048576")
    number = value.rstrip("kMGTPKi")
    return min(math.ceil(Decimal(number) * _SUFFIXES[value[len(number) :]]), _MOST_BYTES)


def limit_of(quantity: int | str | None) -> int | None:
    """Bytes of a limit as a resource has it; None for no limit,
    which an invalid quantity is too.
    """
    try:
        return None if quantity is None else parse_quantity(quantity)
    except ValueError:
        return None


def _readable_quantity(value: int | str) -> int | str:
    parse_quantity(value)
    return value


Quantity = Annotated[
    Annotated[int, Field(strict=True)] | Annotated[str, Field(max_length=32)],
    AfterValidator(_readable_quantity),
    Field(json_schema_extra={"x-quantity": True}),
]


def model_in(annotation: Any) -> type[ApiModel] | None:
    """The API model in an annotation such as ``Tier | None`` or ``list[Tier]``."""
    if isinstance(annotation, type) and issubclass(annotation, ApiModel):
        return annotation
    for part in get_args(annotation):
        if (model := model_in(part)) is not None:
            return model
    return None


class PersistentVolumeClaim(ApiModel):
    """A folder on a claimed volume."""

    claim_name: str = Field(
        description="Name of the PersistentVolumeClaim, in the job's namespace.",
        min_length=1,
        max_length=253,
        pattern=NAME_PATTERN,
    )
    path: str | None = optional(
        "Folder within the volume. May not contain '..'.",
        absent="the volume's root",
        max_length=4096,
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.path) || !self.path.split('/').exists(p, p == '..')",
            message="path may not contain '..'",
        ),
    )

    @model_validator(mode="after")
    def _no_parent(self) -> PersistentVolumeClaim:
        if self.path and ".." in self.path.split("/"):
            raise ValueError(self.rules[0].message)
        return self


class S3(ApiModel):
    """A bucket of S3-compatible object storage, or the part of it below a prefix."""

    bucket: str = Field(
        description="Name of the bucket.", min_length=3, max_length=63, pattern=NAME_PATTERN
    )
    prefix: str | None = Field(None, description="Only objects below this prefix.", max_length=1024)
    endpoint: str | None = optional(
        "URL of the service.", absent="Amazon's", max_length=2048, pattern=r"^https?://.+$"
    )
    region: str | None = optional("Region of the bucket.", default=REGION, max_length=64)
    credentials_secret_name: str | None = Field(
        None,
        description=(
            "Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; `fpj run` reads the"
            " environment."
        ),
        max_length=253,
        pattern=NAME_PATTERN,
    )


class Local(ApiModel):
    """A folder of the machine that `fpj run` runs on. Refused in a cluster."""

    path: str = Field(
        description="Path of the folder; only for `fpj run`.", min_length=1, max_length=4096
    )


class Metadata(ApiModel):
    """The part of ObjectMeta that manifests use.

    What else the API server puts there is left alone.
    """

    model_config = ConfigDict(extra="ignore")

    name: str = Field(
        description="Name of the resource.", min_length=1, max_length=253, pattern=NAME_PATTERN
    )
    namespace: str | None = Field(
        None, description="Namespace of the resource.", max_length=63, pattern=LABEL_PATTERN
    )
    uid: str | None = Field(None, description="Set by the API server.", max_length=64)
    labels: dict[str, str] | None = Field(None, description="Labels.")
    annotations: dict[str, str] | None = Field(None, description="Annotations.")


class Condition(ApiModel):
    """A condition, as in metav1.Condition."""

    type: str = Field(
        description="Type of the condition.", max_length=316, pattern=r"^[A-Za-z][A-Za-z0-9]*$"
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    observed_generation: int | None = Field(
        None, description="Generation of the spec it was set for.", ge=0
    )
    last_transition_time: str = Field(
        description="When the status last changed.",
        max_length=64,
        json_schema_extra={"format": "date-time"},
    )
    reason: str = Field(
        description="One word, in CamelCase, for programs.",
        min_length=1,
        max_length=1024,
        pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
    )
    message: str = Field(description="A sentence for people.", max_length=1024)


def conditions_field() -> Any:
    """The ``conditions`` list, merged by type."""
    return Field(
        None,
        description="Latest observations of the resource's state.",
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
