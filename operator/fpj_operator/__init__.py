"""The operator: watches FileProcessingJobs, decides, and drives child Jobs.

`reconcile` decides and touches nothing; `observe` gathers what it needs, `execute` does what it wants.
"""
