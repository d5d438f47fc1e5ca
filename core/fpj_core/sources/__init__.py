"""Where images come from: local folders, S3-compatible storage,
zip and cbz archives inside either.
"""
