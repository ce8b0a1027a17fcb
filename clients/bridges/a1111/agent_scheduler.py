"""The queue endpoints of the Agent-Scheduler extension. Its tasks are our jobs: they survive restarts, as do their ids.

A body that becomes several jobs (one for each of its pictures) is one task here, too: its id is theirs, joined."""

import asyncio
import datetime
import io
import json
import zipfile
from typing import Annotated, Any

import pydantic
from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from clients.bridges.a1111 import fields, generating, lists, scripts, tasks
from clients.bridges.a1111.progress import LISTED, Row, current, listed, stop
from clients.bridges.a1111.requests import KINDS
from clients.bridges.answers import tell_ignored
from clients.bridges.pictures import to_base64
from clients.python import TERMINAL, AsyncArtifact, AsyncClient, Conflict, InvalidParams, NotFound

STATUS = {
    "held": "pending", "waiting": "pending", "queued": "pending", "running": "running", "done": "done",
    "failed": "failed", "cancelled": "interrupted",
}  # fmt: skip
PENDING = [state for state, status in STATUS.items() if status == "pending"]
JOINT = "-"
SORTED = 200  # waiting jobs of which each is asked for its place; more are listed by their age
NOT_FOUND = {"success": False, "message": "Task not found"}
STAYS = "What has ended stays on record, with its pictures; retention_days in the server's config.toml lets it go."
router = APIRouter(prefix="/agent-scheduler/v1")


@router.post("/queue/txt2img")
async def queue_txt2img(request: Request, response: Response, body: Row) -> Row:
    return await enqueue("txt2img", body, request.state.client, response)


@router.post("/queue/img2img")
async def queue_img2img(request: Request, response: Response, body: Row) -> Row:
    return await enqueue("img2img", body, request.state.client, response)


async def enqueue(kind: str, body: Row, client: AsyncClient, response: Response) -> Row:
    """Behind all that apps wait for (priority batch)."""
    translated = await scripts.translate(_asked(kind, body), client)
    translated.jobs = [job | {"priority": "batch"} for job in translated.jobs]
    jobs = await generating.submit(translated, client)
    tell_ignored(response, translated.ignored + ["callback_url"] * bool(body.get("callback_url")))
    id = JOINT.join(job.id for job in jobs)
    tasks.remember(client, id, jobs)  # so that its progress is that of all of them
    return {"task_id": id}


@router.get("/queue")
async def queue(request: Request, limit: int = 20, offset: int = 0) -> Row:
    client = request.state.client
    waiting = await _pending(client)
    page = waiting[max(0, offset) :][: max(0, limit)]
    now = await current(client)
    return {
        "current_task_id": JOINT.join(row["id"] for row in now.jobs) if now.running else None,
        "pending_tasks": [await _task(client, [row]) for row in page],
        "total_pending_tasks": len(waiting),
        "paused": (await client.queue())["paused"],
    }


@router.get("/history")
async def history(request: Request, status: str | None = None, limit: int = 20, offset: int = 0) -> Row:
    """`status`: all, done, failed, interrupted or bookmarked; the newest first."""
    client = request.state.client
    states = [state for state in TERMINAL if status in (None, "", "all", "bookmarked", STATUS[state])]
    rows = sorted(await _listed(client, states), key=lambda row: row["id"], reverse=True)
    if status == "bookmarked":
        rows = [row for row in rows if (await _task(client, [row]))["bookmarked"]]
    page = rows[max(0, offset) :][: max(0, limit)]
    return {"tasks": [await _task(client, [row]) for row in page], "total": len(rows)}


@router.get("/task/{id}")
async def task(request: Request, id: str) -> Row:
    client = request.state.client
    if not (rows := await _rows(client, id)):
        return NOT_FOUND
    told = await _task(client, rows)
    times = {name: _iso(told[name]) for name in ("created_at", "updated_at")}
    return {"success": True, "data": told | times}


@router.get("/task/{id}/position")
async def position(request: Request, id: str) -> Row:
    if not (rows := await _rows(request.state.client, id)):
        return NOT_FOUND
    return {"success": True, "data": {"status": _status(rows), "position": _position(rows)}}


@router.get("/results/{id}")
@router.get("/task/{id}/results")
async def results(request: Request, id: str, zipped: Annotated[bool, Query(alias="zip")] = False) -> Any:
    client = request.state.client
    if not (rows := await _rows(client, id)):
        return NOT_FOUND
    if _status(rows) != "done":
        return {"success": False, "message": f"Task is {_status(rows)}"}
    found = await _outputs(client, rows)
    pictures = await asyncio.gather(*(each.bytes() for each in found))
    if zipped:
        name = f'attachment; filename="results-{rows[0]["id"]}.zip"'
        return Response(_zipped(pictures), media_type="application/zip", headers={"Content-Disposition": name})
    data = [
        {"image": to_base64(data), "infotext": each.record["facts"].get("infotext", "")}
        for data, each in zip(pictures, found, strict=True)
    ]
    return {"success": True, "data": data}


@router.post("/run/{id}")
@router.post("/task/{id}/run")
async def run(request: Request, id: str) -> Row:
    return await _moved(request.state.client, id, {"to": "front"}, "Task is scheduled to run next")


@router.post("/move/{id}/{over_id}")
@router.post("/task/{id}/move/{over_id}")
async def move(request: Request, id: str, over_id: str) -> Row:
    """Over another task, or to the top or the bottom."""
    client = request.state.client
    if over_id in ("top", "bottom"):
        place = {"to": "front" if over_id == "top" else "back"}
        return await _moved(client, id, place, f"Task moved to {over_id}")
    if not (over := await _rows(client, over_id)):
        return {"success": False, "message": "Task to move over not found"}
    return await _moved(client, id, {"before": over[0]["id"]}, "Task moved")


@router.post("/task/requeue-failed")
async def requeue_failed(request: Request) -> Row:
    client = request.state.client
    failed = await _listed(client, ["failed"])
    for row in reversed(failed):
        await client.call("retry", {"id": row["id"]}, repeat=False)
    message = f"Requeued {len(failed)} failed tasks" if failed else "No failed tasks"
    return {"success": bool(failed), "message": message}


@router.post("/requeue/{id}")
@router.post("/task/{id}/requeue")
async def requeue(request: Request, id: str) -> Row:
    client = request.state.client
    if not (rows := await _rows(client, id)):
        return NOT_FOUND
    if _status(rows) in ("pending", "running"):
        return {"success": False, "message": f"Task is {_status(rows)}"}
    again = [(await client.call("retry", {"id": row["id"]}, repeat=False))["job"]["id"] for row in rows]
    return {"success": True, "message": "Task requeued", "task_id": JOINT.join(again)}


@router.post("/bookmark/{id}")
@router.post("/task/{id}/bookmark")
async def bookmark(request: Request, id: str) -> Row:
    """Its pictures are picked."""
    return await _reviewed(request.state.client, id, "picked", "Task bookmarked")


@router.post("/unbookmark/{id}")
@router.post("/task/{id}/unbookmark")
async def unbookmark(request: Request, id: str) -> Row:
    return await _reviewed(request.state.client, id, "new", "Task unbookmarked")


@router.post("/delete/{id}")
@router.delete("/task/{id}")
async def delete(request: Request, id: str) -> Row:
    client = request.state.client
    if not (rows := await _rows(client, id)):
        return NOT_FOUND
    before = _status(rows)
    for row in rows:
        if row["state"] not in TERMINAL:
            await stop(client, row["id"])
    said = {"pending": "Task deleted", "running": "Task interrupted"}
    return {"success": before in said, "message": said.get(before, STAYS)}


@router.put("/task/{id}")
@router.post("/rename/{id}")
@router.post("/task/{id}/rename")
async def update(id: str) -> Row:
    return {"success": False, "message": "Tasks have no names here and do not change. Queue another one."}


@router.post("/pause")
@router.post("/queue/pause")
async def pause(request: Request) -> Row:
    """The whole server's queue, so only the token of the server's own machine may."""
    await request.state.client.queue("pause")
    return {"success": True, "message": "Queue paused."}


@router.post("/resume")
@router.post("/queue/resume")
async def resume(request: Request) -> Row:
    await request.state.client.queue("resume")
    return {"success": True, "message": "Queue resumed."}


@router.post("/queue/clear")
async def clear_queue(request: Request) -> Row:
    client = request.state.client
    for row in await _pending(client):
        await stop(client, row["id"])
    return {"success": True, "message": "Queue cleared."}


@router.post("/history/clear")
async def clear_history() -> Row:
    return {"success": False, "message": STAYS}


@router.get("/samplers")
async def samplers(request: Request) -> list[str]:
    return [row["name"] for row in await lists.samplers(request)]


@router.get("/sd-models")
async def sd_models(request: Request) -> list[str]:
    return [row["title"] for row in await lists.sd_models(request)]


def _asked(kind: str, body: Row) -> Any:
    """The request as it would be sent for drawing; `checkpoint` and `vae` are settings of it."""
    own = {"sd_model_checkpoint": body.get("checkpoint"), "sd_vae": body.get("vae")}
    given = {name: value for name, value in body.items() if name not in ("checkpoint", "vae", "callback_url")}
    settings = given.get("override_settings") or {}
    if isinstance(settings, dict):
        settings = settings | {name: value for name, value in own.items() if value}
    try:
        return KINDS[kind].model_validate(given | {"override_settings": settings})
    except pydantic.ValidationError as error:
        bad = [each | {"loc": ("body", *each["loc"])} for each in error.errors(include_url=False)]
        raise RequestValidationError(bad) from error


async def _listed(client: AsyncClient, states: list[str]) -> list[Row]:
    """The jobs that draw, without those of programs."""
    rows = [row for state in states for row in await listed(client, state=state)]
    return [row for row in rows if "parent" not in row and "prompt" in row["params"] and not _waits_for_its_own(row)]


def _waits_for_its_own(row: Row) -> bool:
    """Whether it is a program whose jobs are not done."""
    return bool(row.get("children")) and row["state"] == "waiting"


async def _pending(client: AsyncClient) -> list[Row]:
    """What waits, the next one first."""
    rows = sorted(await _listed(client, PENDING), key=lambda row: row["id"])
    if len(rows) <= SORTED:
        rows = [row for each in rows for row in await _rows(client, each["id"])]
        rows.sort(key=lambda row: row.get("position", LISTED))
    return rows


async def _rows(client: AsyncClient, id: str) -> list[Row]:
    """The jobs of a task; none if the server does not know one of them."""
    try:
        return [(await client.call("job", {"id": each}))["job"] for each in id.split(JOINT)]
    except NotFound:
        return []


async def _task(client: AsyncClient, rows: list[Row]) -> Row:
    first, params = rows[0], rows[0]["params"]
    told = {row.field: params[row.parameter] for row in fields.ROWS if row.parameter in params}
    told |= {"sampler_name": params.get("sampler"), "scheduler": params.get("schedule")}
    changed = max(row.get("finished") or row.get("started") or row["created"] for row in rows)
    found = await _outputs(client, rows) if _status(rows) in ("done", "interrupted") else []
    result = {
        "images": [f"/artifacts/{each.id}" for each in found],
        "infotexts": [each.record["facts"].get("infotext", "") for each in found],
    }
    errors = [row["error"]["message"] for row in rows if row.get("error")]
    return {
        "id": JOINT.join(row["id"] for row in rows),
        "api_task_id": None,
        "api_task_callback": None,
        "name": None,
        "type": "img2img" if first["inputs"].get("image") else "txt2img",
        "status": _status(rows),
        "params": told | {"checkpoint": params.get("model")},
        "priority": int(first["created"] * 1000),
        "position": _position(rows),
        "result": json.dumps(result) if found else (errors or [None])[0],
        "bookmarked": bool(found) and all(each.record["review"] == "picked" for each in found),
        "created_at": int(first["created"] * 1000),
        "updated_at": int(changed * 1000),
    }


def _status(rows: list[Row]) -> str:
    """Of several jobs: what is not over counts first, then what went wrong."""
    said = {"running" if _waits_for_its_own(row) else STATUS[row["state"]] for row in rows}
    if "pending" in said and said - {"pending"}:
        return "running"
    return next(each for each in ("pending", "running", "failed", "interrupted", "done") if each in said)


def _position(rows: list[Row]) -> int | None:
    return min((row["position"] for row in rows if row.get("position") is not None), default=None)


async def _outputs(client: AsyncClient, rows: list[Row]) -> list[AsyncArtifact]:
    """In order, with their records; not what another job of the task was made from."""
    found, told = [], json.dumps([row["inputs"] for row in rows])
    for row in [row for row in rows if row["id"] not in told]:
        found += sorted(await client.artifacts(job=row["id"], limit=LISTED), key=lambda each: each.record["idx"])
    return found


async def _reviewed(client: AsyncClient, id: str, state: str, message: str) -> Row:
    if not (rows := await _rows(client, id)):
        return NOT_FOUND
    if not (found := await _outputs(client, rows)):
        return {"success": False, "message": f"Task is {_status(rows)}: it has no pictures that could be picked"}
    await client.call("review", {"ids": [each.id for each in found], "state": state})
    return {"success": True, "message": message}


async def _moved(client: AsyncClient, id: str, place: Row, message: str) -> Row:
    if not (rows := await _rows(client, id)):
        return NOT_FOUND
    try:
        for row in reversed(rows) if place == {"to": "front"} else rows:
            await client.call("move", {"id": row["id"], **place})
    except (Conflict, InvalidParams) as error:  # one of them runs or has ended, or it is the same task
        return {"success": False, "message": error.message}
    return {"success": True, "message": message}


def _zipped(pictures: list[bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:  # PNGs do not become smaller
        for place, data in enumerate(pictures):
            file.writestr(f"{place:05}.png", data)
    return out.getvalue()


def _iso(milliseconds: int) -> str:
    return datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.timezone.utc).isoformat()
