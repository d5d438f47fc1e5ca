"""Benchmarks: what fpj is measured by, against its peers and its own targets.

`make bench` runs them.
"""
