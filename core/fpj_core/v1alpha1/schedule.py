"""FileProcessingSchedule: jobs started on a schedule, with the semantics of batch/v1 CronJob."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from fpj_core.v1alpha1.common import ApiModel, Condition, Metadata, Rule, conditions_field, optional
from fpj_core.v1alpha1.job import FileProcessingJobSpec
from fpj_core.v1alpha1.workertemplate import ShortText

LONGEST_NAME = 242
"""Characters: a job's name is the schedule's, a dash and the minute, and names have 253 at most."""
TIME_ZONE = "Etc/UTC"
"""Of a schedule that names none."""
TIME_ZONE_PATTERN = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"
ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
_DAYS = "SUN|MON|TUE|WED|THU|FRI|SAT"


def _list_of(number: str) -> str:
    """A cron field: ``*`` or numbers or ranges, with steps through all but single numbers,
    joined by commas.
    """
    item = rf"(\*(/[1-9][0-9]?)?|({number})(-({number})(/[1-9][0-9]?)?)?)"
    return f"{item}(,{item})*"


SCHEDULE_PATTERN = (
    "^("
    + " +".join(
        (
            _list_of("[0-5]?[0-9]"),
            _list_of("[01]?[0-9]|2[0-3]"),
            _list_of("0?[1-9]|[12][0-9]|3[01]"),
            _list_of(f"0?[1-9]|1[0-2]|(?i:{_MONTHS})"),
            _list_of(f"[0-7]|(?i:{_DAYS})"),
        )
    )
    + f"|{'|'.join(ALIASES)})$"
)
_SCHEDULE = (
    "schedule must have five fields (minute, hour, day of month, month, day of week), such as '0 2"
    " * * *', or be @hourly, @daily, @weekly, @monthly or @yearly; steps follow * or a range, time"
    " zones go into timeZone"
)
_TIME_ZONE = "timeZone must be a name of the IANA database, such as Europe/Berlin; Local is none"
_LOCAL = "local works only with `fpj run`: use persistentVolumeClaim or s3"
_NAME = f"a schedule's name may have {LONGEST_NAME} characters at most: its jobs' names are longer"


LabelValue = Annotated[
    str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")
]


class ConcurrencyPolicy(StrEnum):
    """What happens when a run is due while another has not finished."""

    ALLOW = "Allow"
    FORBID = "Forbid"
    REPLACE = "Replace"


class TemplateMetadata(ApiModel):
    """Labels and annotations of each job."""

    labels: dict[str, LabelValue] | None = Field(None, description="Labels.", max_length=32)
    annotations: dict[str, ShortText] | None = Field(
        None, description="Annotations.", max_length=32
    )


class JobTemplateSpec(FileProcessingJobSpec):
    """What each job makes of which images.

    Nothing of it is immutable: a change counts from the next run on.
    """

    rules: ClassVar[tuple[Rule, ...]] = (
        *(rule for rule in FileProcessingJobSpec.rules if "oldSelf" not in rule.cel),
        Rule(cel="!has(self.collection.source.local)", message=_LOCAL),
    )

    @model_validator(mode="after")
    def _in_a_cluster(self) -> JobTemplateSpec:
        if self.collection.source.local is not None:
            raise ValueError(_LOCAL)
        return self


class JobTemplate(ApiModel):
    """The job that each run starts."""

    metadata: TemplateMetadata | None = Field(
        None, description="Labels and annotations of each job."
    )
    spec: JobTemplateSpec = Field(
        description=(
            "As in a FileProcessingJob. A collection without an id has the schedule's name as its"
            " id, so that each run finds done what the last one did."
        )
    )


class FileProcessingScheduleSpec(ApiModel):
    """When to begin which job."""

    schedule: str = Field(
        description=(
            "Cron expression of five fields, or @hourly, @daily, @weekly, @monthly, @yearly."
        ),
        min_length=1,
        max_length=256,
    )
    time_zone: str | None = optional(
        "Time zone of the schedule, such as Europe/Berlin.", default=TIME_ZONE, max_length=64
    )
    concurrency_policy: ConcurrencyPolicy | None = optional(
        "What happens when a run is due while another has not finished: Allow starts it anyway,"
        " Forbid starts it when the other has finished, Replace deletes the other.",
        default=ConcurrencyPolicy.ALLOW,
    )
    starting_deadline_seconds: int | None = optional(
        "Seconds after its time in which a run may still begin.",
        absent="without end",
        ge=10,
        le=31_536_000,
    )
    suspend: bool | None = optional("Start no more runs; active ones continue.", default=False)
    successful_jobs_history_limit: int | None = optional(
        "Completed jobs that are kept.", default=3, ge=0, le=100
    )
    failed_jobs_history_limit: int | None = optional(
        "Failed or cancelled jobs that are kept.", default=1, ge=0, le=100
    )
    job_template: JobTemplate = Field(description="The job that each run starts.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(cel=f"self.schedule.matches(r'{SCHEDULE_PATTERN}')", message=_SCHEDULE),
        Rule(
            cel=(
                f"!has(self.timeZone) || (self.timeZone.matches(r'{TIME_ZONE_PATTERN}') &&"
                " self.timeZone != 'Local')"
            ),
            message=_TIME_ZONE,
        ),
    )

    @model_validator(mode="after")
    def _readable(self) -> FileProcessingScheduleSpec:
        if not re.fullmatch(SCHEDULE_PATTERN, self.schedule):
            raise ValueError(_SCHEDULE)
        zone = self.time_zone
        if zone is not None and (zone == "Local" or not re.fullmatch(TIME_ZONE_PATTERN, zone)):
            raise ValueError(_TIME_ZONE)
        return self


class ActiveRun(ApiModel):
    """A job of the schedule that has not finished."""

    name: str = Field(description="Name of the FileProcessingJob.", max_length=253)
    scheduled_at: str | None = Field(
        None,
        description="The time it was due.",
        max_length=64,
        json_schema_extra={"format": "date-time"},
    )


class FileProcessingScheduleStatus(ApiModel):
    """What has been started, and what comes next."""

    observed_generation: int | None = Field(
        None,
        description="Generation of the spec last acted on; -1 before the first reconciliation.",
        ge=-1,
    )
    last_schedule_time: str | None = Field(
        None,
        description="When the latest run was due.",
        max_length=64,
        json_schema_extra={"format": "date-time"},
    )
    last_successful_time: str | None = Field(
        None,
        description="When a job last completed.",
        max_length=64,
        json_schema_extra={"format": "date-time"},
    )
    next_schedule_time: str | None = Field(
        None,
        description="When the next run is due.",
        max_length=64,
        json_schema_extra={"format": "date-time"},
    )
    observed_schedule: str | None = Field(
        None, description="The times last acted on: expression and time zone.", max_length=512
    )
    schedule_changed_at: str | None = Field(
        None,
        description=(
            "When the operator saw that the times were changed; earlier ones are not made up for."
        ),
        max_length=64,
        json_schema_extra={"format": "date-time"},
    )
    active: list[ActiveRun] | None = Field(
        None,
        description="Jobs that have not finished, newest first; the newest 20.",
        max_length=20,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    conditions: list[Condition] | None = conditions_field()


class FileProcessingSchedule(ApiModel):
    """Starts a FileProcessingJob at each time of a schedule."""

    api_version: Literal["fpj.dev/v1alpha1"] = Field("fpj.dev/v1alpha1", description="API version.")
    kind: Literal["FileProcessingSchedule"] = Field("FileProcessingSchedule", description="Kind.")
    metadata: Metadata = Field(description="Standard object metadata.")
    spec: FileProcessingScheduleSpec = Field(description="When to begin which job.")
    status: FileProcessingScheduleStatus | None = Field(
        None, description="What has been started, and what comes next."
    )

    plural: ClassVar[str] = "fileprocessingschedules"
    short_names: ClassVar[tuple[str, ...]] = ("fpjs",)
    awaited: ClassVar[bool] = True
    """Whether whoever applies one has to wait for the operator."""
    columns: ClassVar[tuple[dict[str, Any], ...]] = (
        {"name": "Schedule", "type": "string", "jsonPath": ".spec.schedule"},
        {"name": "Timezone", "type": "string", "jsonPath": ".spec.timeZone"},
        {
            "name": "State",
            "type": "string",
            "jsonPath": '.status.conditions[?(@.type=="Ready")].reason',
        },
        {"name": "Active", "type": "string", "jsonPath": ".status.active[0].name"},
        {"name": "Last-Schedule", "type": "date", "jsonPath": ".status.lastScheduleTime"},
        {"name": "Last-Success", "type": "date", "jsonPath": ".status.lastSuccessfulTime"},
        {"name": "Next", "type": "string", "jsonPath": ".status.nextScheduleTime", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    )
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(cel=f"self.metadata.name.size() <= {LONGEST_NAME}", message=_NAME),
    )

    @model_validator(mode="after")
    def _short_name(self) -> FileProcessingSchedule:
        if len(self.metadata.name) > LONGEST_NAME:
            raise ValueError(_NAME)
        return self
