"""What the guides to the cluster, to schedules and to GitOps tell people to type, on a real control
plane.

The operator that they install waits for a node; another one, of this checkout, works in its place.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from guides import GUIDE, Page, Shell
from operator_process import OperatorProcess
from planes import ROOT, private_cluster, with_crds
from waiting import wait_for
from world import World, job_manifest, slowly

from fpj_cluster import Cluster, KubectlError

pytestmark = pytest.mark.timeout(300)

CLUSTER = Page(GUIDE / "cluster.md")
SCHEDULES = Page(GUIDE / "schedules.md")
GITOPS = Page(GUIDE / "gitops.md")

INSTALL = CLUSTER.starting(
    "kubectl apply -f crds -f deploy/policies.yaml",
    "sed ",
    "kubectl -n fpj-system create secret ",
    "kubectl create namespace gallery",
    "kubectl -n gallery create secret ",
)
FIRST_JOB = CLUSTER.starting(
    "kubectl apply -f job.yaml", "kubectl -n gallery get fpj -w", "kubectl -n gallery wait "
)
STEER = CLUSTER.starting(
    """kubectl -n gallery patch fpj holidays --type merge -p '{"spec":{"suspend":""",
    "kubectl -n gallery annotate fpj holidays fpj.dev/resume=",
    "kubectl -n gallery delete fpj holidays",
)
KEEP_FILES = CLUSTER.starting(
    """kubectl -n gallery patch fpj holidays --type merge -p '{"spec":{"deletionPolicy":""",
    "kubectl -n gallery annotate fpj holidays fpj.dev/keep-files=",
)
RELEASE = CLUSTER.starting("fpj release holidays ")
UNINSTALL = CLUSTER.starting(
    "kubectl delete fileprocessingschedules,", "kubectl delete -f deploy ", "kubectl delete leases "
)
NEEDS_MORE = CLUSTER.starting(
    "docker build ", "docker push ", "kubectl -n fpj-system rollout status "
)
"""Docker, a registry, a node."""
LEASES = "apis/coordination.k8s.io/v1"
IMAGE = "registry.example.com/team/fpj:0.1.0"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """In which nothing of fpj is installed."""
    with private_cluster(tmp_path_factory, "guides") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def shell(plane: Cluster, mongodb_server: str, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    places = {"mongodb://USER:PASSWORD@HOST:27017/fpj": f"{mongodb_server}/gallery"}
    return Shell(plane.kubeconfig, tmp_path_factory.mktemp("shell"), places)


@pytest.fixture(scope="module")
def world(
    plane: Cluster, shell: Shell, mongodb_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """The namespace of the guides, as their commands make it."""
    crds, deploy, operators_store, namespace, store = INSTALL
    shell(crds)
    shell(namespace)
    plane.kube.wait("create", "serviceaccount/default", "--namespace", "gallery")
    folder = tmp_path_factory.mktemp("world")
    with World(plane, "gallery", mongodb_server, folder) as world:
        world.runner.hold("fpj-operator")  # the manifest's own pods
        for command in (deploy, operators_store, store):
            shell(command)
        photos = world.photos("photos", 6)
        (photos / "holidays").mkdir()
        for path in photos.glob("*.jpg"):
            path.rename(photos / "holidays" / path.name)
        world.runner.claim("gallery", "served", world.out)
        world.photos("scans", 3)
        yield world


@pytest.fixture(scope="module", autouse=True)
def operator(world: World) -> OperatorProcess:
    """Whose workers use the Secret of the guide."""
    return world.operator(worker_store="")


def written(folder: Path, name: str, text: str) -> Path:
    """A file that a reader made from a page."""
    (folder / name).write_text(text)
    return folder


def test_every_command_of_the_pages_is_run_here() -> None:
    tried = [*INSTALL, *FIRST_JOB, *STEER, *KEEP_FILES, *RELEASE, *UNINSTALL, *NEEDS_MORE]
    assert sorted(tried) == sorted(CLUSTER.commands)
    assert len(SCHEDULES.commands) == 7
    assert len(GITOPS.commands) == 1


def test_both_ways_to_install_name_the_image_twice(
    world: World, shell: Shell, tmp_path: Path
) -> None:
    """And differ in nothing."""
    for name in ("crds", "deploy"):
        shutil.copytree(ROOT / name, tmp_path / name)
    written(tmp_path, "kustomization.yaml", CLUSTER.block("yaml", "kind: Kustomization"))
    built = list(yaml.safe_load_all(shell("kubectl kustomize .", tmp_path)))
    (deployment,) = [each for each in built if each["kind"] == "Deployment"]
    installed = world.cluster.kube.within("fpj-system").json("get", "deploy", "fpj-operator")
    for document in (deployment, installed):
        (container,) = document["spec"]["template"]["spec"]["containers"]
        variables = {each["name"]: each.get("value") for each in container["env"]}
        assert container["image"] == variables["FPJ_WORKER_IMAGE"] == IMAGE
    shell("kubectl apply -k . --dry-run=server", tmp_path)


def test_a_first_job(world: World, shell: Shell, tmp_path: Path) -> None:
    apply, watch, wait = FIRST_JOB
    written(tmp_path, "job.yaml", CLUSTER.block("yaml", "name: holidays"))
    shell(apply, tmp_path)
    watching = shell.start(watch)
    try:
        shell(wait)
    finally:
        watching.terminate()
        shown, _ = watching.communicate(timeout=20)
    assert "holidays" in shown
    world.check_exact("holidays", "photos", completed=6, tiers=2)


def test_how_a_job_is_steered(world: World, shell: Shell) -> None:
    suspend, resume, delete = STEER
    shell(resume)
    world.until(lambda: world.status("holidays")["attempt"]["number"] == 2, "it starts again")
    world.wait_end("holidays")
    for path in world.out.glob("gallery.holidays/**/*.jpg"):
        path.unlink()
    with slowly(world, 1):
        shell(resume.replace("$(date +%s)", "once more"))
        world.wait_pod("holidays")
        shell(suspend)
        world.wait_phase("holidays", "Suspended")
    shell(suspend.replace("true", "false"))
    world.wait_end("holidays")
    for command in ("get", "describe holidays", "resume holidays", "wait holidays"):
        assert "holidays" in shell(f"kubectl fpj {command} -n gallery")
    before = sorted(world.out.rglob("*.jpg"))
    shell(delete)
    assert before and sorted(world.out.rglob("*.jpg")) == before


@pytest.mark.parametrize("keep", KEEP_FILES)
def test_a_job_that_was_to_take_its_files_along_leaves_them(
    world: World, shell: Shell, keep: str
) -> None:
    *_, job = yaml.safe_load_all(CLUSTER.block("yaml", "name: holidays"))
    job["spec"]["deletionPolicy"] = "Delete"
    world.apply(job)
    world.wait_end("holidays")
    before = sorted(world.out.rglob("*.jpg"))
    shell(keep)
    world.kube("delete", "fpj", "holidays", "--timeout=60s")
    assert before and sorted(world.out.rglob("*.jpg")) == before


def test_a_job_that_is_stuck_deleting(
    world: World, shell: Shell, operator: OperatorProcess
) -> None:
    operator.stop()
    job = job_manifest("holidays", "photos", suspend=True)
    job["metadata"]["finalizers"] = ["fpj.dev/stop-work"]
    world.apply(job)
    world.kube("delete", "fpj", "holidays", "--wait=false")
    assert world.get("holidays")
    (release,) = RELEASE
    shell(f"{release} --yes")  # it asks people
    assert "holidays" not in world.kube("get", "fpj", "-o", "name")
    operator.start()


def test_a_schedule(world: World, shell: Shell, tmp_path: Path) -> None:
    apply, get, labelled, suspend, now, wide, describe = SCHEDULES.commands
    written(tmp_path, "schedule.yaml", SCHEDULES.block("yaml", "name: museum-nightly"))
    shell(apply, tmp_path)
    (header,) = [
        line for line in SCHEDULES.block("console", get).splitlines() if line.startswith("NAME")
    ]
    wait_for(lambda: "Scheduled" in shell(get), "the operator sees the schedule")
    assert shell(get).splitlines()[0].split() == header.split()
    assert "museum-nightly" in shell(wide)
    missed = json.dumps({"status": {"lastScheduleTime": "2020-05-05T00:00:00Z"}})
    world.kube(
        "patch", "fpjs", "museum-nightly", "--subresource=status", "--type=merge", "-p", missed
    )
    wait_for(lambda: shell(labelled), "a run starts")
    name = shell(f"{labelled} -o name").strip().partition("/")[2]
    world.wait_end(name)
    shell(now)
    assert world.wait_end("museum-now")["progress"]["skipped"] == 3, "it has the same collection"
    assert "Started" in shell(describe)
    shell(suspend)
    wait_for(lambda: "Suspended" in shell(get), "the schedule is suspended")


def test_argo_cd_is_configured(plane: Cluster, shell: Shell) -> None:
    shell("kubectl create namespace argocd; kubectl -n argocd create configmap argocd-cm")
    (patch,) = GITOPS.commands
    shell(patch)
    data = plane.kube.within("argocd").json("get", "configmap", "argocd-cm")["data"]
    assert len(data) == 4, "one of each kind"


def test_the_api_server_says_what_is_immutable(world: World) -> None:
    job = world.job("paintings", "scans", suspend=True)
    job["spec"]["collection"]["id"] = "another"
    with pytest.raises(KubectlError) as refused:
        world.apply(job)
    words = " ".join(GITOPS.block("", "is immutable").split())
    _, _, message = words.partition("Invalid value: ")
    assert message.removesuffix(" ") in " ".join(str(refused.value).split())


def test_the_example_of_a_repository_can_be_built(world: World, shell: Shell) -> None:
    for overlay in ("staging", "production"):
        folder = ROOT / "examples" / "gitops" / "galleries" / "overlays" / overlay
        assert "FileProcessingSchedule" in shell("kubectl kustomize .", folder)


def test_what_uninstalling_leaves(world: World, shell: Shell, operator: OperatorProcess) -> None:
    jobs, manifests, leases = UNINSTALL
    shell(jobs)
    operator.stop()  # as its Deployment goes
    shell(manifests)
    shell(leases)
    kube = world.cluster.kube
    left = kube("get", "crds", "-o", "name")
    with_crds(kube)  # what ends the world asks for jobs that are left
    assert "fpj.dev" not in left
    names = {each["metadata"]["name"] for each in world.items("leases", LEASES)}
    assert names <= {"fpj-operator"}, "its own would go with its namespace"
    assert "fpj-store" in world.kube("get", "secrets", "-o", "name")
    assert list(world.out.rglob("*.jpg"))
