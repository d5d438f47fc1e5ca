"""Purges: what was made of some images, or of a whole collection, is removed at once."""
