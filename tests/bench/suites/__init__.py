"""One module for each subject that is measured; each lists its benchmarks as ``BENCHMARKS``."""
