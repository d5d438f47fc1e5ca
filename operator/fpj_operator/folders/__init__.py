"""Cache folders: what they hold, whether they can be used, and eviction."""
