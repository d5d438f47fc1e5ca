"""The REST API and the dashboard: jobs and caches seen and steered over HTTP,
by whoever the cluster lets.
"""
