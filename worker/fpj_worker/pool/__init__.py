"""The process pool: a hard time limit per task, memory limits, and crashes that cost one task."""

from fpj_core.errors import PoolError
from fpj_worker.pool.child import away
from fpj_worker.pool.pool import Outcome, ProcessPool
from fpj_worker.pool.protocol import Admit
from fpj_worker.pool.stopwatch import Away

__all__ = ["Admit", "Away", "Outcome", "PoolError", "ProcessPool", "away"]
