"""Which job, with which checkpoint, a model's name means."""

import re
from collections.abc import Callable
from typing import Any

from clients.bridges import finding
from clients.python import AsyncClient, ModelNotFound

CHECKPOINTS = "models/checkpoint"
OPENAIS = re.compile(r"(dall-e|gpt-image|chatgpt-image)\b.*")  # what apps send that nobody has told of us
About = dict[str, Any]
# What a job has to be able to do: who can, in which words, and what such a job announces.
FROM_TEXT = (finding.from_text, "draw from a text", "a prompt and no input that gives pictures")
FROM_PICTURE = (
    finding.from_picture,
    "redraw a picture",
    "an image and a prompt that redraws it",
)
UNDER_MASK = (finding.under_mask, "redraw a part of a picture", "an image, a mask and a prompt that gives pictures")
Need = tuple[Callable[[list[About]], list[About]], str, str]


async def choose(client: AsyncClient, model: str, need: Need) -> tuple[About, dict[str, str]]:
    """The job that `model` means where something needs doing, and the parameter that chooses a checkpoint, if it names
    one: a job (its plugin's, if that job cannot), or a checkpoint. OpenAI's own names and "" are the first job with its
    default checkpoint. Raises ModelNotFound, or NotThere if nothing here can."""
    can, what, takes_and_gives = need
    found = await finding.jobs(client)
    able = by_checkpoint(can(found))
    default = finding.first(able, what, takes_and_gives)
    if not model:
        return default, {}
    if same := [about for about in able if model in names(about)]:
        return same[0], {}
    plugins = {plugin(about) for about in finding.drawing(found) if model in names(about)}
    if near := [about for about in able if plugin(about) in plugins]:
        return near[0], {}
    if checkpoint := finding.named(model, await client.choices(CHECKPOINTS)):
        parameter = finding.chosen_from(default, CHECKPOINTS)
        if parameter:
            return default, {parameter: checkpoint}
    if OPENAIS.fullmatch(model):
        return default, {}
    raise unknown(model, f"The model {model[:200]!r} does not exist, or cannot {what}.")


async def listed(client: AsyncClient) -> list[dict[str, Any]]:
    """All that draw, in OpenAI's shape: checkpoints, and jobs that draw from a text."""
    found = by_checkpoint(finding.from_text(await finding.jobs(client)))
    rows = [shown(about["name"], plugin(about)) for about in found]
    if found and finding.chosen_from(found[0], CHECKPOINTS):
        rows += [shown(name, plugin(found[0])) for name in await client.choices(CHECKPOINTS)]
    return rows


async def one(client: AsyncClient, model: str) -> dict[str, Any]:
    """A model that some call takes. Raises ModelNotFound."""
    for row in await listed(client):
        if row["id"] == model:
            return row
    for about in finding.drawing(await finding.jobs(client)):
        if model in names(about):
            return shown(model, plugin(about))
    if finding.named(model, await client.choices(CHECKPOINTS)) or OPENAIS.fullmatch(model):
        return shown(model, "stable-core")
    raise unknown(model, f"The model {model[:200]!r} does not exist.")


def by_checkpoint(found: list[About]) -> list[About]:
    """Those for which a checkpoint can be chosen come first: they are for general use."""
    return sorted(found, key=lambda about: finding.chosen_from(about, CHECKPOINTS) is None)


def names(about: About) -> tuple[str, str]:
    """plugin.job, and job alone."""
    return about["name"], about["name"].partition(".")[2]


def plugin(about: About) -> str:
    return about["name"].partition(".")[0]


def shown(name: str, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}


def unknown(model: str, message: str) -> ModelNotFound:
    return ModelNotFound(message, field="model", hint="GET /v1/models lists what there is.")
