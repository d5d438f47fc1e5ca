"""What a job of a given size takes: a simulation of pods, store and API server,
fed with measured figures.

`figures.toml` has the figures, each with the command that measured it; `model` simulates, without
any input or output; `page` writes docs/guide/capacity.md from both. Where a figure changes, the
page does.
"""
