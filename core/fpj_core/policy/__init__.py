"""Which derivatives of a cache folder to remove. Pure: it reads and removes nothing itself.

docs/design/eviction.md explains it.
"""

from fpj_core.model import Eviction, Since
from fpj_core.policy.plans import EvictionPlan, plan
from fpj_core.policy.records import (
    Candidate,
    Kept,
    Pins,
    Policy,
    Reason,
    Shortfall,
    Victim,
    Weights,
)

__all__ = [
    "Candidate",
    "Eviction",
    "EvictionPlan",
    "Kept",
    "Pins",
    "Policy",
    "Reason",
    "Shortfall",
    "Since",
    "Victim",
    "Weights",
    "plan",
]
