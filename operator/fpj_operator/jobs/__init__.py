"""FileProcessingJobs: `observe` gathers, `reconcile` decides and touches nothing,
`execute` does what it wants.
"""
