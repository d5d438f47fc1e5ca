"""What generates files from the code.

No part of the product imports it; `hack/generate.py` runs it.
"""
