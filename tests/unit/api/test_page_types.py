"""The types that the dashboard's JavaScript is checked against are what the API sends."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fpj_api import bulkmodels, cachemodels, foldermodels, models, purgemodels
from fpj_api.models import Answer

MODELS = Path(models.__file__).parent / "static" / "assets" / "api" / "models.js"
TYPES: dict[str, type[Answer]] = {
    "Progress": models.JobProgress,
    "ShardCounts": models.JobShards,
    "Job": models.Job,
    "Condition": models.Condition,
    "JobEvent": models.JobEvent,
    "FailedImage": models.JobFailure,
    "Folder": cachemodels.Folder,
    "Share": foldermodels.Share,
    "FolderRun": foldermodels.FolderRun,
    "LastEviction": foldermodels.LastEviction,
    "LastVerification": foldermodels.LastVerification,
    "Part": foldermodels.Part,
    "PlannedFile": foldermodels.PlannedFile,
    "ShortLimit": foldermodels.ShortLimit,
    "CleanupPlan": foldermodels.CleanupPlan,
    "PurgedFile": purgemodels.PurgedFile,
    "PurgePlan": purgemodels.PurgePlan,
    "Notified": purgemodels.Notified,
    "Purge": purgemodels.Purge,
    "TierStatistics": cachemodels.TierStatistics,
    "Statistics": cachemodels.Statistics,
    "Generated": bulkmodels.Generated,
    "Operation": bulkmodels.Operation,
    "OperationImages": bulkmodels.OperationImages,
    "OperationJob": bulkmodels.OperationJob,
    "OperationProgress": bulkmodels.OperationProgress,
    "Schedule": cachemodels.Schedule,
    "NamespaceRights": cachemodels.NamespaceRights,
    "Namespaces": cachemodels.Namespaces,
}


def properties(name: str) -> set[str]:
    text = MODELS.read_text()
    if found := re.search(rf"@typedef {{object}} {name}\n((?: \* @property .*\n)+)", text):
        return set(re.findall(r"@property {.*?} (\w+)", found[1]))
    found = re.search(rf"@typedef {{{{(.*)}}}} {name}\n", text)
    assert found, f"{MODELS.name} has no type {name}"
    return set(re.findall(r"(\w+):", found[1]))


@pytest.mark.parametrize("name", TYPES)
def test_a_type_has_the_properties_that_are_sent(name: str) -> None:
    assert properties(name) == {
        field.alias or key for key, field in TYPES[name].model_fields.items()
    }


def test_one_folder_has_what_each_has_and_more() -> None:
    assert properties("Folder") | properties("FolderMore") == {
        field.alias or key for key, field in foldermodels.FolderDetail.model_fields.items()
    }
