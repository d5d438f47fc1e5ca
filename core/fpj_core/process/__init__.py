"""What each long-lived process needs: settings, logs, metrics, a listener, a small heap.

Imports nothing: `lean` has to come before all else.
"""
