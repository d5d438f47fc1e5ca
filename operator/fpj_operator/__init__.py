"""The operator: watches FileProcessingJobs and schedules, decides, and drives child Jobs."""
