"""Who may do what through the API: the roles of kubectl, on a real control plane,
with real tokens.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from accounts import account, grant, kubeconfig, token
from api_process import ApiProcess, Client
from apis import JOBS_RULES, REVIEW_RULES, ROLES, Place, place_in, seen
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from planes import fresh_namespace
from waiting import wait_for

from fpj_cluster import Cluster

pytestmark = pytest.mark.timeout(300)

FAILED = {"phase": "Failed", "progress": {"total": 4, "failed": 4}}
READ, CHANGE, MANY = "read", "change jobs and folders", "delete many"
ORDER = "order purges"
MAY = {
    "nobody": set(),
    "fpj-view": {READ},
    "fpj-cache-manager": {READ, CHANGE},
    "fpj-admin": {READ, CHANGE, MANY, ORDER},
}
NEW = {
    "name": "job",
    "spec": {"jobType": "Thumbnail", "collection": {"source": {"s3": {"bucket": "photos"}}}},
}
V1 = "/api/v1"
JOB = f"{V1}/namespaces/{{}}/jobs"
FOLDER = f"{V1}/namespaces/{{}}/cache/folders/cache"
PURGES = f"{V1}/namespaces/{{}}/cache/purges"
PURGE = {"cacheFolder": "cache", "collection": "photos", "all": True}
POLICY = {"maxBytes": "1Gi", "policy": {"eviction": "LRU"}}
REQUESTS: list[tuple[str, str, str, object, int]] = [
    # what it takes, method, path, body, status where it is allowed
    (READ, "GET", f"{V1}/jobs?namespace={{}}", None, 200),
    (READ, "GET", f"{JOB}/job", None, 200),
    (READ, "GET", f"{JOB}/none", None, 404),
    (READ, "GET", f"{JOB}/job/failures", None, 200),
    (READ, "GET", f"{V1}/cache/folders?namespace={{}}", None, 200),
    (READ, "GET", f"{V1}/cache/statistics?namespace={{}}", None, 200),
    (READ, "GET", f"{V1}/schedules?namespace={{}}", None, 200),
    (READ, "GET", FOLDER, None, 200),
    (READ, "POST", f"{FOLDER}/cleanup?dryRun=true", None, 200),
    (CHANGE, "POST", f"{FOLDER}/cleanup", None, 202),
    (CHANGE, "POST", f"{FOLDER}/verify", None, 202),
    (CHANGE, "POST", f"{FOLDER}/repair", None, 202),
    (CHANGE, "PUT", f"{FOLDER}/policy", POLICY, 200),
    (CHANGE, "POST", JOB, NEW, 409),
    (CHANGE, "POST", f"{JOB}/job/suspend", None, 202),
    (CHANGE, "POST", f"{JOB}/job/resume", None, 202),
    (CHANGE, "POST", f"{JOB}/job/recover", None, 202),
    (CHANGE, "DELETE", f"{JOB}/none", None, 404),
    *(
        (
            CHANGE,
            "POST",
            f"{V1}/jobs/bulk",
            {"action": each, "jobs": [{"namespace": "{}", "name": "none"}]},
            200,
        )
        for each in ("suspend", "resume", "recover")
    ),
    (READ, "GET", PURGES, None, 200),
    (READ, "GET", f"{PURGES}/none", None, 404),
    (ORDER, "POST", PURGES, PURGE | {"dryRun": True}, 200),
    (ORDER, "POST", PURGES, PURGE, 201),
    (
        MANY,
        "POST",
        f"{V1}/jobs/bulk",
        {"action": "cancel", "jobs": [{"namespace": "{}", "name": "none"}]},
        200,
    ),
    (CHANGE, "POST", f"{V1}/jobs/recover", {"namespace": "{}"}, 200),
]


@pytest.fixture(scope="module")
def place(
    cluster: Cluster, mongodb_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    with place_in(cluster, mongodb_server, tmp_path_factory.mktemp("place")) as place:
        for namespace in (place.one, place.two):
            place.furnish(namespace)
            place.job(namespace, "job")
        yield place


@pytest.fixture(scope="module")
def process(place: Place) -> Iterator[ApiProcess]:
    with place.serving({"FPJ_API_REVIEW_SECONDS": "1"}) as process:
        yield process
        assert process.stop() == 0


def filled(body: object, namespace: str) -> object:
    return json.loads(json.dumps(body).replace("{}", namespace))


@pytest.mark.parametrize("role", ROLES)
def test_each_role_may_what_it_may_with_kubectl(
    place: Place, process: ApiProcess, role: str
) -> None:
    client = place.client(process, role)
    for takes, method, path, body, expected in REQUESTS:
        status, answer = client.ask(method, path.format(place.one), filled(body, place.one))
        allowed = takes in MAY[role]
        assert status == (expected if allowed else 403), (
            f"{role}: {method} {path}: {status} {answer}"
        )
        if not allowed:
            assert (
                answer["title"] == "Forbidden"
                and f'User "{place.user(role)}" cannot ' in answer["detail"]
            )
            assert f'in the namespace "{place.one}"' in answer["detail"]
        status, answer = client.ask(method, path.format(place.two), filled(body, place.two))
        assert status == 403, f"{role} elsewhere: {method} {path}: {status} {answer}"
    assert client.stream_status(f"?namespace={place.one}") == (200 if READ in MAY[role] else 403)
    assert client.stream_status(f"?namespace={place.two}") == 403


@pytest.mark.parametrize("role", ROLES)
def test_namespaces_and_what_one_may_do_there(place: Place, process: ApiProcess, role: str) -> None:
    found = place.client(process, role).get(f"{V1}/namespaces")
    verbs = {
        "fpj-view": ["get", "list", "watch"],
        "fpj-cache-manager": ["get", "list", "watch", "create", "patch", "delete"],
        "fpj-admin": ["get", "list", "watch", "create", "patch", "delete", "deletecollection"],
    }
    expected = [{"name": place.one, "verbs": verbs[role]}] if role in verbs else []
    assert found == {"items": expected, "user": place.user(role)}


def test_a_viewer_changes_nothing(place: Place, process: ApiProcess) -> None:
    before = place.get(place.one, "job")
    client = place.client(process, "fpj-view")
    for action in ("suspend", "resume", "recover"):
        status, answer = client.post(f"{JOB.format(place.one)}/job/{action}")
        assert status == 403
        assert (
            answer["detail"]
            == f'User "{place.user("fpj-view")}" cannot patch resource "fileprocessingjobs" in API'
            f' group "fpj.dev" in the namespace "{place.one}"'
        )
    assert client.ask("DELETE", f"{JOB.format(place.one)}/job")[0] == 403
    assert client.post(JOB.format(place.one), NEW | {"name": "another"})[0] == 403
    assert place.get(place.one, "job") == before
    assert place.api.get(place.path(place.one, "another")) is None


# Tokens -------------------------------------------------------------------------------------------


def signed(place: Place, bearer: str, **claims: Any) -> str:
    """The same token with other claims, signed by the cluster's own key."""
    head, payload, _ = bearer.split(".")
    content = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))) | claims
    path = place.cluster.layout.pki / "service-accounts.key"
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    text = f"{head}.{base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip('=')}"
    numbers = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    signature = b"".join(number.to_bytes(32, "big") for number in numbers)
    return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def test_only_who_the_cluster_knows_is_served(place: Place, process: ApiProcess) -> None:
    good = place.tokens["fpj-view"]
    now = int(time.time())
    expired = signed(place, good, exp=now - 600, iat=now - 4_200, nbf=now - 4_200)
    assert (
        Client(process.url, signed(place, good, exp=now + 3_600)).ask("GET", f"{V1}/jobs")[0] == 200
    )
    for bearer in (
        None,
        "garbage",
        "a.b.c",
        expired,
        good[:-4] + "AAAA",
        "x" * 20_000,
        "two words",
    ):
        response = Client(process.url, bearer).response("GET", f"{V1}/jobs")
        assert response.status in (401, 431), bearer
        if response.status == 401:
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
            assert response.headers["Content-Type"] == "application/problem+json"
            assert json.loads(response.data)["status"] == 401
    for odd in ("Basic YTpi", f"bearer{good}", good, ""):
        assert (
            Client(process.url).response("GET", f"{V1}/jobs", headers={"Authorization": odd}).status
            == 401
        )
    assert (
        Client(process.url)
        .response("GET", f"{V1}/jobs", headers={"Authorization": f"bearer {good}"})
        .status
        == 200
    )
    for path in ("/livez", "/readyz", f"{V1}/openapi.json"):
        assert Client(process.url).response("GET", path).status == 200
    assert good not in process.log


def test_who_is_unknown_is_not_told_what_exists(place: Place, process: ApiProcess) -> None:
    client = Client(process.url)
    for path in (f"{V1}/nonsense", f"{JOB.format(place.one)}/job", f"{V1}/jobs/bulk"):
        assert client.ask("GET", path)[0] == 401
    assert client.post(f"{V1}/jobs/bulk", {"no": "sense"})[0] == 401


def test_an_account_that_is_deleted_is_not_served_any_more(
    place: Place, process: ApiProcess
) -> None:
    user = account(place.kube, place.one, "leaver")
    grant(place.kube, "fpj-view", user, None, place.one)
    client = Client(process.url, token(place.kube, user))
    path = f"{V1}/jobs?namespace={place.one}"
    wait_for(lambda: client.ask("GET", path)[0] == 200, "the binding holds", 30)
    place.kube.within(place.one)("delete", "serviceaccount", "leaver")
    wait_for(lambda: client.ask("GET", path)[0] == 401, "the token is nobody's", 60)


def test_a_token_for_another_audience_is_nobodys(place: Place) -> None:
    with place.serving({"FPJ_API_AUDIENCES": "fpj"}) as process:
        assert Client(process.url, place.tokens["fpj-view"]).ask("GET", f"{V1}/jobs")[0] == 401
        meant = place.kube.within(place.one)(
            "create", "token", "fpj-view", "--audience=fpj"
        ).strip()
        assert Client(process.url, meant).ask("GET", f"{V1}/jobs")[0] == 200


# Many at once -------------------------------------------------------------------------------------


def test_one_refusal_and_nothing_is_done(place: Place, process: ApiProcess) -> None:
    admin = place.client(process, "fpj-admin")
    for namespace in (place.one, place.two):
        place.job(namespace, "both", FAILED)
    jobs = [{"namespace": namespace, "name": "both"} for namespace in (place.one, place.two)]
    before = [place.get(namespace, "both") for namespace in (place.one, place.two)]
    for action in ("suspend", "resume", "recover", "cancel"):
        status, answer = admin.post(f"{V1}/jobs/bulk", {"action": action, "jobs": jobs})
        assert status == 403, answer
        assert place.two in answer["detail"]
    assert [place.get(namespace, "both") for namespace in (place.one, place.two)] == before
    status, answer = admin.post(f"{V1}/jobs/bulk", {"action": "recover", "jobs": jobs[:1]})
    assert (status, answer["results"]) == (200, [jobs[0] | {"done": True, "problem": None}])
    assert "fpj.dev/resume" in place.get(place.one, "both")["metadata"]["annotations"]


def test_recovering_all_is_refused_where_one_namespace_is(
    place: Place, process: ApiProcess
) -> None:
    """Rights of two roles in two namespaces: what may be seen counts,
    and all of it must be allowed.
    """
    user = account(place.kube, place.one, "mixed")
    grant(place.kube, "fpj-admin", user, None, place.one)
    client = Client(process.url, token(place.kube, user))
    for namespace in (place.one, place.two):
        place.job(namespace, "lost", FAILED)
    place.job(place.one, "fine", {"phase": "Completed"})
    wait_for(lambda: seen(client, "lost") and seen(client, "fine"), "they are seen", 30)

    grant(place.kube, "fpj-view", user, None, place.two)  # may see there, and change nothing
    wait_for(lambda: len(client.get(f"{V1}/namespaces")["items"]) == 2, "both are seen", 30)
    wait_for(
        lambda: (
            {job["phase"] for job in client.get(f"{V1}/jobs?search=lost")["items"]} == {"Failed"}
        ),
        "they failed",
        30,
    )
    status, answer = client.post(f"{V1}/jobs/recover", {})
    assert status == 403 and place.two in answer["detail"]
    assert "annotations" not in place.get(place.one, "lost")["metadata"]

    place.kube.within(place.two)("delete", "rolebinding", "fpj-view-mixed")
    wait_for(lambda: len(client.get(f"{V1}/namespaces")["items"]) == 1, "one is seen", 30)
    status, answer = client.post(f"{V1}/jobs/recover", {})
    assert status == 200 and answer["remaining"] == 0
    assert {"namespace": place.one, "name": "lost", "done": True, "problem": None} in answer[
        "results"
    ]
    assert "fine" not in [result["name"] for result in answer["results"]]
    assert "fpj.dev/resume" in place.get(place.one, "lost")["metadata"]["annotations"]
    assert "annotations" not in place.get(place.two, "lost")["metadata"]


# What is hidden -----------------------------------------------------------------------------------


def test_of_other_namespaces_nothing_is_said(place: Place, process: ApiProcess) -> None:
    client = place.client(process, "fpj-view")
    for path in ("jobs", "cache/folders", "cache/statistics", "schedules"):
        assert {item["namespace"] for item in client.get(f"{V1}/{path}")["items"]} <= {place.one}
    assert (
        client.get(f"{V1}/jobs")["counts"]
        == client.get(f"{V1}/jobs?namespace={place.one}")["counts"]
    )
    there, nowhere = (
        client.ask("GET", f"{JOB.format(place.two)}/job"),
        client.ask("GET", f"{JOB.format(place.two)}/x"),
    )
    assert there == nowhere and there[0] == 403
    made_up = client.ask("GET", f"{JOB.format('no-such-namespace')}/job")
    assert made_up[0] == 403
    assert made_up[1]["detail"].replace("no-such-namespace", place.two) == there[1]["detail"]


def test_only_chosen_namespaces_with_rights_in_them_alone(place: Place) -> None:
    """No right in the whole cluster but to ask who somebody is, and what they may do."""
    with fresh_namespace(place.kube) as own, fresh_namespace(place.kube) as closed:
        user = account(place.kube, own, "fpj-api")
        grant(place.kube, f"fpj-api-reviews-{own}", user, REVIEW_RULES)
        grant(place.kube, "fpj-api", user, JOBS_RULES, place.one)
        where = kubeconfig(place.kube, user, place.folder / "narrow.kubeconfig")
        with place.serving({"FPJ_NAMESPACES": f"{place.one},{closed}"}, where) as process:
            client = place.client(process, "fpj-view")
            wait_for(lambda: seen(client, "job"), "the jobs of the one", 30)
            assert [each["name"] for each in client.get(f"{V1}/namespaces")["items"]] == [place.one]
            boss = account(place.kube, own, "boss")
            grant(place.kube, "fpj-admin", boss, None)
            owner = Client(process.url, token(place.kube, boss))
            wait_for(
                lambda: owner.ask("GET", f"{JOB.format(place.two)}/job")[0] == 404,
                "it is not served",
                30,
            )
            assert {job["namespace"] for job in owner.get(f"{V1}/jobs")["items"]} == {place.one}
            assert "the watch of jobs broke: " in process.log  # of the closed one
            place.kube("delete", "clusterrolebinding", "fpj-admin-boss")
