"""The worker: image engine, process pool, indexer, shard processor. Pods and `fpj run` share it."""
