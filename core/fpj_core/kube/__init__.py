"""The cluster's side: the API server, names of what is created there,
what a resource and its status say.

Imports nothing, so that a pod which needs exit codes does not load a client.
"""
