"""FileProcessingSchedules: the controller asks `reconcile` what is due, and creates the jobs."""
