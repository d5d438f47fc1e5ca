"""What every part of fpj shares: API types, store, sources, cache folders, paths.

Imports go one way: operator, worker, api and cli import this package; it imports none of them.
"""

__version__ = "0.1.0"
