"""What the server says, as models: the answer to each event, the events it sends, errors. Documents come from these.

A field whose default is None is left out where it does not apply; one without a default may be null but is there."""

from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from core.errors import CODES
from core.jobs import Priority, State
from core.types import KINDS

KindName = Literal[tuple(KINDS)]
Review = Literal["new", "picked", "rejected"]


def _absent(schema: dict[str, Any]) -> None:
    """A field that defaults to None is absent, not null."""
    for field in schema.get("properties", {}).values():
        if "default" in field and field["default"] is None:
            del field["default"]
            kept = [each for each in field.pop("anyOf", []) if each != {"type": "null"}]
            field.update(kept[0] if len(kept) == 1 else {"anyOf": kept} if kept else {})


class Said(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(json_schema_extra=_absent)


class BadField(Said):
    field: str
    message: str


class Problem(Said):
    """What went wrong. Branch on `code`."""

    code: Literal[tuple(CODES)]
    message: str
    field: str | None = None
    hint: str | None = Field(None, description="What to do about it.")
    job: str | None = None
    errors: list[BadField] | None = Field(None, description="All bad fields, where there are several.")


class Refusal(Said):
    ok: Literal[False]
    error: Problem


class JobRecord(Said):
    id: str
    name: str = Field(description="plugin.job")
    state: State
    priority: Priority
    owner: str
    session: str
    client_ref: str | None = None
    parent: str | None = Field(None, description="The program that submitted it.")
    key: str | None = Field(None, description="Its name inside that program.")
    children: int | None = Field(None, description="Of a program: the jobs that it has submitted.")
    children_ended: int | None = None
    extends: str | None = Field(
        None, description="Of a program that was extended: the one it goes on from, itself if it had not ended."
    )
    params: dict[str, Any]
    inputs: dict[str, list[Any]] = Field(description='Artifact ids or {"job": id, "index": k, "review": "picked"}.')
    embed_metadata: Literal["full", "minimal", "none"]
    version: str | None = Field(None, description="Of the plugin.")
    created: float
    queued: float
    started: float | None = None
    finished: float | None = None
    attempt: int
    worker: str | None = None
    cancel: Literal["discard", "keep"] | None = Field(None, description="What it was asked for, if it was.")
    error: Problem | None = None
    converters: dict[str, str] | None = Field(
        None,
        description="Jobs by id, with their names, that were put before it, as an input did not fit: when it is new.",
    )
    metrics: dict[str, float | str | None] | None = Field(
        None, description="Seconds and bytes; `reused_from` is the job that has made the results."
    )


class Wait(Said):
    """One of: a job that is not done, a result that nobody has reviewed, a person who has to do something, a machine
    without which the job does not run."""

    job: str | None = None
    state: State | None = Field(None, description="Of the job.")
    artifact: str | None = None
    review: Review | None = None
    person: Literal["release"] | None = None
    remote: str | None = Field(None, description="The machine.")
    remote_state: Literal["connecting", "preparing", "connected", "lost", "failed", "off"] | None = None


class PlacedJob(JobRecord):
    position: int | None = Field(None, description="Jobs ahead of it, while it is queued.")
    eta_seconds: float | None = None
    waits_for: list[Wait] | None = Field(
        None, description="While it is held or waiting, or queued for a machine that is not there."
    )


class JobDetail(PlacedJob):
    outputs: list[str] = Field(description="Artifact ids, in order.")


class ArtifactRecord(Said):
    id: str
    job: str | None = Field(None, description="The job that made it; an upload has none.")
    idx: int
    kind: KindName
    sha256: str
    size_bytes: int
    mime: str
    name: str | None = Field(None, description="Of an upload its file's; of a result that a program has named, that.")
    path: str | None = Field(None, description="In the outputs folder, of one that a program has named.")
    owner: str
    session: str
    review: Review
    facts: dict[str, Any]
    created: float
    source: str | None = Field(None, description="Of an upload: the artifact that its file is, or was made from.")


class ArtifactDetail(ArtifactRecord):
    parents: list[str] = Field(description="What it was made from.")


class Relative(ArtifactDetail):
    job_name: str | None = None
    depth: int | None = Field(None, description="Steps away.")


class SessionBrief(Said):
    id: str
    owner: str
    name: str
    created: float


class ListedSession(SessionBrief):
    jobs: int = Field(description="How many there are in it.")
    artifacts: int
    last_activity: float = Field(description="When its latest job or artifact was made, or it itself.")


class SessionRecord(SessionBrief):
    memorised: dict[str, Any] = Field(description="The parameters used last, by job name.")


class PortRecord(Said):
    kind: KindName
    list: bool
    optional: bool
    help: str | None = Field(None, description="What it is for.")


class AnnouncedJob(Said):
    name: str
    help: str
    inputs: dict[str, PortRecord]
    output: PortRecord
    params: dict[str, Any] = Field(description="JSON Schema; hints for forms are under `ui`.")
    affinity: str | None = Field(description="The parameter that decides which model is warm.")
    concurrency: int
    light: bool = Field(description="Answered at once, by `call`.")
    program: bool = Field(description="Submits other jobs.")
    memory: int = Field(description="Bytes that the device should have free.")
    reuse: bool = Field(description="Equal jobs have equal results, which are given again.")
    converts: bool = Field(description="The server puts it between two jobs that would not fit.")
    plans: bool = Field(description="Its plugin can tell of each output in a `plan`.")


class PluginBrief(Said):
    name: str
    status: Literal["installing", "ready", "disabled", "refused"]
    error: str | None = Field(description="Why it was refused.")


class PluginRecord(PluginBrief):
    jobs: list[AnnouncedJob]
    settings: dict[str, Any] = Field(description="JSON Schema of what the admin may set; {} until it is known.")
    notes: list[str] = Field(description="For people: what is not offered, and why.")
    sandbox: bool = Field(description="Whether its processes run in a sandbox, without network and home.")
    version: str | None = None
    title: str | None = None
    description: str | None = None
    author: str | None = None
    licence: str | None = None
    homepage: str | None = None


class WorkerRecord(Said):
    plugin: str
    device: str
    ready: bool
    memory_bytes: int
    warm: Any = Field(None, description="The value of the affinity parameter that it has loaded; for the admin.")
    pid: int | None = Field(None, description="For the admin. A detached one has its own, on its machine.")
    detached: bool = Field(description="Somebody has attached it; it outlives the server.")
    jobs: list[str] = Field(description="Your own that it runs; the admin sees all.")


class Limits(Said):
    message_bytes: int
    upload_bytes: int
    pixels: int
    attachments: int


class Answer(Said):
    ok: Literal[True]


class HelloAnswer(Answer):
    server: Literal["stable-core"]
    version: str
    api: Literal[1]
    owner: str
    rights: list[str]
    limits: Limits


class PluginsAnswer(Answer):
    plugins: list[PluginRecord]


class JobAnswer(Answer):
    job: JobRecord


class JobDetailAnswer(Answer):
    job: JobDetail


class JobsAnswer(Answer):
    jobs: list[JobRecord]


class ListedJobsAnswer(Answer):
    jobs: list[PlacedJob] = Field(description="Only those of the queue know their place.")
    total: int | None = Field(None, description="Of the queue: how many there are.")


class CallAnswer(Answer):
    outputs: list[Any] = Field(description="What the light job returns: texts and JSON values.")


class PlannedJob(Said):
    job: str
    params: dict[str, Any]
    inputs: dict[str, Any]
    key: str
    hold: bool
    fresh: bool


class Plan(Said):
    job: str = Field(description="plugin.job")
    params: dict[str, Any] = Field(description="As they would be used.")
    count: int | None = Field(description="Of outputs, where it is known.")
    outputs: list[dict[str, Any]] | None = Field(None, description="Facts of each, where the plugin can tell.")
    jobs: list[PlannedJob] | None = Field(None, description="That a program begins with.")
    eta_seconds: float | None = Field(description="Of work, where it is known.")


class PlanAnswer(Answer):
    plan: Plan


class QueueAnswer(Answer):
    paused: bool
    queued: int
    workers: list[WorkerRecord]
    problem: Problem | None = Field(None, description="Why nothing can be stored just now: a full disk, say.")


class AttachAnswer(Answer):
    settings: dict[str, Any] = Field(description="The line of JSON that the worker reads. It holds its token.")
    python: str = Field(description="The plugin's Python on the server's machine.")


class DetachAnswer(Answer):
    plugin: str
    device: str


class DeviceRecord(Said):
    name: str = Field(description="cuda:0, cpu ...; gpu1/cuda:0 of the machine gpu1; ray/0 of the Ray cluster.")
    where: str = Field(description='"here", or the name of the machine; "ray".')
    state: Literal["idle", "starting", "ready", "away"] = Field(
        description="No worker is there; none has connected yet; one is there; or its machine is not connected."
    )
    title: str
    free_bytes: int | None = Field(description="Of its memory; null where nobody says.")
    total_bytes: int | None
    workers: list[WorkerRecord]


class RuleRecord(Said):
    """Which jobs run on a machine; empty lists stand for all."""

    jobs: list[str] = Field(description="plugin.job, or job, with * for anything.")
    priorities: list[Priority]
    when: Literal["prefer", "busy", "only"] = Field(
        description="Before the devices here; when those have more than they can do; or nowhere else."
    )


class RentedRecord(Said):
    """In US dollars."""

    provider: str
    id: str
    price_per_hour: float
    spend_limit: float
    created: float
    spent: float
    ended: str = Field(description="Why there is no such machine any more; empty: there is.")
    ended_at: float | None


class RemoteRecord(Said):
    """A machine that was deployed to, or the Ray cluster (`ray`), which has no plugins, rule and address."""

    name: str
    state: Literal["connecting", "preparing", "connected", "lost", "failed", "off"]
    since: float = Field(description="Of this state: seconds since 1970.")
    seen: float = Field(description="When it was last heard of.")
    on: bool | None = Field(None, description="Whether the server keeps a connection to it.")
    plugins: list[str] | None = None
    rule: RuleRecord | None = None
    step: str | None = Field(None, description="What is being done just now; this and what follows: for the admin.")
    error: Problem | None = Field(None, description="Why it is lost or failed.")
    round_trip_seconds: float | None = None
    address: str | None = Field(None, description="user@host:port.")
    idle_minutes: float | None = Field(None, description="Without a job for so long, it stops itself; 0: never.")
    rented: RentedRecord | None = None


class DevicesAnswer(Answer):
    devices: list[DeviceRecord]
    remotes: list[RemoteRecord]
    queued: dict[str, int] = Field(description="Jobs by plugin, counted up to 1,000; plugins without any are left out.")


class RemoteAnswer(Answer):
    name: str
    on: bool


class ArtifactAnswer(Answer):
    artifact: ArtifactDetail


class UploadAnswer(Answer):
    artifact: ArtifactRecord


class ArtifactsAnswer(Answer):
    artifacts: list[ArtifactRecord]


class ListedArtifactsAnswer(Answer):
    artifacts: list[ArtifactRecord]
    total: int | None = Field(None, description="How many there are, on the first page.")


class DeleteAnswer(Answer):
    deleted: list[str]


class LineageAnswer(Answer):
    artifacts: list[Relative]
    more: bool = Field(description="There are more than `limit`.")


class AcceptingPort(PortRecord):
    converter: str | None = Field(
        None, description="The job through which it gets there, put in between by the server."
    )
    needs: list[str] = Field(description="The other inputs that have to be given.")


class AcceptingJob(Said):
    job: str = Field(description="plugin.job")
    light: bool = Field(description="For `call`; others are for `submit`.")
    inputs: dict[str, AcceptingPort] = Field(description="Those that take it.")


class OtherJob(Said):
    job: str
    reason: str = Field(description="Why it does not take it.")


class AcceptsAnswer(Answer):
    kind: KindName
    jobs: list[AcceptingJob]
    others: list[OtherJob]


class CompareAnswer(Answer):
    jobs: list[str | None] = Field(description="The names of both jobs.")
    changed: dict[str, list[Any]] = Field(description="Parameters that differ: [of a, of b].")
    added: dict[str, Any] = Field(description="Parameters that only b has.")
    removed: dict[str, Any] = Field(description="Parameters that only a has.")
    facts: dict[str, list[Any]] = Field(description="What is known of both artifacts and differs: [of a, of b].")


class SessionAnswer(Answer):
    session: SessionRecord


class SessionsAnswer(Answer):
    sessions: list[ListedSession]


class SubscribeAnswer(Answer):
    seq: int = Field(description="The last event that was replayed.")
    resync: bool = Field(description="Events are missing: ask for what you need.")


class ModelFile(Said):
    name: str
    size_bytes: int
    modified: float = Field(description="Of a folder, its newest file.")
    source: str = Field(description='"folder", the plugin that ships it, or "in place: APP" of extra_model_paths.')


class Fetch(Said):
    """How far the fetch of a model is; when it has ended, the next one goes on from there."""

    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    phase: str = Field(description="What is being done; at the end how it was: fetched, shared with another file ...")
    done_bytes: int
    total_bytes: int | None
    error: Problem | None


class FetchableModel(Said):
    id: str = Field(description="kind/name.")
    plugin: str
    url: str
    repo: str | None = Field(description="On the Hugging Face hub, which knows the hash where no sha256 is told.")
    size_bytes: int | None
    licence: str | None
    sha256: str | None
    there: bool
    part_bytes: int = Field(description="What is there of it, from where a fetch goes on.")
    fetch: Fetch | None = Field(description="The last one since the start of the server.")


class ChoicesAnswer(Answer):
    choices: list[str]
    total: int
    fetchable: list[FetchableModel] | None = Field(None, description="Of models: what is not there and can be fetched.")


class FetchAnswer(Answer):
    fetch: Fetch


class ModelKind(Said):
    kind: str
    files: list[ModelFile]
    fetchable: list[FetchableModel] = Field(description="What plugins name; the admin has it fetched with fetch_model.")


class ModelsAnswer(Answer):
    kinds: list[ModelKind]


class Override(Said):
    """Of one parameter: only what is declared, or changed."""

    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None


class SettingsAnswer(Answer):
    overrides: dict[str, dict[str, Override]] = Field(
        description="The admin's own defaults and bounds, by plugin.job and parameter."
    )
    declared: dict[str, dict[str, Override]] = Field(description="Those of the plugins, of all parameters.")
    plugin_settings: dict[str, dict[str, Any]] | None = Field(None, description="By plugin; for the admin.")
    file: str | None = Field(None, description="Where they are kept; for the admin.")


class ReleaseRecord(Said):
    id: str
    version: str
    hash: str = Field(description="Of its content.")
    source: str = Field(description="What was asked for: an address, a folder, a name in an index.")
    ref: str | None = None
    commit: str | None = None
    licence: str | None = None
    installed_at: float


class PackageRecord(Said):
    """A plugin that was installed."""

    name: str
    active: str = Field(description="The id of the release that runs.")
    releases: list[ReleaseRecord] = Field(description="The newest last.")
    newer: str | None = Field(None, description="The version that its index has by now.")


class JobSeenRecord(Said):
    inputs: dict[str, str] = Field(description="Types by name, as they are written.")
    output: str
    light: bool
    program: bool


class AvailablePackage(Said):
    """What an index has: the newest version of a plugin."""

    name: str
    version: str
    repo: str
    within: str
    commit: str
    hash: str
    api: int
    licence: str
    publisher: str
    title: str
    description: str
    homepage: str
    size_bytes: int
    download: str
    jobs: dict[str, JobSeenRecord]
    withdrawn: str


class IndexRecord(Said):
    address: str
    title: str
    notes: list[str] = Field(description="What cannot be read of it, and why.")


class FindingRecord(Said):
    """Something in a plugin's code for a person to look at."""

    kind: str
    where: str = Field(description="file:line.")
    text: str


class PackageReport(Said):
    """What is in a plugin, before any of it runs."""

    name: str
    version: str
    api: int | None
    title: str
    description: str
    licence: str
    author: str
    homepage: str
    hash: str
    size_bytes: int
    files: int
    jobs: dict[str, JobSeenRecord]
    jobs_from: list[str]
    models: list[dict[str, Any]]
    requirements: list[str]
    packages: dict[str, str]
    locked: bool
    shares: str | None
    download: str
    errors: list[str] = Field(description="Why it cannot be installed.")
    warnings: list[FindingRecord]
    kinds: dict[str, str] = Field(description="What each kind of warning means.")
    source: str
    ref: str | None = None
    commit: str | None = None
    changes: list[str] = Field(description="Of an update: what is different.")
    lines: list[str] = Field(description="All this as text.")


class PackageRunBrief(Said):
    id: str
    action: str
    what: str = Field(description="The plugin, or its source.")
    state: Literal["running", "done", "failed"]
    error: Problem | None


class PackageRun(PackageRunBrief):
    lines: list[str] = Field(description="What it has written, the newest last.")
    report: PackageReport | None = Field(description="Of `inspect`.")


class PackagesAnswer(Answer):
    install_over_api: bool = Field(description="Whether the config allows to install over the API.")
    packages: list[PackageRecord]
    disabled: list[str]
    linked: list[str] = Field(description="Plugins that somebody develops in a folder of their own.")
    available: list[AvailablePackage]
    total: int = Field(description="Of those that are available.")
    indexes: list[IndexRecord]
    run: PackageRun | None = Field(description="The last command.")


class PackageAnswer(Answer):
    run: PackageRunBrief


class LogLine(Said):
    time: float
    job: str | None = Field(None, description="The job that wrote it; without one the server says it of a plugin.")
    name: str = Field(description="plugin.job, or the plugin.")
    text: str


class LogsAnswer(Answer):
    lines: list[LogLine] = Field(description="The newest last.")


class HealthAnswer(Answer):
    version: str
    time: float


class WebAnswer(Answer):
    state: Literal["off", "building", "ready", "failed"]
    text: str


ANSWERS: dict[str, type[Answer]] = {  # by the event that is answered
    "hello": HelloAnswer,
    "plugins": PluginsAnswer,
    "choices": ChoicesAnswer,
    "submit": JobAnswer,
    "flow": JobsAnswer,
    "plan": PlanAnswer,
    "call": CallAnswer,
    "job": JobDetailAnswer,
    "jobs": ListedJobsAnswer,
    "cancel": JobAnswer,
    "skip": JobAnswer,
    "retry": JobAnswer,
    "hold": JobAnswer,
    "release": JobAnswer,
    "move": JobAnswer,
    "queue": QueueAnswer,
    "attach": AttachAnswer,
    "detach": DetachAnswer,
    "devices": DevicesAnswer,
    "remote": RemoteAnswer,
    "artifact": ArtifactAnswer,
    "artifacts": ListedArtifactsAnswer,
    "review": ArtifactsAnswer,
    "delete": DeleteAnswer,
    "lineage": LineageAnswer,
    "accepts": AcceptsAnswer,
    "compare": CompareAnswer,
    "sessions": SessionsAnswer,
    "session": SessionAnswer,
    "models": ModelsAnswer,
    "fetch_model": FetchAnswer,
    "settings": SettingsAnswer,
    "configure": SettingsAnswer,
    "packages": PackagesAnswer,
    "package": PackageAnswer,
    "logs": LogsAnswer,
    "subscribe": SubscribeAnswer,
}


class Numbered(Said):
    seq: int = Field(description="Grows with every stored event; they can be replayed.")


class JobEvent(Numbered):
    """A job is in a new state."""

    id: str
    name: str
    state: State
    session: str
    parent: str | None = None
    client_ref: str | None = None
    attempt: int
    outputs: list[str] | None = Field(None, description="Artifact ids, with a terminal state.")
    error: Problem | None = None


class ArtifactEvent(Numbered, ArtifactRecord):
    """A new result or upload, a new review of one, or its end."""

    deleted: Literal[True] | None = None


class SessionEvent(Numbered):
    """A session was opened, renamed, or told what to remember by `session`."""

    id: str
    name: str
    created: float


class QueueEvent(Numbered):
    """The queue was paused or goes on, or one of your jobs was moved."""

    paused: bool
    moved: str | None = Field(None, description="The job, whose place and those of others are other ones now.")


class PluginsEvent(Numbered, PluginBrief):
    """A plugin has come or changed, became ready, was refused, or is gone."""

    status: Literal["installing", "ready", "disabled", "refused", "removed"]


class PackageEvent(Numbered, PackageRunBrief):
    """A command about a plugin has begun or ended; for the admin. What it writes comes as `log` with its id."""


class ModelsEvent(Numbered):
    """Files of models have come or gone, or one is fetched: lists that `choices` has told may be other ones now."""

    kinds: list[str] = Field(description="Whose: the list of each is models/KIND.")


class FetchingEvent(Fetch):
    """How far the fetch of a model is; not stored."""


class DeviceState(Said):
    name: str
    state: Literal["idle", "starting", "ready", "away"]


class RemoteState(Said):
    name: str
    state: Literal["connecting", "preparing", "connected", "lost", "failed", "off"]


class DevicesEvent(Said):
    """A device or a worker has come or gone, or a machine is in another state; not stored. `devices` tells more."""

    devices: list[DeviceState]
    remotes: list[RemoteState]
    workers: int = Field(description="How many there are.")


class NextOutput(Said):
    index: int
    eta_seconds: float | None


class ProgressEvent(Said):
    """How far a running job is."""

    id: str
    step: float
    total: float
    phase: str
    eta_seconds: float | None = Field(description="Until this phase ends.")
    next_output: NextOutput | None = Field(None, description="Of a job with several outputs: when the next is there.")


class PreviewEvent(Said):
    """An unfinished picture; only the latest matters."""

    id: str
    width: int
    height: int
    image: Annotated[bytes, Field(description="JPEG, as a binary attachment.")]


class LogEvent(Said):
    """A line that a job wrote, or, for the admin, a command about a plugin."""

    id: str
    text: str
    plugin: str | None = Field(None, description="What a command is about, whose run has this id.")


EVENTS: dict[str, type[Said]] = {  # what the server sends
    "job": JobEvent,
    "artifact": ArtifactEvent,
    "session": SessionEvent,
    "queue": QueueEvent,
    "plugins": PluginsEvent,
    "package": PackageEvent,
    "models": ModelsEvent,
    "fetching": FetchingEvent,
    "devices": DevicesEvent,
    "progress": ProgressEvent,
    "preview": PreviewEvent,
    "log": LogEvent,
}
