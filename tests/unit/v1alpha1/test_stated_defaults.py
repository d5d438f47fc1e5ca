"""A default stands in one place, and whatever states it is generated from there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

import fpj_cli
from fpj_core.model import Fit, Format, Layout
from fpj_core.v1alpha1 import RESOURCES, CacheFolderSpec, FileProcessingJobSpec, JobType
from fpj_core.v1alpha1.common import ABSENT, DEFAULT, ApiModel, model_in, shown
from fpj_core.v1alpha1.job import Limits, Sharding, Tier

COMMANDS = sorted(Path(fpj_cli.__file__).parent.glob("*.py"))
KINDS: tuple[type[StrEnum], ...] = (Fit, Format, JobType, Layout)
VALUES = {value.value for kind in KINDS for value in kind}


def fields(model: type[ApiModel], path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield f"{path}.{name}", field
        if (inner := model_in(field.annotation)) is not None:
            yield from fields(inner, f"{path}.{name}")


FIELDS = dict(pair for resource in RESOURCES for pair in fields(resource, resource.__name__))


def extra(field: FieldInfo) -> dict[str, Any]:
    return dict(field.json_schema_extra) if isinstance(field.json_schema_extra, dict) else {}


def meaning(field: FieldInfo) -> str | None:
    """What the field itself says that it means to leave it out."""
    said = extra(field)
    return shown(said[DEFAULT]) if DEFAULT in said else said.get(ABSENT)


def by_hand(description: str, generated: str | None) -> str:
    """What a description says of a default beside the sentence that is generated.

    Empty for nothing.
    """
    rest = description.removesuffix(f" Default: {generated}.") if generated else description
    return rest if "default" in rest.lower() else ""


def test_a_description_states_no_default_by_hand() -> None:
    found = {
        path: by_hand(field.description or "", meaning(field)) for path, field in FIELDS.items()
    }
    assert {path: text for path, text in found.items() if text} == {}


def test_what_states_a_default_by_hand_is_found() -> None:
    assert by_hand("Encoder quality; 85 by default.", None)
    assert by_hand("Encoder quality. Default: 85.", None), (
        "the same words, but nothing keeps them true"
    )
    assert by_hand("Encoder quality. Default: 85.", "80")
    assert not by_hand("Encoder quality. Default: 85.", "85")


def test_words_say_what_no_value_can() -> None:
    words = [meaning(field) or "" for field in FIELDS.values() if ABSENT in extra(field)]
    assert len(words) > 10
    assert not [
        each for each in words if each in VALUES or re.fullmatch(r"[\d.]+\w*|true|false", each)
    ]


@pytest.mark.parametrize(
    "path", [path for path, field in FIELDS.items() if DEFAULT in extra(field)]
)
def test_a_default_is_a_value_that_its_field_takes(path: str) -> None:
    field = FIELDS[path]
    annotation: Any = (
        Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    )
    default = extra(field)[DEFAULT]
    assert TypeAdapter(annotation).validate_python(default) == default


def test_a_field_means_its_default_only_where_it_is_left_out() -> None:
    assert Tier(name="a").meant("quality") == Tier.default_of("quality") == 85
    assert Tier(name="a", quality=1).meant("quality") == 1
    assert Limits().meant("max_file_size") == "500Mi"
    assert Sharding(backoff_limit_per_shard=0).meant("backoff_limit_per_shard") == 0
    assert (CacheFolderSpec.default_of("layout"), FileProcessingJobSpec.default_of("force")) == (
        Layout.HASHED,
        False,
    )
    for name in ("cache_folder", "queue_name", "job_type"):
        with pytest.raises(LookupError):
            FileProcessingJobSpec.default_of(name)


def literal_defaults(source: str) -> list[str]:
    """The values that help texts state by hand: numbers, and those of a resource's fields."""
    texts = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    stated = [
        each
        for text in texts
        if isinstance(text, str)
        for each in re.findall(r"\[default: (.*?)\]", text)
    ]
    return [
        each
        for each in stated
        if any(word in VALUES or re.search(r"\d", word) for word in re.findall(r"\w+", each))
    ]


def test_a_help_text_states_no_value_by_hand() -> None:
    assert literal_defaults('help="The box.  [default: 300x300]"') == ["300x300"]
    assert literal_defaults('help="The format.  [default: jpeg]"') == ["jpeg"]
    assert literal_defaults('help=f"The box.  [default: {BOX}]" "  [default: all]"') == []
    assert {path.name: literal_defaults(path.read_text()) for path in COMMANDS} == {
        path.name: [] for path in COMMANDS
    }
