"""What a plan is made from and what it says.

Times are seconds since the epoch, ages and half-lives seconds, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fpj_core.errors import PolicyError
from fpj_core.model import Eviction, Since, usual_eviction

MOST = 2**63 - 1
"""The largest size and ordinal that the stores can hold."""
MOST_WEIGHT = 1_000_000.0
"""So that no product of weights, frequency and cost overflows."""
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Candidate:
    """One derivative of the folder. (collection, ordinal, tier) is its identity, given once.

    ``frequency`` counts its accesses, the creation among them, already halved by age as of the
    last one. ``busy``: it is being made or served.
    """

    collection: str
    ordinal: int
    tier: str
    folder: str
    path: str
    bytes: int
    cost_ms: float
    """CPU milliseconds that making it took; 0 if nobody recorded them."""
    created_at: float
    accessed_at: float | None = None
    """None until accesses are recorded: the creation counts."""
    frequency: float = 1.0
    pinned: bool = False
    busy: bool = False


class Reason(StrEnum):
    """Why a derivative is to be removed. The set is closed."""

    EXPIRED = "Expired"
    OVER_COLLECTION_QUOTA = "OverCollectionQuota"
    OVER_TIER_QUOTA = "OverTierQuota"
    OVER_QUOTA = "OverQuota"


class Kept(StrEnum):
    """Why bytes stay although a limit is exceeded. The set is closed."""

    BUSY = "Busy"
    PINNED = "Pinned"
    TOO_YOUNG = "TooYoung"
    NO_EVICTION = "NoEviction"
    """The policy evicts nothing."""
    UNKNOWN = "Unknown"
    """The folder is said to hold more than its derivatives do."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How much derivatives are worth; 1.0 where nothing is said. A derivative's is the product."""

    folders: Mapping[str, float] = field(default_factory=dict)
    collections: Mapping[str, float] = field(default_factory=dict)
    tiers: Mapping[str, float] = field(default_factory=dict)

    def of(self, folder: str, collection: str, tier: str) -> float:
        """The weight of such derivatives."""
        return (
            self.folders.get(folder, 1.0)
            * self.collections.get(collection, 1.0)
            * self.tiers.get(tier, 1.0)
        )


@dataclass(frozen=True, slots=True)
class Pins:
    """What is never removed. An image is (collection, ordinal)."""

    collections: frozenset[str] = frozenset()
    tiers: frozenset[str] = frozenset()
    images: frozenset[tuple[str, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Policy:
    """When derivatives are removed, and which first. Raises PolicyError for what is invalid."""

    ttl: float | None = None
    ttl_since: Since = Since.ACCESS
    eviction: Eviction | None = None
    """None: Cost if the folder has ``max_bytes``, otherwise none."""
    max_bytes: int | None = None
    high_watermark: int = 90
    """Percentage of ``max_bytes`` above which eviction starts."""
    low_watermark: int = 80
    """Percentage of ``max_bytes`` down to which it goes."""
    minimum_age: float = 0.0
    half_life: float = 90 * DAY
    """Seconds in which the frequency of a derivative that nobody asks for halves."""
    collection_quotas: Mapping[str, int] = field(default_factory=dict)
    tier_quotas: Mapping[str, int] = field(default_factory=dict)
    weights: Weights = field(default_factory=Weights)
    pins: Pins = field(default_factory=Pins)
    allow_everything: bool = False
    """Whether a plan may remove all there is."""

    def __post_init__(self) -> None:
        for name, value in self._sizes():
            if not 0 <= value <= MOST:
                raise PolicyError(f"{name} is {value}; it must be 0 to {MOST}")
        for name, seconds in (("ttl", self.ttl), ("half_life", self.half_life)):
            if seconds is not None and not 0 < seconds < float("inf"):
                raise PolicyError(f"{name} is {seconds}; it must be seconds above 0")
        if not 0 <= self.minimum_age < float("inf"):
            raise PolicyError(f"minimum_age is {self.minimum_age}; it must be seconds from 0 on")
        if not 0 <= self.low_watermark < self.high_watermark <= 100:
            raise PolicyError("lowWatermark must be below highWatermark, both 0 to 100 per cent")
        for mapping in (self.weights.folders, self.weights.collections, self.weights.tiers):
            for name, weight in mapping.items():
                if not 0 <= weight <= MOST_WEIGHT:
                    raise PolicyError(f"the weight of {name} is {weight}; allowed is 0 to 1000000")

    @property
    def chosen(self) -> Eviction:
        """What ``eviction`` means when it is left out."""
        return self.eviction or usual_eviction(self.max_bytes)

    @property
    def high(self) -> int | None:
        """Bytes above which eviction starts."""
        return None if self.max_bytes is None else self.max_bytes * self.high_watermark // 100

    @property
    def low(self) -> int | None:
        """Bytes down to which it goes."""
        return None if self.max_bytes is None else self.max_bytes * self.low_watermark // 100

    def _sizes(self) -> list[tuple[str, int]]:
        named = [
            (f"the quota of collection {name}", of) for name, of in self.collection_quotas.items()
        ]
        named += [(f"the quota of tier {name}", of) for name, of in self.tier_quotas.items()]
        return named if self.max_bytes is None else [("maxBytes", self.max_bytes), *named]


@dataclass(frozen=True, slots=True)
class Victim:
    """A derivative to remove. Its path is in its record, which the removal reads again anyway."""

    folder: str
    collection: str
    ordinal: int
    tier: str
    bytes: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A limit that the plan does not reach.

    ``limit`` says which; ``name`` is its collection or tier, or "". ``kept`` are the bytes that
    count towards it and stay, by cause.
    """

    limit: Reason
    name: str
    short_by: int
    kept: Mapping[Kept, int]
