"""txt2img and img2img: what is asked becomes jobs, and the call waits for their pictures."""

import uuid
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError

from clients.bridges.a1111 import drawing, fields, finishing, results, scripts, tasks
from clients.bridges.a1111.requests import Asked, ImageToImage, TextToImage
from clients.bridges.answers import tell_ignored
from clients.python import AsyncClient, AsyncJob, InvalidParams

router = APIRouter(prefix="/sdapi/v1")


@router.post("/txt2img")
async def txt2img(asked: TextToImage, request: Request, response: Response) -> dict[str, Any]:
    return await draw(asked, "txt2img", request.state.client, response)


@router.post("/img2img")
async def img2img(asked: ImageToImage, request: Request, response: Response) -> dict[str, Any]:
    return await draw(asked, "img2img", request.state.client, response)


async def draw(asked: Asked, kind: str, client: AsyncClient, response: Response) -> dict[str, Any]:
    translated = await scripts.translate(asked, client)
    jobs = await submit(translated, client)
    tasks.remember(client, asked.force_task_id or f"task({kind}-{uuid.uuid4().hex[:15]})", jobs)
    tell_ignored(response, translated.ignored)
    return await results.answer(asked, translated, jobs)


async def submit(translated: drawing.Translated, client: AsyncClient) -> list[AsyncJob]:
    """All jobs, behind each those that finish what it drew. Raises RequestValidationError, which has A1111's names for
    what is not allowed."""
    try:
        return await client.flow(finishing.chained(translated.jobs))
    except InvalidParams as error:
        bad = error.errors or [{"field": error.field, "message": error.message}]
        told = {each["loc"]: each for each in map(refusal, bad)}  # once, however many jobs they are
        raise RequestValidationError([*told.values()]) from error


def refusal(bad: dict[str, Any]) -> dict[str, Any]:
    """One of FastAPI's, for an error of ours: jobs of a flow say jobs.0.steps, or jobs.0.params."""
    names = [part for part in str(bad["field"] or "").split(".") if part]
    names = names[2:] if names[:1] == ["jobs"] else names
    names = names[1:] if names[:1] == ["params"] else names
    place = [fields.FIELDS.get(names[0], names[0]), *names[1:]] if names else []
    return {"type": "value_error", "loc": ("body", *place), "msg": bad["message"]}
