"""One-line errors, and which tests notice them.

The list is hack/mutations/*.toml; `hack/run_mutations.py` runs it.
"""
