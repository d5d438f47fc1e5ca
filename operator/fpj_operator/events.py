"""Kubernetes events about our resources."""

from __future__ import annotations

import logging
import time
import uuid
from typing import Any

from fpj_core.formatting import moment
from fpj_core.kube import names
from fpj_core.kube.api import Cluster
from fpj_core.kube.errors import ClusterError
from fpj_core.v1alpha1 import API_VERSION
from fpj_operator import metrics
from fpj_operator.emit import Emit
from fpj_operator.keys import Key

log = logging.getLogger("fpj.events")


async def write(cluster: Cluster, kind: str, key: Key, uid: str, said: Emit) -> bool | None:
    """Whether the event is new; None if it cannot be written, which is logged and counted.

    Best effort: an event is a word to people, and what it is about is in the status too.
    """
    try:
        return await cluster.create(event(kind, key, uid, said)) is not None
    except ClusterError as error:
        metrics.EVENTS_REFUSED.inc()
        log.warning("%s: the event %s cannot be written: %s", key, said.reason, error)
        return None


def event(kind: str, key: Key, uid: str, said: Emit) -> dict[str, Any]:
    """The event's manifest.

    The name of one that is ``unique`` is always the same: it is written once.
    """
    now = moment(time.time())
    base = names.base_name(key.name, uid)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{base}.{said.reason.lower()}.{said.unique or uuid.uuid4().hex[:12]}",
            "namespace": key.namespace,
        },
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": kind,
            "name": key.name,
            "namespace": key.namespace,
            "uid": uid,
        },
        "reason": said.reason,
        "message": said.message[:1000],
        "type": "Warning" if said.warning else "Normal",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        "source": {"component": names.MANAGER},
        "reportingComponent": names.MANAGER,
    }
