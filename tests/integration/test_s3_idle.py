"""A run that has nothing to do costs a bucket its listings, and nothing per object."""

from __future__ import annotations

import json
from pathlib import Path

from e2e.conftest import Fpj, photo
from integration.conftest import KEY, SECRET, Objects, Proxy
from unit.sources.archives import packed

COUNT = 12


def test_an_idle_run_opens_no_object_and_asks_for_none(
    objects: Objects, proxy: Proxy, tmp_path: Path
) -> None:
    for number in range(COUNT):
        objects.put(f"in/{number}.jpg", photo(number))
        objects.put(
            f"in/{number}.xmp",
            b"<x:xmpmeta> a sidecar, which tells nothing by its name </x:xmpmeta>",
        )
    objects.put("in/book.cbz", packed({"1.jpg": photo(50), "2.jpg": photo(51)}))
    objects.put("in/scan", photo(52))
    fpj = Fpj(
        str(tmp_path / "fpj.db"),
        tmp_path / "out",
        {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET},
    )

    def resource(kind: str, spec: object) -> str:
        return json.dumps(
            {
                "apiVersion": "fpj.dev/v1alpha1",
                "kind": kind,
                "metadata": {"name": "n"},
                "spec": spec,
            }
        )

    def place(prefix: str) -> dict[str, object]:
        return {"s3": {"bucket": objects.name, "prefix": prefix, "endpoint": proxy.url}}

    job = resource(
        "FileProcessingJob",
        {"jobType": "Both", "collection": {"id": "photos", "source": place("in")}},
    )
    manifest = tmp_path / "job.yaml"
    manifest.write_text(resource("CacheFolder", {"storage": place("cache")}) + "\n---\n" + job)
    assert fpj("run", manifest, "--json").counts == (COUNT + 3, 0, 0)
    proxy.requests.clear()
    assert fpj("run", manifest, "--json").counts == (0, COUNT + 3, 0)
    assert of_objects(proxy) == []
    assert len(proxy.requests) <= 8, "listings, and whether the cache folder can be written"
    assert {each.split()[0] for each in proxy.requests} <= {"GET", "PUT", "POST"}

    proxy.requests.clear()
    assert "Would process 0 of" in fpj("run", manifest, "--dry-run").stderr
    assert of_objects(proxy) == []
    lost = objects.keys("cache/photos/full/")[0]
    objects.remove(lost)
    assert "Would process 1 of" in fpj("run", manifest, "--dry-run").stderr


def of_objects(proxy: Proxy) -> list[str]:
    """Requests for single objects, but for those of fpj itself."""
    passed = ("list-type=2", "?delete", ".fpj-")
    return [each for each in proxy.requests if not any(word in each for word in passed)]
