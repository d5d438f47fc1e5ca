"""Cache folders: where derivatives live, on a disk or in a bucket, and which one a job writes to.

Nothing is imported here: the operator chooses a folder, and loads no code that writes to one.
"""
