"""One-line errors, and which tests notice them. The list is hack/mutations/*.toml; `hack/mutations.py` runs it."""
