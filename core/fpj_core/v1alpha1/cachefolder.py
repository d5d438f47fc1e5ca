"""CacheFolder: a place where derivatives live."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from fpj_core.model import CACHE_CONTROL, Eviction, Layout, Since
from fpj_core.v1alpha1.cachefolderstatus import COLUMNS, CacheFolderStatus
from fpj_core.v1alpha1.common import (
    LABEL_PATTERN,
    NAME_PATTERN,
    S3,
    ApiModel,
    Local,
    Metadata,
    PersistentVolumeClaim,
    Quantity,
    Rule,
    exactly_one,
    one_of_rule,
    optional,
    refuse_repeated,
)

_ONE_STORAGE = "exactly one of persistentVolumeClaim, s3 and local must be given"
HIGH_WATERMARK, LOW_WATERMARK = 90, 80
"""What an absent one means: percentages of maxBytes at which eviction starts and ends."""
_LAYOUT_KEPT = (
    "(has(self.layout) ? self.layout : 'Hashed') == (has(oldSelf.layout) ? oldSelf.layout :"
    " 'Hashed')"
)
_DIRECTIVE = r"[A-Za-z][A-Za-z-]*(=[0-9]+|=\"[A-Za-z, -]*\")?"
CACHE_CONTROL_PATTERN = rf"^{_DIRECTIVE}(, ?{_DIRECTIVE})*$"
"""Directives as in RFC 9111, without what could begin another header."""
_URL_PATTERN = r"^https?://[^\s]+$"
_Key = Annotated[str, Field(min_length=1, max_length=4096)]
_ONLY_S3 = "cacheControl is only for storage.s3"
_WATERMARKS = "lowWatermark must be below highWatermark"


class Storage(ApiModel):
    """Where the folder is: exactly one place."""

    persistent_volume_claim: PersistentVolumeClaim | None = Field(
        None, description="A folder on a claimed volume."
    )
    s3: S3 | None = Field(None, description="A bucket of S3-compatible object storage.")
    local: Local | None = Field(None, description="A folder of this machine; only for `fpj run`.")

    rules: ClassVar[tuple[Rule, ...]] = (
        one_of_rule(("persistentVolumeClaim", "s3", "local"), _ONE_STORAGE),
    )

    @model_validator(mode="after")
    def _one(self) -> Storage:
        exactly_one(self, ("persistent_volume_claim", "s3", "local"), _ONE_STORAGE)
        return self


def _by(key: str) -> dict[str, Any]:
    """A list whose items differ in ``key``."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def _weight() -> Any:
    return optional(
        "What its derivatives are worth, in percent: of two that cost the same, one of double the"
        " weight is worth double. 0: they go first.",
        default=100,
        ge=0,
        le=1_000_000,
    )


class CollectionPolicy(ApiModel):
    """What holds for one collection."""

    id: str = Field(
        description="The collection's id, as its jobs give it.",
        min_length=1,
        max_length=253,
        pattern=NAME_PATTERN,
    )
    max_bytes: Quantity | None = optional("Most it may hold in this folder.", absent="no limit")
    weight: int | None = _weight()
    pinned: bool | None = optional("Keep all that was made of it.", default=False)
    pinned_images: list[_Key] | None = Field(
        None,
        description="Keys of images, as the source lists them: what was made of those is kept.",
        max_length=1_000,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )


class TierPolicy(ApiModel):
    """What holds for one tier of all collections."""

    name: str = Field(
        description="The tier's name; thumbnails are of the tier `thumbnail`.",
        min_length=1,
        max_length=63,
        pattern=LABEL_PATTERN,
    )
    max_bytes: Quantity | None = optional("Most it may hold in this folder.", absent="no limit")
    weight: int | None = _weight()
    pinned: bool | None = optional("Keep all of its derivatives.", default=False)


class Policy(ApiModel):
    """When derivatives are evicted."""

    ttl: int | None = optional(
        "Seconds until a derivative may go.", absent="forever", ge=60, le=315_360_000
    )
    ttl_since: Since | None = optional(
        "What ttl counts from: the last access, or the creation. A derivative that nobody has asked"
        " for was last accessed when it was made.",
        default=Since.ACCESS,
    )
    eviction: Eviction | None = optional(
        "Which derivatives go first: those that cost least to make again for their bytes and their"
        " use (Cost), those not used for longest (LRU), those of the least weight (Priority), or"
        " none but expired ones (None).",
        absent="Cost where maxBytes is set, otherwise None",
    )
    high_watermark: int | None = optional(
        "Percentage of maxBytes at which eviction starts.", default=HIGH_WATERMARK, ge=1, le=100
    )
    low_watermark: int | None = optional(
        "Percentage of maxBytes at which eviction ends.", default=LOW_WATERMARK, ge=0, le=99
    )
    minimum_age_seconds: int | None = optional(
        "Derivatives that are younger are kept.", default=0, ge=0, le=315_360_000
    )
    collections: list[CollectionPolicy] | None = Field(
        None,
        description="Limits, weights and pins of collections.",
        max_length=1_000,
        json_schema_extra=_by("id"),
    )
    tiers: list[TierPolicy] | None = Field(
        None,
        description="Limits, weights and pins of tiers.",
        max_length=16,
        json_schema_extra=_by("name"),
    )
    allow_everything: bool | None = optional(
        "Whether the policy may remove everything there is; otherwise it then removes nothing.",
        default=False,
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=(
                f"(has(self.lowWatermark) ? self.lowWatermark : {LOW_WATERMARK})"
                f" < (has(self.highWatermark) ? self.highWatermark : {HIGH_WATERMARK})"
            ),
            message=_WATERMARKS,
        ),
    )

    @model_validator(mode="after")
    def _unique(self) -> Policy:
        refuse_repeated(self.collections or (), "id")
        refuse_repeated(self.tiers or (), "name")
        return self

    @model_validator(mode="after")
    def _ordered(self) -> Policy:
        low = LOW_WATERMARK if self.low_watermark is None else self.low_watermark
        high = HIGH_WATERMARK if self.high_watermark is None else self.high_watermark
        if low >= high:
            raise ValueError(_WATERMARKS)
        return self


class WebhookToken(ApiModel):
    """A value in a Secret.

    The key's beginning shows that it was made for this: whoever may change the folder may not see
    every Secret, and could have any sent to them.
    """

    name: str = Field(
        description="Name of the Secret, in the same namespace.",
        min_length=1,
        max_length=253,
        pattern=NAME_PATTERN,
    )
    key: str = Field(
        description="Key in it; begins with `fpj-webhook`, so that no other Secret is ever sent.",
        min_length=1,
        max_length=253,
        pattern=r"^fpj-webhook[-._a-zA-Z0-9]*$",
    )


class PurgeWebhook(ApiModel):
    """Whom to tell which files a CachePurge has removed, such as a CDN."""

    url: str = Field(
        description=(
            "Where a JSON object with `collection` and `urls`, at most 1,000, is posted after a"
            " purge."
        ),
        max_length=2048,
        pattern=_URL_PATTERN,
    )
    base_url: str = Field(
        description="What the URLs of the folder's files begin with; their paths follow.",
        max_length=2048,
        pattern=_URL_PATTERN,
    )
    secret_ref: WebhookToken | None = Field(
        None, description="A token, which is sent as `Authorization: Bearer`."
    )


class CacheFolderSpec(ApiModel):
    """Where it is, how much it may hold, and what goes first."""

    storage: Storage = Field(description="Where the folder is. Immutable.")
    layout: Layout | None = optional(
        "How files are named: Hashed, `<collection>/<tier>/<2 hex>/<image id>.<ext>`, for any"
        " number of collections; or Mirror, `<tier>/<folders>/<name>.<ext>` after the source, for"
        " one collection, whose job must name the folder. Immutable.",
        default=Layout.HASHED,
    )
    priority: int | None = optional(
        "Folders of higher priority are chosen first.",
        default=0,
        ge=-1_000_000,
        le=1_000_000,
    )
    max_bytes: Quantity | None = optional("Most it may hold.", absent="all of its disk")
    cache_control: str | None = optional(
        "Cache-Control that objects are written with, for whoever serves them; only for storage.s3."
        " Objects that are there keep theirs.",
        default=CACHE_CONTROL,
        max_length=256,
        pattern=CACHE_CONTROL_PATTERN,
    )
    policy: Policy | None = Field(None, description="When derivatives are evicted.")
    purge_webhook: PurgeWebhook | None = Field(
        None, description="Whom to tell which files a CachePurge has removed, such as a CDN."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(cel="!has(self.cacheControl) || has(self.storage.s3)", message=_ONLY_S3),
        Rule(
            cel="self.storage == oldSelf.storage",
            message="storage is immutable: make a new CacheFolder instead",
        ),
        Rule(cel=_LAYOUT_KEPT, message="layout is immutable: make a new CacheFolder instead"),
    )

    @model_validator(mode="after")
    def _only_s3(self) -> CacheFolderSpec:
        if self.cache_control is not None and self.storage.s3 is None:
            raise ValueError(_ONLY_S3)
        return self


class CacheFolder(ApiModel):
    """A place where derivatives live, with a policy."""

    api_version: Literal["fpj.dev/v1alpha1"] = Field("fpj.dev/v1alpha1", description="API version.")
    kind: Literal["CacheFolder"] = Field("CacheFolder", description="Kind.")
    metadata: Metadata = Field(description="Standard object metadata.")
    spec: CacheFolderSpec = Field(
        description="Where it is, how much it may hold, and what goes first."
    )
    status: CacheFolderStatus | None = Field(None, description="What the folder holds.")

    plural: ClassVar[str] = "cachefolders"
    short_names: ClassVar[tuple[str, ...]] = ("cf",)
    awaited: ClassVar[bool] = False
    """Whether whoever applies one has to wait for the operator."""
    columns: ClassVar[tuple[dict[str, Any], ...]] = COLUMNS
