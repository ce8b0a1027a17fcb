"""How far the drawing is, with its preview; interrupt and skip. What `Current` says decides which jobs they mean."""

import datetime
import time
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import pydantic
from fastapi import APIRouter, Request

from clients.bridges.a1111 import tasks
from clients.bridges.pictures import to_base64
from clients.python import TERMINAL, AsyncClient, Conflict, NotFound

PREPARING = "load"  # the phase that draws nothing yet
LISTED = 1000
Row = dict[str, Any]
router = APIRouter()
_watches: WeakKeyDictionary[AsyncClient, "Watch"] = WeakKeyDictionary()


@dataclass
class Heard:
    """The newest that events told of a running job. `share`: how much of its work is done."""

    step: float = 0
    steps: float = 0
    share: float = 0
    preview: bytes = b""
    previews: int = 0


@dataclass
class Watch:
    """What a client's jobs tell while they run, kept until they end."""

    jobs: dict[str, Heard] = field(default_factory=dict)

    def hear(self, type: str, data: Row) -> None:
        if type == "job":
            self.jobs.pop(data["id"], None)  # a new state: it has ended, or begins again
        elif type == "progress":
            heard = self.jobs.setdefault(data["id"], Heard())
            heard.step, heard.steps = data["step"], data["total"]
            if data["phase"] != PREPARING and data["total"]:
                heard.share = max(heard.share, min(1, data["step"] / data["total"]))
        elif type == "preview":
            heard = self.jobs.setdefault(data["id"], Heard())
            heard.preview, heard.previews = data["image"], heard.previews + 1


def watch(client: AsyncClient) -> Watch:
    """The one of this client, which listens from the first call on."""
    if client not in _watches:
        _watches[client] = Watch()
        client.on_event(_watches[client].hear)
    return _watches[client]


@dataclass
class Current:
    """The jobs that one call became, and those that run of them or for them, each as the server has it."""

    jobs: list[Row]
    running: list[Row]
    watch: Watch

    @property
    def started(self) -> float:
        return min((row["started"] for row in self.jobs if row.get("started")), default=0)

    @property
    def count(self) -> int:
        return sum(row.get("children") or 1 for row in self.jobs)

    @property
    def ended(self) -> int:
        return sum(row.get("children_ended") or int(row["state"] in TERMINAL) for row in self.jobs)

    @property
    def heard(self) -> list[Heard]:
        return [self.watch.jobs[row["id"]] for row in self.running if row["id"] in self.watch.jobs]

    @property
    def progress(self) -> float:
        """A1111's formula, in which 0.01 says that something runs."""
        if not self.running:
            return 0.0
        return min(1.0, 0.01 + (self.ended + sum(heard.share for heard in self.heard)) / self.count)

    @property
    def eta(self) -> float:
        seconds = time.time() - self.started
        return seconds / self.progress - seconds if self.running else 0.0

    @property
    def newest(self) -> Heard:
        """The one with a preview, of those that run the first."""
        return next((heard for heard in self.heard if heard.previews), next(iter(self.heard), Heard()))

    def state(self) -> Row:
        first = self.running[0] if self.running else {}
        at = datetime.datetime.fromtimestamp(self.started).strftime("%Y%m%d%H%M%S") if self.running else "0"
        return {
            "skipped": False,
            "interrupted": any(row.get("cancel") for row in self.jobs),
            "stopping_generation": False,
            "job": first.get("name", ""),
            "job_count": self.count,
            "job_timestamp": at,
            "job_no": self.ended,
            "sampling_step": int(self.newest.step),
            "sampling_steps": int(self.newest.steps),
        }


async def current(client: AsyncClient) -> Current:
    """What runs for the longest, else what waits for the longest, of all that this client asked A1111's API for: with
    all jobs of the same call."""
    rows = await listed(client, state="running") or (await listed(client, state="queued"))[-1:]
    if not rows:
        return Current([], [], watch(client))
    tops = [await _top(client, row) for row in rows]
    oldest = min(tops, key=lambda row: (row.get("started") or row["created"], row["id"]))
    return await of_jobs(client, tasks.beside(client, oldest["id"]))


async def _top(client: AsyncClient, row: Row) -> Row:
    """The program that a job was made by in the end, else the job itself."""
    while parent := row.get("parent"):
        row = (await client.call("job", {"id": parent}))["job"]
    return row


async def of_jobs(client: AsyncClient, ids: list[str]) -> Current:
    """These jobs as they are now. A program itself waits while its jobs run."""
    jobs = [(await client.call("job", {"id": id}))["job"] for id in ids]
    running = []
    for row in jobs:
        if row.get("children") and row["state"] not in TERMINAL:
            running += [child for child in await listed(client, parent=row["id"], state="running")][::-1] or [row]
        elif row["state"] == "running":
            running.append(row)
    return Current(jobs, running, watch(client))


async def listed(client: AsyncClient, **wanted: Any) -> list[Row]:
    """The newest first."""
    return (await client.call("jobs", {"session": client.session, "limit": LISTED, **wanted}))["jobs"]


@router.get("/sdapi/v1/progress")
async def progress(request: Request, skip_current_image: bool = False) -> Row:
    now = await current(request.state.client)
    picture = "" if skip_current_image else to_base64(now.newest.preview)
    return {
        "progress": now.progress,
        "eta_relative": now.eta,
        "state": now.state(),
        "current_image": picture or None,
        "textinfo": None if now.running or not now.jobs else "Waiting...",
        "current_task": tasks.named(request.state.client, now.jobs[0]["id"]) if now.jobs else None,
    }


class Asked(pydantic.BaseModel):
    id_task: str | None = None
    id_live_preview: int = -1
    live_preview: bool = True


@router.post("/internal/progress")
async def progress_of_task(request: Request, asked: Asked) -> Row:
    """Of exactly this task: a call's force_task_id, or the id of one of our jobs."""
    now = await _task(request.state.client, asked.id_task or "")
    active = bool(now.running)
    completed = bool(now.jobs) and all(row["state"] in TERMINAL for row in now.jobs)
    queued = bool(now.jobs) and not active and not completed
    newest = now.newest if active else Heard()
    shown = asked.live_preview and newest.previews and newest.previews != asked.id_live_preview
    places = [row["position"] for row in now.jobs if row.get("position") is not None]
    return {
        "active": active,
        "queued": queued,
        "completed": completed,
        "progress": now.progress if active else None,
        "eta": now.eta if active else None,
        "live_preview": f"data:image/jpeg;base64,{to_base64(newest.preview)}" if shown else None,
        "id_live_preview": newest.previews if shown else asked.id_live_preview,
        "textinfo": (f"In queue: {min(places) + 1}" if places else "Waiting...") if queued else None,
    }


@router.get("/internal/pending-tasks")
async def pending_tasks(request: Request) -> Row:
    client = request.state.client
    names = [tasks.named(client, row["id"]) for row in reversed(await listed(client, state="queued"))]
    return {"size": len({*names}), "tasks": [*dict.fromkeys(names)]}


@router.get("/internal/ping")
async def ping() -> Row:
    return {}


@router.post("/sdapi/v1/interrupt")
@router.post("/sdapi/v1/stop-generating")
async def interrupt(request: Request) -> Row:
    """Stop what `progress` tells of. What is drawn already is kept and answered."""
    client = request.state.client
    for row in (await current(client)).jobs:
        if row["state"] not in TERMINAL:
            await stop(client, row["id"])
    return {}


@router.post("/sdapi/v1/skip")
async def skip(request: Request) -> None:
    """Go on with the next picture."""
    client = request.state.client
    for row in (await current(client)).running:
        try:
            await client.call("skip", {"id": row["id"]}, repeat=False)
        except Conflict:
            pass  # it has just ended


async def stop(client: AsyncClient, id: str) -> None:
    """Cancel a job and keep what there is; nothing to do if it has ended meanwhile."""
    try:
        await client.call("cancel", {"id": id, "keep_partial": True})
    except Conflict:
        pass


async def _task(client: AsyncClient, task: str) -> Current:
    try:
        return await of_jobs(client, tasks.jobs(client, task) or [task])
    except NotFound:
        return Current([], [], watch(client))
