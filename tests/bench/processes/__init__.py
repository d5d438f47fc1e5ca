"""What runs in processes of its own, so that its CPU time and memory are its own.

Each prints JSON.
"""
