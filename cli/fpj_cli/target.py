"""Where a command works: on the store of this machine, or in a cluster.

In a cluster when called as `kubectl fpj`, when an option says so that kubectl has too, or with
FPJ_CLUSTER=1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from fpj_cli.backend import Jobs
from fpj_cli.context import Command, UsageProblemError, opened_store, store_option
from fpj_cli.local import StoreJobs
from fpj_core.kube.names import SYSTEM_NAMESPACE

if TYPE_CHECKING:
    from fpj_cli.cluster import ClusterJobs

_KEY = "fpj.target"
_INSTALL = "install it beside fpj: python -m pip install 'kubernetes>=37'"
"""Advice that works wherever fpj itself came from: an index need not have it."""
_TRUE = ("1", "true", "yes")
_Parameter = TypeVar("_Parameter")


@dataclass(slots=True)
class Target:
    """What the options said, those before the command and those after it.

    ``chosen`` says that the command line itself had one of them: defaults alone choose no cluster.
    """

    cluster: bool = False
    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    all_namespaces: bool = False
    operator_namespace: str | None = None
    chosen: bool = field(default=False, compare=False)


def is_plugin() -> bool:
    """Whether kubectl called us."""
    return Path(sys.argv[0]).name.startswith(("kubectl-fpj", "kubectl_complete-fpj"))


def target_options(command: Command) -> Command:
    """``--store``, and the options that choose a cluster, in kubectl's words."""
    return store_option(cluster_options(command))


def cluster_options(command: Command) -> Command:
    """``--cluster --kubeconfig --context --namespace``.

    They are kept for `opened_jobs`, not passed on.
    """
    for option in (
        _kept(
            "-n",
            "--namespace",
            metavar="NAMESPACE",
            help="In the cluster: the namespace; the context's by default.",
        ),
        _kept("--context", metavar="NAME", help="In the cluster: the kubeconfig's context."),
        _kept(
            "--kubeconfig",
            type=click.Path(),
            metavar="FILE",
            help="In the cluster: the kubeconfig.  [env: KUBECONFIG]",
        ),
        _kept(
            "--cluster",
            is_flag=True,
            help="Jobs of the cluster, not of this machine.  [env: FPJ_CLUSTER=1]",
        ),
    ):
        command = option(command)
    return command


def all_namespaces_option(command: Command) -> Command:
    """``-A``."""
    return _kept(
        "-A", "--all-namespaces", is_flag=True, help="In the cluster: jobs of all namespaces."
    )(command)


def operator_namespace_option(command: Command) -> Command:
    """``--operator-namespace``."""
    return _kept(
        "--operator-namespace",
        metavar="NAMESPACE",
        help=f"In the cluster: the operator's.  [default: {SYSTEM_NAMESPACE}]",
    )(command)


def in_cluster() -> bool:
    """Whether the command that is running works in a cluster."""
    target = _target()
    if is_plugin() or target.chosen:
        return True
    if _store_source() is ParameterSource.COMMANDLINE:
        return False
    return target.cluster or os.environ.get("FPJ_CLUSTER", "").lower() in _TRUE


@contextmanager
def opened_jobs(store_url: str) -> Iterator[Jobs]:
    """The jobs of the place that the command works on."""
    if in_cluster():
        with opened_cluster() as jobs:
            yield jobs
    else:
        with opened_store(store_url) as store:
            yield StoreJobs(store)


@contextmanager
def opened_cluster(
    *, may_have_store: bool = False, seconds: float | None = None
) -> Iterator[ClusterJobs]:
    """The jobs of the cluster.

    Only failures are in a store: for anything else ``--store`` is a mistake.

    ``seconds`` is how long an answer may take, where the usual limits are too long.
    """
    if not may_have_store and _store_source() is ParameterSource.COMMANDLINE:
        raise UsageProblemError("--store names a store of this machine: leave it out in a cluster")
    try:
        from fpj_cli.cluster import ClusterJobs  # noqa: PLC0415 - takes its time, which others need not pay
        from fpj_cli.kube import connect  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise UsageProblemError(
            f"a cluster needs kubernetes, which is not installed; {_INSTALL}"
        ) from error
    target = _target()
    api = connect(target.kubeconfig, target.context, seconds)
    namespace = None if target.all_namespaces else target.namespace or api.namespace
    try:
        yield ClusterJobs(api, namespace, target.operator_namespace or SYSTEM_NAMESPACE)
    finally:
        api.close()


def store_given() -> bool:
    """Whether a store was named, by option, by environment or in the configuration file."""
    return _store_source() not in (None, ParameterSource.DEFAULT)


def _store_source() -> ParameterSource | None:
    return click.get_current_context().get_parameter_source("store_url")


def _target() -> Target:
    found = click.get_current_context().meta.setdefault(_KEY, Target())
    if not isinstance(found, Target):
        raise AssertionError("unreachable")
    return found


def _kept(*names: str, **settings: Any) -> Callable[[Command], Command]:
    def keep(context: click.Context, parameter: click.Parameter, value: _Parameter) -> _Parameter:
        if value and parameter.name:  # click shares `meta` between the group and its command
            target = context.meta.setdefault(_KEY, Target())
            given = context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
            if given or not getattr(target, parameter.name):
                setattr(target, parameter.name, value)
            target.chosen = target.chosen or given
        return value

    return click.option(*names, expose_value=False, callback=keep, **settings)
