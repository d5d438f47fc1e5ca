"""The base of all values: camelCase names, nothing unknown, described by docstrings."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, WithJsonSchema
from pydantic.alias_generators import to_camel


class Part(BaseModel):
    """An object among the values."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", use_attribute_docstrings=True
    )


Strings = dict[str, str]
Free = Annotated[dict[str, Any], WithJsonSchema({"type": "object"})]
"""Goes into a manifest as it is; the API server checks it."""
FreeList = Annotated[list[dict[str, Any]], WithJsonSchema({"type": "array", "items": {"type": "object"}})]
