"""What txt2img and img2img do with pictures that are drawn: enlarge them with a network for the second pass, restore
faces. Jobs of other plugins do it, each with what the one before it gave."""

from typing import Any

from clients.bridges import finding
from clients.bridges.a1111.requests import Asked, TextToImage
from clients.python import AsyncClient, InvalidParams

UPSCALERS, FACES = "models/upscaler", "models/face_restorer"
FACE_OPTIONS = {"face_restoration_model": "GFPGAN", "code_former_weight": 0.5}
# A1111's names of what it fetches by itself, and of those files.
FILES = {
    "R-ESRGAN 4x+": "RealESRGAN_x4plus", "R-ESRGAN 4x+ Anime6B": "RealESRGAN_x4plus_anime_6B",
    "R-ESRGAN 2x+": "RealESRGAN_x2plus", "R-ESRGAN General 4xV3": "realesr-general-x4v3",
    "R-ESRGAN General WDN 4xV3": "realesr-general-wdn-x4v3", "R-ESRGAN AnimeVideo": "realesr-animevideov3",
    "SwinIR 4x": "SwinIR_4x", "DAT x4": "DAT_x4",
}  # fmt: skip
Row = dict[str, Any]


async def entry(client: AsyncClient, list: str, name: str) -> str:
    """The model in a list that A1111 calls so: its name with or without folder and ending, that of its file, or a part
    of it; of several the last by name, so the newest. One that can be fetched counts where none is there: the job that
    needs it says how. Raises InvalidParams."""
    there = await client.choices(list)
    offers = (await client.call("choices", {"list": list, "limit": 1}))["fetchable"]
    names = [*there, *(offer["id"].partition("/")[2] for offer in offers)]
    for called in (name, FILES.get(name, name)):
        alike = [each for each in names if called in (each, finding.model_name(each), each.rpartition("/")[2])]
        alike = alike or [each for each in names if finding.model_name(each).endswith(f"_{called}")]
        if alike := alike or [each for each in names if called.lower() in each.lower()]:
            return max(alike, key=lambda each: (each in there, each))
    raise InvalidParams(f"there is no {name!r} among {list}. There are: {', '.join(names[:20]) or 'none'}.", field=list)


async def enlarging(asked: Asked, taken: Row, found: list[Row], client: AsyncClient) -> Row | None:
    """The job, and its parameters, that enlarge for the second pass; None where drawing needs no other job for that."""
    about = next(iter(finding.with_models(found, UPSCALERS)), None)
    name = asked.hr_upscaler if isinstance(asked, TextToImage) and asked.enable_hr else None
    own = [str(each).casefold() for each in taken.get("hires_upscaler", {}).get("enum", [])]
    if not (name and about and finding.second_pass(found)) or name.casefold() in [*own, "none"]:
        return None
    sizes = {"width": asked.hr_resize_x, "height": asked.hr_resize_y}
    size = sizes if any(sizes.values()) else {"scale": asked.hr_scale}
    model = {finding.chosen_from(about, UPSCALERS): await entry(client, UPSCALERS, name)}
    return {"job": about["name"], "params": model | _taken(about, size), "port": finding.port(about, "image")}


def in_two(job: Row, enlarge: Row, found: list[Row]) -> Row:
    """A job that draws in one pass, what enlarges its picture, and the second pass alone."""
    about, name = finding.second_pass(found)[0], next(iter(enlarge["params"].values()))
    first = {key: value for key, value in job["params"].items() if not key.startswith("hires")}
    second = _taken(about, job["params"] | {"hires": True, "hires_upscaler": name})
    again = {"job": about["name"], "params": second, "port": finding.port(about, "image"), "inputs": job["inputs"]}
    return job | {"params": first, "then": [enlarge, again]}


async def restoring(asked: Asked, found: list[Row], client: AsyncClient, ignored: list[str]) -> list[Row]:
    """The job, and its parameters, that restores the faces, where that is asked for and there is one."""
    about = next(iter(finding.with_models(found, FACES)), None)
    if not asked.restore_faces or not about:
        return []
    ignored[:] = [name for name in ignored if name not in ("restore_faces", *FACE_OPTIONS)]
    option = FACE_OPTIONS | asked.override_settings
    model = {finding.chosen_from(about, FACES): await entry(client, FACES, str(option["face_restoration_model"]))}
    params = model | _taken(about, {"weight": option["code_former_weight"]})
    return [{"job": about["name"], "params": params, "port": finding.port(about, "image")}]


def chained(jobs: list[Row]) -> list[Row]:
    """Jobs as AsyncClient.flow takes them: what is done then stands behind each."""
    flow = []
    for place, job in enumerate(jobs):
        flow.append({key: value for key, value in job.items() if key != "then"} | {"id": f"{place}.0"})
        for number, step in enumerate(job.get("then", [])):
            inputs = step.get("inputs", {}) | {step["port"]: {"job": f"{place}.{number}"}}
            flow.append(flow[-1] | {"job": step["job"], "params": step["params"], "inputs": inputs})
            flow[-1]["id"] = f"{place}.{number + 1}"
    return flow


def _taken(about: Row, wanted: Row) -> Row:
    taken = finding.parameters(about)
    return {name: value for name, value in wanted.items() if name in taken}
