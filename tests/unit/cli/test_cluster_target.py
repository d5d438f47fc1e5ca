"""When a command works on this machine's store, and when in a cluster."""

from __future__ import annotations

import sys

import click
import pytest
from click.testing import CliRunner

from fpj_cli.target import (
    Target,
    _target,
    all_namespaces_option,
    cluster_options,
    in_cluster,
    target_options,
)

seen: list[tuple[bool, Target]] = []


@click.group()
@cluster_options
def group() -> None:
    """As `fpj` itself."""


@group.command()
@all_namespaces_option
@target_options
def look(store_url: str) -> None:
    """Any command."""
    assert store_url
    seen.append((in_cluster(), _target()))


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("FPJ_STORE", "FPJ_CLUSTER"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/fpj"])
    seen.clear()


def run(*arguments: str, **environment: str) -> tuple[bool, Target]:
    result = CliRunner().invoke(group, arguments, env=environment, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return seen[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("-n", "x"),
        ("--namespace", "x"),
        ("--context", "x"),
        ("--kubeconfig", "x"),
        ("-A",),
        ("--cluster",),
    ],
)
def test_what_only_a_cluster_has_means_a_cluster(arguments: tuple[str, ...]) -> None:
    assert run("look", *arguments)[0]
    assert run("look", "--store", "s", *arguments)[0]


def test_options_stand_before_the_command_or_after_it() -> None:
    expected = (True, Target(namespace="x", context="c"))
    assert run("look", "-n", "x", "--context", "c") == expected
    assert run("-n", "x", "--context", "c", "look") == expected
    assert run("-n", "x", "look", "--context", "c") == expected
    assert run("-n", "y", "--context", "c", "look", "-n", "x") == expected, "the later one counts"


def test_without_them_it_is_this_machine() -> None:
    assert run("look") == (False, Target())
    assert run("look", FPJ_STORE="s") == (False, Target())
    assert run("look", FPJ_CLUSTER="0") == (False, Target())


def test_the_environment_may_choose_the_cluster() -> None:
    assert run("look", FPJ_CLUSTER="1")[0]
    assert run("look", FPJ_CLUSTER="true", FPJ_STORE="s")[0]
    assert not run("look", "--store", "s", FPJ_CLUSTER="1")[0], (
        "an option is nearer than the environment"
    )


@pytest.mark.parametrize(
    "name", ["kubectl-fpj", "/usr/local/bin/kubectl-fpj", "kubectl-fpj.exe", "kubectl_complete-fpj"]
)
def test_the_plugin_is_for_clusters(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(sys, "argv", [name])
    assert run("look")[0]
    assert run("look", "--store", "s")[0]
