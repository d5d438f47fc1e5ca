"""What commands print as JSON is what the published schemas say, and nothing beside it."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from pydantic import TypeAdapter

from fpj_cli.documents import SCHEMAS, schema
from fpj_cli.main import cli

PUBLISHED = Path(__file__).parents[3] / "docs/reference/schemas"


def strict(name: str, document: Any) -> None:
    """Valid by the published schema; and nothing is printed that is not described."""
    published = json.loads((PUBLISHED / f"{name}.schema.json").read_text())
    jsonschema.validate(document, published, format_checker=jsonschema.FormatChecker())
    TypeAdapter(SCHEMAS[name]).validate_json(json.dumps(document), by_alias=True, by_name=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source of two images that can be made, one that cannot, and a raw file."""
    root = tmp_path_factory.mktemp("documents")
    source = root / "photos"
    source.mkdir()
    pixels = np.random.default_rng(1).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    for name in ("a.jpg", "b.jpg"):
        Image.fromarray(pixels).save(source / name)
    (source / "bad.jpg").write_bytes(b"no image")
    (source / "c.nef").write_bytes(b"sensor data")
    strict("dry-run", printed(root, "run", source, "--dry-run", "--json"))
    strict(
        "run",
        printed(root, "run", source, "--out", root / "out", "--json", "--workers", "1", code=1),
    )
    return root


def printed(root: Path, *arguments: object, code: int = 0) -> Any:
    words = [sys.executable, "-m", "fpj_cli.main", *map(str, arguments)]
    environment = os.environ | {"FPJ_STORE": str(root / "store.db")}
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=60, check=False, cwd=root
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


COMMANDS: dict[str, tuple[str, ...]] = {
    "get": ("get", "-o", "json"),
    "describe": ("describe", "-o", "json"),
    "failures": ("failures", "-o", "json"),
    "outputs": ("outputs", "-o", "json"),
    "find": ("find", "a.jpg", "-o", "json"),
    "stats": ("stats", "-o", "json"),
    "stats-verify": ("stats", "--verify", "-o", "json"),
    "config": ("config", "-o", "json"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_printed_is_what_the_schema_says(world: Path, name: str) -> None:
    done = CliRunner().invoke(cli, COMMANDS[name], env={"FPJ_STORE": str(world / "store.db")})
    document = json.loads(done.stdout)
    assert document and done.exit_code == 0
    strict(name, document)


def test_an_export_is_such_a_document_per_line(world: Path) -> None:
    done = CliRunner().invoke(cli, ["export"], env={"FPJ_STORE": str(world / "store.db")})
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 3
    for each in lines:
        strict("export", each)
    assert (
        sum(bool(each["thumbHash"] and base64.b64decode(each["thumbHash"])) for each in lines) == 2
    )


def test_errors_and_a_resumed_job(world: Path) -> None:
    strict("error", printed(world, "get", "nosuch", "-o", "json", code=2))
    strict("error", printed(world, "run", "nowhere", "--json", code=2))
    strict("run", printed(world, "resume", "--json", "--workers", "1", code=1))


def test_the_folder_that_was_written_to_is_said(world: Path) -> None:
    run = printed(world, "run", "photos", "--json", "-q", "--workers", "1", code=1)
    assert run["cacheFolder"] == str(world / "out"), "where it was before, wherever it is called"
    assert run["leftOut"] == {"raw": 1}


def test_every_command_that_prints_json_has_a_schema() -> None:
    printing = {
        name
        for name, command in cli.commands.items()
        for option in command.params
        if option.name == "as_json"
        or (option.name == "output" and "json" in getattr(option.type, "choices", ()))
    }
    assert printing - {"resume"} <= SCHEMAS.keys(), "`resume` prints what `run` does"


def names_in(found: Any) -> Iterator[str]:
    if isinstance(found, dict):
        yield from found.get("properties", {}) if isinstance(found.get("properties"), dict) else ()
        for value in found.values():
            yield from names_in(value)
    elif isinstance(found, list):
        for each in found:
            yield from names_in(each)


@pytest.mark.parametrize("name", SCHEMAS)
def test_one_style(name: str) -> None:
    found = schema(name)
    jsonschema.Draft202012Validator.check_schema(found)
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]*)*", each) for each in names_in(found))
    assert 'additionalProperties": false' not in json.dumps(found), "fields may be added"
    assert (PUBLISHED / f"{name}.schema.json").read_text() == json.dumps(
        found, indent=2, ensure_ascii=False
    ) + "\n"
