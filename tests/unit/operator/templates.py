"""Worker templates that the default settings allow, and some that they forbid: (template,
a part of the message).
"""

from __future__ import annotations

from typing import Any

Template = dict[str, Any]

ALLOWED: dict[str, Template] = {
    "nothing": {},
    "a timezone": {"env": [{"name": "TZ", "value": "Europe/Berlin"}]},
    "a variable without a value": {"env": [{"name": "AWS_EC2_METADATA_DISABLED"}]},
    "a volume that is not mounted": {
        "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}]
    },
    "a volume without a type": {"volumes": [{"name": "scratch"}]},
    "volumes that are mounted": {
        "volumes": [
            {"name": "scratch", "emptyDir": {}},
            {
                "name": "archive",
                "persistentVolumeClaim": {"claimName": "archive", "readOnly": True},
            },
        ],
        "volumeMounts": [
            {"name": "scratch", "mountPath": "/scratch"},
            {"name": "archive", "mountPath": "/mnt/archive", "subPath": "a/b", "readOnly": True},
        ],
    },
    "where it runs": {
        "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "images", "operator": "Exists"}],
        "labels": {"team": "galleries"},
        "annotations": {"example.com/contact": "galleries"},
        "imagePullSecrets": [{"name": "registry"}],
        "priorityClassName": "low",
    },
}


def volume(kind: str, **source: Any) -> Template:
    return {"volumes": [{"name": "extra", kind: source}]}


def mount(path: str, **more: Any) -> Template:
    return {
        "volumes": [{"name": "extra", "emptyDir": {}}],
        "volumeMounts": [{"name": "extra", "mountPath": path} | more],
    }


def variable(name: str, value: str = "x") -> Template:
    return {"env": [{"name": name, "value": value}]}


_NO_VOLUME = (
    "is of a type that is not allowed; the operator's setting FPJ_TEMPLATE_VOLUMES allows emptyDir,"
    " persistent"
)
_NO_PATH = (
    "is not a path that may be mounted; the operator's setting FPJ_TEMPLATE_MOUNT_PATHS allows"
    " /mnt, /scratch"
)
_RESERVED = "is reserved: fpj or the installation sets it"
_NO_VARIABLE = (
    "is not a variable that may be set; the operator's setting FPJ_TEMPLATE_ENV allows TZ, "
)
_TOKEN = {"sources": [{"serviceAccountToken": {"path": "token"}}]}
_SECRET = {"secretKeyRef": {"name": "other", "key": "password"}}

FORBIDDEN: dict[str, tuple[Template, str]] = {
    "another account": (
        {"serviceAccountName": "deployer"},
        (
            "workerTemplate.serviceAccountName: deployer is not allowed; "
            "the operator's setting FPJ_TEMPLATE_SERVICE_ACCOUNTS allows none"
        ),
    ),
    "the default account": (
        {"serviceAccountName": "default"},
        "serviceAccountName: default is not allowed",
    ),
    "a node's files": (
        volume("hostPath", path="/"),
        f"workerTemplate.volumes: extra (hostPath) {_NO_VOLUME}",
    ),
    "a ConfigMap": (volume("configMap", name="programs"), f"extra (configMap) {_NO_VOLUME}"),
    "a Secret": (volume("secret", secretName="other"), f"extra (secret) {_NO_VOLUME}"),
    "an account's token": (volume("projected", **_TOKEN), f"extra (projected) {_NO_VOLUME}"),
    "an image": (volume("image", reference="evil"), f"extra (image) {_NO_VOLUME}"),
    "a driver's volume": (volume("csi", driver="secrets"), f"extra (csi) {_NO_VOLUME}"),
    "two types": (
        {"volumes": [{"name": "extra", "emptyDir": {}, "hostPath": {"path": "/"}}]},
        f"extra (hostPath) {_NO_VOLUME}",
    ),
    "our volume's name": (
        {"volumes": [{"name": "cache", "emptyDir": {}}]},
        (
            'workerTemplate.volumes: "cache" cannot be the name of a volume: names are unique, and'
            " tmp, cache, source"
        ),
    ),
    "a name twice": (
        {"volumes": [{"name": "a", "emptyDir": {}}, {"name": "a", "emptyDir": {}}]},
        '"a" cannot be the',
    ),
    "no name": ({"volumes": [{"emptyDir": {}}]}, '"" cannot be the name'),
    "a number as the name": (
        {"volumes": [{"name": 5, "emptyDir": {}}]},
        '"" cannot be the name',
    ),
    "the source, writable": (
        {"volumeMounts": [{"name": "source", "mountPath": "/mnt/source"}]},
        'workerTemplate.volumeMounts: "source" is not the name of one of workerTemplate.volumes',
    ),
    "over our programs": (
        mount("/opt/fpj/lib/python3.13/site-packages"),
        f'"/opt/fpj/lib/python3.13/site-packages" {_NO_PATH}',
    ),
    "over the system's": (mount("/usr/lib"), f'workerTemplate.volumeMounts: "/usr/lib" {_NO_PATH}'),
    "over everything": (mount("/"), f'"/" {_NO_PATH}'),
    "beside what is allowed": (mount("/mnt2"), f'"/mnt2" {_NO_PATH}'),
    "upwards": (mount("/mnt/../usr"), f'"/mnt/../usr" {_NO_PATH}'),
    "with options": (mount("/mnt/a:rw"), f'"/mnt/a:rw" {_NO_PATH}'),
    "relative": (mount("mnt"), f'"mnt" {_NO_PATH}'),
    "a path twice": (
        {
            "volumes": [{"name": "extra", "emptyDir": {}}],
            "volumeMounts": [
                {"name": "extra", "mountPath": "/mnt/a"},
                {"name": "extra", "mountPath": "/mnt/a"},
            ],
        },
        '"/mnt/a" cannot be mounted: paths are unique, and /tmp, /cache, /source are mounts of fpj',
    ),
    "a path of variables": (
        mount("/mnt/a", subPathExpr="$(FPJ_STORE)"),
        (
            "workerTemplate.volumeMounts: subPathExpr is not supported: a mount has name,"
            " mountPath, subPath"
        ),
    ),
    "a preloaded library": (
        variable("LD_PRELOAD", "/scratch/evil.so"),
        f"workerTemplate.env: LD_PRELOAD {_NO_VARIABLE}",
    ),
    "Python's path": (variable("PYTHONPATH"), f"workerTemplate.env: PYTHONPATH {_NO_VARIABLE}"),
    "Python's start": (variable("PYTHONSTARTUP"), f"PYTHONSTARTUP {_NO_VARIABLE}"),
    "the search path": (variable("PATH"), f"PATH {_NO_VARIABLE}"),
    "a program that gives credentials": (
        variable("AWS_CONFIG_FILE", "/source/evil"),
        f"AWS_CONFIG_FILE {_NO_VARIABLE}",
    ),
    "another proxy": (variable("HTTPS_PROXY"), f"HTTPS_PROXY {_NO_VARIABLE}"),
    "a Secret's value": (
        {"env": [{"name": "TZ", "valueFrom": _SECRET}]},
        (
            "workerTemplate.env: TZ (secretKeyRef) takes its value from a source that is not"
            " allowed; the operator's setting FPJ_TEMPLATE_ENV_SOURCES allows none"
        ),
    ),
}

BROKEN_TWICE: dict[str, tuple[Template, tuple[str, ...]]] = {
    # Names of ours are not among those that may be set, either.
    "another task": (
        variable("FPJ_TASK", "{}"),
        (f"FPJ_TASK {_RESERVED}", f"FPJ_TASK {_NO_VARIABLE}"),
    ),
    "another store": (
        variable("FPJ_STORE"),
        (f"FPJ_STORE {_RESERVED}", f"FPJ_STORE {_NO_VARIABLE}"),
    ),
    "another pod": (variable("POD_NAME"), (f"POD_NAME {_RESERVED}", f"POD_NAME {_NO_VARIABLE}")),
    "another API server": (
        variable("KUBERNETES_SERVICE_HOST"),
        (f"KUBERNETES_SERVICE_HOST {_RESERVED}", f"KUBERNETES_SERVICE_HOST {_NO_VARIABLE}"),
    ),
    "over our folder": (mount("/tmp/a"), (f'"/tmp/a" {_NO_PATH}', '"/tmp/a" cannot be mounted')),
    "a volume's name and type": (
        {"volumes": [{"name": "tmp", "hostPath": {"path": "/"}}]},
        (f"tmp (hostPath) {_NO_VOLUME}", '"tmp" cannot be the name'),
    ),
}
