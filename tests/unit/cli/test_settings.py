"""Defaults that a person sets: which goes before which,
and what is wrong with one is named by its place.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from fpj_cli import main
from fpj_cli.context import UsageProblemError
from fpj_cli.main import cli, complete
from fpj_cli.settings import KEYS, Settings, config_file, load_settings, variable
from fpj_cli.setup import job_names
from fpj_cli.target import in_cluster
from fpj_core.model import Job
from fpj_core.store import open_store


def loaded(home: Path, text: str = "", **environment: str) -> Settings:
    file = home / "fpj" / "config.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return load_settings({"XDG_CONFIG_HOME": str(home), **environment}, cli)


def values(home: Path, text: str = "", **environment: str) -> dict[str, Any]:
    return {key: found.value for key, found in loaded(home, text, **environment).values.items()}


def parsed(settings: Settings, *arguments: str) -> dict[str, Any]:
    """The parameters that `fpj run` gets."""
    got: dict[str, Any] = {}
    with click.Context(cli, obj=settings, default_map=settings.default_map(cli)) as parent:
        run = cli.commands["run"]
        got.update(run.make_context("run", [*arguments, "photos"], parent=parent).params)
    return got


def test_the_command_line_goes_before_the_variable_and_that_before_the_file(tmp_path: Path) -> None:
    text = 'workers = 3\nquality = 70\nformat = "webp"\n'
    settings = loaded(tmp_path, text, FPJ_QUALITY="60", FPJ_TIER="a=9x9 b=8x8")
    got = parsed(settings, "--format", "avif")
    assert (got["workers"], got["quality"], got["image_format"]) == (3, 60, "avif")
    assert got["tiers"] == ("a=9x9", "b=8x8") and got["thumbnail"] is None
    origins = {key: found.origin for key, found in settings.values.items()}
    file = tmp_path / "fpj" / "config.toml"
    assert origins["workers"] == f"{file}, line 1" and origins["format"] == f"{file}, line 3"
    assert origins["quality"] == "FPJ_QUALITY"


def test_every_key_is_an_option_and_can_be_set_in_both_places(tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "layout": "mirror",
        "type": "both",
        "quality": 1,
        "workers": 1,
        "cluster": True,
        "fit": "cover",
        "format": "png",
        "wait-for-environment": "5m",
    }
    for key in KEYS:
        value = given.get(key, str(tmp_path))
        assert values(tmp_path, f"{key} = {json.dumps(value)}").keys() == {key}
        assert values(tmp_path, **{variable(key): str(value)}).keys() == {key}
    options = {
        name for command in cli.commands.values() for each in command.params for name in each.opts
    }
    assert {f"--{key}" for key in KEYS} <= options


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# mine\n\nworker = 3\n", r"line 3: there is no key 'worker'; there are store, out,"),
        ("workers = 3\n[run]\nout = 'x'\n", r"line 2: there is no key 'run'"),
        ("workers = 0\n", r"line 1: 0 is not in the range"),
        ("\nquality = 'good'\n", r"line 2: 'good' is not a valid integer"),
        ("workers = true\n", r"line 1: write a text or a number"),
        ("tier = 3\n", r"line 1: write a list of texts"),
        ("cluster = 'yes'\n", r"line 1: write true or false"),
        ("workers = \n", r"Invalid value \(at line 1, column 11\)"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_by_its_line(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(UsageProblemError, match=r"fpj/config\.toml.*" + said):
        loaded(tmp_path, text)


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageProblemError, match="FPJ_QUALITY: 500 is not in the range"):
        loaded(tmp_path, FPJ_QUALITY="500")
    with pytest.raises(UsageProblemError, match="FPJ_CLUSTER: 'maybe' is neither"):
        loaded(tmp_path, FPJ_CLUSTER="maybe")


def test_where_the_file_is() -> None:
    assert config_file({"XDG_CONFIG_HOME": "/etc/me"}) == Path("/etc/me/fpj/config.toml")
    for relative in ("", "mine"):
        assert (
            config_file({"XDG_CONFIG_HOME": relative})
            == Path("~/.config/fpj/config.toml").expanduser()
        )


def test_variables_of_pods_are_nobodys_defaults(tmp_path: Path) -> None:
    reserved = {
        "FPJ_SANDBOX": "off",
        "FPJ_NAMESPACES": "a,b",
        "FPJ_TASK": "{}",
        "FPJ_WORKER_IMAGE": "x",
    }
    assert values(tmp_path, **reserved) == {}


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("namespace = 'photos'", [], False),
        ("namespace = 'photos'", ["-n", "other"], True),
        ("cluster = true", [], True),
        ("cluster = true", ["--store", "s.db"], False),
    ],
)
def test_a_namespace_that_is_set_chooses_no_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, arguments: list[str], expected: bool
) -> None:
    monkeypatch.setattr(sys, "argv", ["fpj"])
    settings = loaded(tmp_path, text)
    parent = click.Context(cli, obj=settings, default_map=settings.default_map(cli))
    with parent, cli.commands["get"].make_context("get", arguments, parent=parent):
        assert in_cluster() is expected


def test_a_manifest_is_not_overruled_by_defaults(tmp_path: Path) -> None:
    manifest = tmp_path / "job.yaml"
    source = tmp_path / "photos"
    source.mkdir()
    manifest.write_text(
        "apiVersion: fpj.dev/v1alpha1\nkind: FileProcessingJob\nmetadata: {name: it}\nspec:"
        " {jobType: Cache, cacheFolder: given, collection: {source: {local: {path:"
        f" {source}}}}}}}}}\n---\napiVersion: fpj.dev/v1alpha1\nkind: CacheFolder\nmetadata:"
        f" {{name: given}}\nspec: {{storage: {{local: {{path: {tmp_path}/given}}}}}}\n"
    )
    environment = {
        "FPJ_OUT": str(tmp_path / "mine"),
        "FPJ_QUALITY": "50",
        "FPJ_STORE": str(tmp_path / "s.db"),
    }
    done = fpj("run", str(manifest), **environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "given").exists() and not (tmp_path / "mine").exists()


def fpj(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fpj_cli.main", *arguments]
    return subprocess.run(
        command,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_config_shows_where_each_value_comes_from_and_no_password(tmp_path: Path) -> None:
    loaded(tmp_path, "workers = 3\nstore = 'mongodb://me:secret@host/db'\n")
    shown = fpj("config", "-o", "json", XDG_CONFIG_HOME=str(tmp_path), FPJ_FORMAT="webp")
    assert shown.returncode == 0, shown.stderr
    found = {
        each["key"]: (each["value"], each["from"]) for each in json.loads(shown.stdout)["settings"]
    }
    file = tmp_path / "fpj" / "config.toml"
    assert found["workers"] == ("3", f"{file}, line 1") and found["format"] == (
        "webp",
        "FPJ_FORMAT",
    )
    assert found["store"] == ("mongodb://…@host/db", f"{file}, line 2") and found["out"] == (
        "-",
        "default",
    )


def test_help_works_whatever_is_set(tmp_path: Path) -> None:
    loaded(tmp_path)
    (tmp_path / "fpj" / "config.toml").write_text("nonsense")
    assert fpj("run", "--help", XDG_CONFIG_HOME=str(tmp_path)).returncode == 0
    wrong = fpj("get", XDG_CONFIG_HOME=str(tmp_path))
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1) and "config.toml" in wrong.stderr


# Completion and help ------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_ask_this_command(shell: str) -> None:
    shown = CliRunner().invoke(cli, ["completion", shell])
    assert shown.exit_code == 0 and f"_FPJ_COMPLETE={shell}_complete" in shown.output


def test_names_of_jobs_are_completed_from_a_file_and_no_server_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(tmp_path / "store.db")
    store = open_store(url, make=True)
    for number, name in enumerate(("photos", "paintings", "photos")):
        store.create_job(Job(str(number), name, name, {}, "d", created_at=float(number)))
    store.close()
    context = click.Context(cli.commands["get"], parent=click.Context(cli))
    get = cli.commands["get"].params[0]
    for place, names in (
        (url, ["photos"]),
        ("mongodb://nowhere/x", []),
        (str(tmp_path / "typo.db"), []),
    ):
        monkeypatch.setenv("FPJ_STORE", place)
        assert [item.value for item in job_names(context, get, "ph")] == names
    assert not (tmp_path / "typo.db").exists()


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ((), ["get\tList jobs", ":4"]),
        (("fai",), ["failures\t", ":4"]),
        (("get", "ph"), ["photos", ":4"]),
        (("-n", "team", "describe", ""), ["paintings", "photos", ":4"]),
        (("get", "--outp"), ["--output\t", ":4"]),
        (("get", "--output", "js"), ["json", ":4"]),
        (("failures", "--type", "cor"), ["CorruptImage", ":4"]),
        (("get", "--kubeconfig", "/"), [":0"]),
    ],
)
def test_kubectl_completes_as_fpj_does(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    answer: list[str],
) -> None:
    """By the rules of kubectl_complete-NAME: a line per choice,
    and Cobra's directive for the shell.
    """
    monkeypatch.setattr("fpj_cli.setup._names_in_cluster", lambda: ["paintings", "photos"])
    monkeypatch.setattr(sys, "argv", ["/usr/bin/kubectl_complete-fpj", *words])
    complete()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == answer[-1]
    assert [
        line for line in lines for start in answer if line.startswith(start)
    ] == lines or not words
    assert all(any(line.startswith(start) for line in lines) for start in answer)


def test_a_cluster_that_cannot_be_asked_completes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-fpj", "get", ""])
    complete()
    assert capsys.readouterr().out == ":4\n"


def test_every_command_stands_under_a_heading() -> None:
    help_text = CliRunner().invoke(cli, ["--help"]).output
    assert "Other:" not in help_text
    for heading in ("Run and resume", "Inspect", "Export", "Cluster", "Set up"):
        assert f"\n{heading}:\n" in help_text
    run_text = CliRunner().invoke(cli, ["run", "--help"]).output
    assert (
        run_text.index("What to make:")
        < run_text.index("--tier NAME")
        < run_text.index("Of which images:")
    )


def test_a_shell_that_completes_is_answered_whatever_is_set(tmp_path: Path) -> None:
    loaded(tmp_path)
    (tmp_path / "fpj" / "config.toml").write_text("nonsense")
    asked = fpj(
        _FPJ_COMPLETE="bash_complete",
        COMP_WORDS="fpj fail",
        COMP_CWORD="1",
        XDG_CONFIG_HOME=str(tmp_path),
    )
    assert (asked.returncode, asked.stdout) == (0, "plain,failures\n"), main.__name__
