"""All experiments, by importing the modules that hold them."""

from __future__ import annotations

from experiments import clusters, faults
from experiments.clusters import OLD

__all__ = ["OLD", "clusters", "faults"]
