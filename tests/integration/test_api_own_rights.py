"""The API's own rights: nothing that it does not use, and all that it does."""

from __future__ import annotations

from pathlib import Path

import pytest
from accounts import account, grant, token
from api_process import Client
from apis import JOBS_RULES, REVIEW_RULES, Place, seen
from audit import Audit
from waiting import wait_for

from fpj_cluster import Cluster

pytestmark = pytest.mark.timeout(300)

V1 = "/api/v1"
SPEC = {"jobType": "Thumbnail", "collection": {"source": {"s3": {"bucket": "photos"}}}}


def test_every_right_is_used_and_no_other_is_missed(
    plane: Cluster, audit: Audit, mongodb_server: str, tmp_path: Path
) -> None:
    with Place(plane, f"{mongodb_server}/rights", tmp_path) as place, place.serving() as process:
        owner = account(place.kube, place.one, "owner")
        grant(place.kube, "cluster-admin", owner, None)
        client = Client(process.url, token(place.kube, owner))
        wait_for(lambda: client.post(f"{V1}/jobs/recover", {})[0] == 200, "the binding holds", 30)
        path = f"{V1}/namespaces/{place.one}/jobs"
        assert client.post(path, {"name": "job", "spec": SPEC})[0] == 201
        wait_for(lambda: seen(client, "job"), "it is watched", 30)
        for action in ("suspend", "resume", "recover"):
            assert client.post(f"{path}/job/{action}")[0] == 202
        for each in (f"{path}/job", f"{path}/job/failures"):
            client.get(each)
        for each in ("jobs", "cache/folders", "cache/statistics", "schedules", "namespaces"):
            client.get(f"{V1}/{each}")
        place.furnish(place.one)
        caches = f"{V1}/namespaces/{place.one}/cache"
        assert client.get(f"{caches}/folders/cache")["name"] == "cache"
        assert client.post(f"{caches}/folders/cache/verify")[0] == 202
        wanted = {"cacheFolder": "cache", "collection": "photos", "all": True}
        status, purge = client.post(f"{caches}/purges", wanted)
        assert status == 201
        for each in ("purges", f"purges/{purge['name']}"):
            client.get(f"{caches}/{each}")
        bulk = {"action": "cancel", "jobs": [{"namespace": place.one, "name": "job"}]}
        assert client.post(f"{V1}/jobs/bulk", bulk)[1]["results"][0]["done"]
        assert process.stop() == 0
        granted = {
            (group, resource, verb)
            for rule in (*JOBS_RULES, *REVIEW_RULES)
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }
        assert audit.refused(place.user("fpj-api")) == set()
        assert audit.used(place.user("fpj-api")) == granted
