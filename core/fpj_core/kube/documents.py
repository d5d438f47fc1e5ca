"""What the API server's JSON is called here."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]
"""A resource as JSON."""
