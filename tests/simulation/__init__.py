"""The real operator, workers and store in one process, on a clock of their own, by a seed; see
docs/development/simulation.md.
"""
