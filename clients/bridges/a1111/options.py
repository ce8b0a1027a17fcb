"""A1111's options: there one set for everybody, here what the later calls of one client begin with."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jsonschema
from fastapi import APIRouter, Request, Response

from clients.bridges import finding
from clients.bridges.answers import tell_ignored
from clients.python import AsyncClient, InvalidParams, ModelNotFound

SESSION = "a1111 options"  # nothing is submitted in it, so what it remembers stays until the client changes it
CHECKPOINT = "sd_model_checkpoint"
FIXED = {"samples_format": "png", "enable_pnginfo": True}  # what pictures are in every answer
HASH_SECONDS = 10  # that a list waits for hashes, of which the first starts a process; more come with the next list
router = APIRouter(prefix="/sdapi/v1")
_storing = asyncio.Lock()


@dataclass(frozen=True)
class Option:
    """A1111's `name` for a parameter of the jobs that draw; `words` are its words for ours."""

    name: str
    parameter: str
    words: Callable[[Any], Any] = lambda value: value


OPTIONS = (
    Option(CHECKPOINT, "model"),
    Option("sd_vae", "vae"),
    Option("CLIP_stop_at_last_layers", "clip_skip"),
    Option("comma_padding_backtrack", "comma_backtrack"),
    Option("emphasis", "emphasis", str.capitalize),
    Option("eta_noise_seed_delta", "ensd"),
    Option("randn_source", "noise_source"),
    Option("s_churn", "s_churn"),
    Option("s_tmin", "s_tmin"),
    Option("s_tmax", "s_tmax"),
    Option("s_noise", "s_noise"),
    Option("s_min_uncond", "ngms"),
    Option("sigma_min", "sigma_min"),
    Option("sigma_max", "sigma_max"),
    Option("rho", "rho"),
    Option("initial_noise_multiplier", "noise_multiplier"),
    Option("img2img_color_correction", "color_correction"),
    Option("img2img_fix_steps", "fix_steps"),
)
BY_NAME = {option.name: option for option in OPTIONS}


async def defaults(client: AsyncClient) -> dict[str, Any]:
    """The parameters, in our words, that this client has set as options: what a call of its begins with."""
    answer = await client.call("session", {"id": SESSION})
    return {name: value for params in answer["session"]["memorised"].values() for name, value in params.items()}


async def parameters(client: AsyncClient, options: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Options of A1111 as parameters of jobs, and the names of those that no job here knows.

    Raises ModelNotFound for an unknown checkpoint or VAE, InvalidParams for a value that no job takes."""
    known = _known(await finding.jobs(client))
    given, ignored = {}, []
    for name, value in options.items():
        option = BY_NAME.get(name)
        if value is not None and option and option.parameter in known:
            given[option.parameter] = await _ours(client, option, value, known[option.parameter])
        elif FIXED.get(name) != value:
            ignored.append(name)
    return given, ignored


async def checkpoint(client: AsyncClient, name: str) -> str:
    """The checkpoint in the list models/checkpoint that A1111 calls `name`: by its title with or without the hash, its
    file with or without folder and ending, or its sha256 or the first digits of that. Raises ModelNotFound."""
    bare = name.rpartition(" [")[0] if name.endswith("]") else name
    names = await client.choices("models/checkpoint")
    if found := finding.named(bare, names):
        return found
    hashes = {} if len(name) < 8 else await checkpoint_hashes(client, names)
    if found := [each for each, sha256 in hashes.items() if sha256 and sha256.startswith(name.lower())]:
        return found[0]
    raise ModelNotFound(f"model {name[:200]!r} not found.", hint="GET /sdapi/v1/sd-models lists what there is.")


async def checkpoint_hashes(client: AsyncClient, names: list[str]) -> dict[str, str | None]:
    """The sha256 of checkpoints, where one is known already: of large files it is, once they have drawn."""
    informers = finding.about_checkpoint(await finding.jobs(client))
    if not informers:
        return {}
    (parameter,) = finding.parameters(informers[0])
    calls = [asyncio.ensure_future(client.light(informers[0]["name"], {parameter: name})) for name in names]
    if calls:
        await asyncio.wait(calls, timeout=HASH_SECONDS)
    hashes = dict.fromkeys(names)
    for name, call in zip(names, calls, strict=True):
        if call.done() and not call.cancelled() and not call.exception() and isinstance(call.result()[0], dict):
            hashes[name] = call.result()[0].get("sha256")
        call.cancel()
    return hashes


def title(name: str, sha256: str | None) -> str:
    """As A1111 shows a checkpoint and takes it back."""
    return f"{name} [{sha256[:10]}]" if sha256 else name


@router.get("/options")
async def get_options(request: Request) -> dict[str, Any]:
    client = request.state.client
    known, given = _known(await finding.jobs(client)), await defaults(client)
    values = {
        option.name: option.words(given.get(option.parameter, known[option.parameter].get("default")))
        for option in OPTIONS
        if option.parameter in known
    }
    if name := values.get(CHECKPOINT):
        sha256 = (await checkpoint_hashes(client, [name])).get(name)
        values |= {CHECKPOINT: title(name, sha256), "sd_checkpoint_hash": sha256 or ""}
    if values.get("sd_vae") == "":
        values["sd_vae"] = "Automatic"
    return values | FIXED


@router.post("/options")
async def set_options(request: Request, response: Response, options: dict[str, Any]) -> None:
    client = request.state.client
    given, ignored = await parameters(client, options)
    tell_ignored(response, ignored)
    found = finding.first(finding.from_text(await finding.jobs(client)), "draw", "no input and the parameter prompt")
    async with _storing:
        memorised = {found["name"]: await defaults(client) | given}
        await client.call("session", {"id": SESSION, "name": "Options of A1111's API", "memorised": memorised})


def _known(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The parameters of all jobs that draw."""
    drawing = reversed(finding.drawing(found))  # so that what draws from a text tells the defaults
    return {name: schema for about in drawing for name, schema in finding.parameters(about).items()}


async def _ours(client: AsyncClient, option: Option, value: Any, schema: dict[str, Any]) -> Any:
    if option.parameter == "model":
        return await checkpoint(client, str(value))
    if option.parameter == "vae":
        names = await client.choices("models/vae")
        found = "" if value in ("", "Automatic", "None") else finding.named(str(value), names)
        if found is None:
            raise ModelNotFound(
                f"VAE {str(value)[:200]!r} not found.", hint="GET /sdapi/v1/sd-vae lists what there is."
            )
        return found
    if isinstance(value, str):
        value = {str(each).casefold(): each for each in schema.get("enum", [])}.get(value.casefold(), value)
    try:
        jsonschema.validate(value, schema)
    except jsonschema.ValidationError as error:
        raise InvalidParams(f"{option.name}: {error.message[:300]}.", field=option.name) from error
    return value
