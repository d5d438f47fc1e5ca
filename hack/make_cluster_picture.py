"""Makes the README's picture of a job on a cluster, docs/images/cluster.svg, from a real one.

As root.

A cluster with a node is started as for the end-to-end tests, with fpj's image and manifests. What
`kubectl` prints of one job, from apply to Completed, is kept as it is. Run: .venv/bin/python
hack/make_cluster_picture.py
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import yaml
from make_pictures import IMAGES, PROMPT, ROOT, SAMPLES, SVG
from rich.console import Console
from rich.text import Text

sys.path.insert(0, str(ROOT / "tests"))  # before hack, which has a cluster.py too

from e2e.installation import IMAGE, Installation, Site
from planes import fresh_namespace

from fpj_cluster import Cluster

COLUMNS = 96
COPIES = 120
WATCH_SECONDS = 600
JOB = {
    "apiVersion": "fpj.dev/v1alpha1",
    "kind": "FileProcessingJob",
    "metadata": {"name": "summer"},
    "spec": {
        "jobType": "Both",
        "collection": {"source": {"persistentVolumeClaim": {"claimName": "photos"}}},
        "sharding": {"parallelism": 2, "workersPerPod": 1},
    },
}


def recorded(site: Site, manifest: Path) -> list[tuple[str, str]]:
    """(command, what it printed): apply, and a watch until the job has ended."""
    watch = ["get", "fpj", "-w"]
    applied = site.kube("apply", "-f", manifest)
    process = subprocess.Popen(  # noqa: S603 - our own kubectl
        site.kube.command(*watch), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    ended = threading.Timer(WATCH_SECONDS, process.terminate)
    ended.start()
    lines = []
    for line in process.stdout or ():
        lines.append(line.rstrip())
        if " Completed " in line:
            break
    ended.cancel()
    process.terminate()
    process.wait(10)
    reasons = site.kube("wait", "--for=condition=Complete", "fpj/summer")
    return [
        (f"kubectl apply -f {manifest.name}", applied),
        ("kubectl get fpj -w", "\n".join(lines)),
        ("kubectl wait --for=condition=Complete fpj/summer", reasons),
    ]


def main() -> None:
    """Start everything, record, draw."""
    with tempfile.TemporaryDirectory(prefix="fpj-picture-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        cluster = Cluster(folder / "cluster", node=True)
        cluster.up()
        try:
            image = folder / "fpj.tar"
            subprocess.run([ROOT / "hack" / "image.sh", "--tag", IMAGE, image], check=True)  # noqa: S603 - our own
            cluster.import_image(image)
            with Installation(cluster, folder) as fpj, fresh_namespace(fpj.kube) as namespace:
                site = Site(fpj, namespace, folder)
                for number in range(COPIES):
                    shutil.copytree(SAMPLES, folder / "photos" / f"album-{number:03}")
                site.claim("photos", folder / "photos")
                manifest = folder / "job.yaml"
                manifest.write_text(yaml.safe_dump(JOB))
                session = recorded(site, manifest)
        finally:
            cluster.down()
    shown = Console(
        record=True,
        width=COLUMNS,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
    )
    for command, written in session:
        shown.print(Text.from_ansi(f"{PROMPT}{command}\n{written.strip()}\n"))
    picture = shown.export_svg(title="fpj on a cluster", code_format=SVG, unique_id="cluster")
    (IMAGES / "cluster.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
