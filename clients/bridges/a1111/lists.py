"""What there is to choose: samplers, schedulers, models, upscalers ..., in A1111's shapes, read anew each time."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from fastapi import APIRouter, Request

from clients.bridges import finding
from clients.bridges.a1111.options import checkpoint_hashes, title
from clients.python import AsyncClient

RHO = {"karras": 7.0, "polyexponential": 1.0}  # the defaults of schedules that bend
UNKNOWN_SIZE = 0  # of an embedding: what is inside the file, the server does not tell
LATENT = "Latent"  # how the names of upscalers begin that work on latents
router = APIRouter(prefix="/sdapi/v1")
Rows = list[dict[str, Any]]


@router.get("/samplers")
async def samplers(request: Request) -> Rows:
    schema = await _schema(request.state.client, "sampler")
    return [{"name": name, "aliases": _alike(name, schema), "options": {}} for name in _offered(schema)]


@router.get("/schedulers")
async def schedulers(request: Request) -> Rows:
    schema = await _schema(request.state.client, "schedule")
    return [
        {
            "name": name.replace(" ", "_"),
            "label": next((each for each in _alike(name, schema) if each[0].isupper()), name.title()),
            "aliases": _alike(name, schema),
            "default_rho": RHO.get(name, -1.0),
            "need_inner_model": False,
        }
        for name in _offered(schema)
    ]


@router.get("/upscalers")
async def upscalers(request: Request) -> Rows:
    """Those of the second pass, too: apps offer this list for hr_upscaler."""
    client = request.state.client
    found = await finding.jobs(client)
    names = [name for about in found for name in _upscalers(about) if not name.startswith(LATENT)]
    models = await client.choices("models/upscaler") if finding.with_models(found, "models/upscaler") else []
    rows = [(name, None) for name in ["None", *names]] + [(PurePosixPath(name).stem, name) for name in models]
    return [
        {"name": name, "model_name": None, "model_path": path, "model_url": None, "scale": _scale(name)}
        for name, path in dict(rows).items()
    ]


@router.get("/latent-upscale-modes")
async def latent_upscale_modes(request: Request) -> Rows:
    found = await finding.jobs(request.state.client)
    names = [name for about in found for name in _upscalers(about) if name.startswith(LATENT)]
    return [{"name": name} for name in dict.fromkeys(names)]


@router.get("/sd-models")
async def sd_models(request: Request) -> Rows:
    client = request.state.client
    names = await client.choices("models/checkpoint")
    hashes = await checkpoint_hashes(client, names)
    return [
        {
            "title": title(name, hashes.get(name)),
            "model_name": finding.model_name(name),
            "hash": (hashes.get(name) or "")[:10] or None,
            "sha256": hashes.get(name),
            "filename": name,
            "config": None,
        }
        for name in names
    ]


@router.get("/sd-vae")
@router.get("/sd-modules")
async def sd_vae(request: Request) -> Rows:
    names = await request.state.client.choices("models/vae")
    return [{"model_name": PurePosixPath(name).name, "filename": name} for name in names]


@router.get("/loras")
async def loras(request: Request) -> Rows:
    names = await request.state.client.choices("models/lora")
    return [{"name": stem, "alias": stem, "path": name, "metadata": {}} for stem, name in _stems(names)]


@router.get("/hypernetworks")
async def hypernetworks(request: Request) -> Rows:
    names = await request.state.client.choices("models/hypernetwork")
    return [{"name": stem, "path": name} for stem, name in _stems(names)]


@router.get("/embeddings")
async def embeddings(request: Request) -> dict[str, Any]:
    names = await request.state.client.choices("models/embedding")
    about = {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None}
    about |= {"shape": UNKNOWN_SIZE, "vectors": UNKNOWN_SIZE}
    return {"loaded": {stem: about for stem, _ in _stems(names)}, "skipped": {}}


@router.get("/face-restorers")
async def face_restorers(request: Request) -> Rows:
    client = request.state.client
    there = finding.with_models(await finding.jobs(client), "models/face_restorer")
    names = await client.choices("models/face_restorer") if there else []
    return [{"name": stem, "cmd_dir": None} for stem, _ in _stems(names)]


@router.get("/realesrgan-models")
async def realesrgan_models(request: Request) -> Rows:
    rows = [row for row in await upscalers(request) if row["model_path"]]
    return [{"name": row["name"], "path": row["model_path"], "scale": int(row["scale"])} for row in rows]


@router.get("/prompt-styles")
async def prompt_styles(request: Request) -> Rows:
    """With their texts, where a job tells them."""
    client = request.state.client
    found = await finding.jobs(client)
    rows: Rows = []
    for source in {finding.choices_from(about, "styles") for about in finding.drawing(found)} - {""}:
        names = await client.choices(source)
        tellers = finding.telling_style(found)
        calls = [client.light(tellers[0]["name"], {"name": name}) for name in names] if tellers else []
        told = [answer[0] for answer in await asyncio.gather(*calls)] or [{}] * len(names)
        rows += [
            {"prompt": "", "negative_prompt": ""} | text | {"name": n} for n, text in zip(names, told, strict=True)
        ]
    return rows


@router.post("/refresh-checkpoints")
@router.post("/refresh-vae")
@router.post("/refresh-loras")
@router.post("/refresh-embeddings")
async def refresh() -> None:
    """Nothing to do: every list is read anew when it is asked for."""


@router.get("/extensions")
async def extensions(request: Request) -> Rows:
    """The plugins."""
    nothing = {"remote": "", "branch": "", "commit_hash": "", "commit_date": 0, "version": ""}
    plugins = await request.state.client.plugins()
    return [{"name": each["name"], **nothing, "enabled": each["status"] == "ready"} for each in plugins]


@router.get("/cmd-flags")
async def cmd_flags(request: Request) -> dict[str, Any]:
    """Those that tell clients something."""
    return {"api": True, "nowebui": True, "port": request.url.port, "ckpt": None, "vae_path": None, "lowvram": False}


async def _schema(client: AsyncClient, parameter: str) -> dict[str, Any]:
    """Of that parameter in the job that draws; empty if there is none."""
    for about in finding.drawing(await finding.jobs(client)):
        if schema := finding.parameters(about).get(parameter):
            return schema
    return {}


def _offered(schema: dict[str, Any]) -> list[str]:
    return schema.get("ui", {}).get("choices") or schema.get("enum", [])


def _alike(name: str, schema: dict[str, Any]) -> list[str]:
    """The other spellings that are taken for the same: DPM++ 2M is dpmpp_2m, too."""
    return [other for other in schema.get("enum", []) if other != name and _key(other) == _key(name)]


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("++", "pp").replace("ancestral", "a"))


def _upscalers(about: dict[str, Any]) -> Iterator[str]:
    """What a job's parameters upscaler and hires_upscaler let choose."""
    for name, schema in finding.parameters(about).items():
        if name.endswith("upscaler"):
            yield from schema.get("enum", [])


def _scale(name: str) -> float:
    """How much a model enlarges, which is mostly a part of its name: 4x-UltraSharp, RealESRGAN_x2; else 4."""
    found = re.search(r"(?<![a-z0-9])(?:x(\d)|(\d)x)(?![0-9])", name.lower().replace("_", " "))
    return float(found[1] or found[2]) if found else 4.0


def _stems(names: list[str]) -> list[tuple[str, str]]:
    return [(PurePosixPath(name).stem, name) for name in names]
