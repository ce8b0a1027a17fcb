"""Which announced jobs do what another API speaks of: told by what they take, give and let choose, never by their
plugin. Of those that could do harm where another one was meant, the job's own name counts, too."""

from pathlib import PurePosixPath
from typing import Any

from clients.python import AsyncClient, ServerError


class NotThere(ServerError):
    """No plugin that is installed does this; the message says what one has to announce."""


async def jobs(client: AsyncClient) -> list[dict[str, Any]]:
    """All announced jobs, each as the server describes it, with its name in full: plugin.job. Programs come last: where
    a job alone does it, that is what is meant."""
    found = [
        about | {"name": f"{plugin['name']}.{about['name']}"}
        for plugin in await client.plugins()
        for about in plugin["jobs"]
    ]
    return sorted(found, key=lambda about: about["program"])


def port(about: dict[str, Any], kind: str) -> str:
    """The input of that kind that the job cannot do without, "" if there is none."""
    return next((name for name, each in about["inputs"].items() if each["kind"] == kind and not each["optional"]), "")


def required(about: dict[str, Any]) -> list[str]:
    """Kinds of the inputs that a job cannot do without."""
    return [port["kind"] for port in about["inputs"].values() if not port["optional"]]


def parameters(about: dict[str, Any]) -> dict[str, Any]:
    """A job's parameters, each with its JSON Schema."""
    return about["params"].get("properties", {})


def choices_from(about: dict[str, Any], name: str) -> str:
    """The list that a parameter's values come from, "" for none."""
    return parameters(about).get(name, {}).get("ui", {}).get("choices_from", "")


def chosen_from(about: dict[str, Any], source: str) -> str | None:
    """The parameter whose values come from the list `source`, such as models/upscaler."""
    return next((name for name in parameters(about) if choices_from(about, name) == source), None)


def from_text(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Jobs that draw from a text alone."""
    return [
        about
        for about in found
        if not required(about) and about["output"]["kind"] == "image" and "prompt" in parameters(about)
    ]


def from_picture(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Jobs that redraw a picture as a text says."""
    return [
        about
        for about in found
        if required(about) == ["image"]
        and about["output"]["kind"] == "image"
        and {"prompt", "denoising_strength"} <= parameters(about).keys()
    ]


def under_mask(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Jobs that redraw the masked part of a picture."""
    return [
        about
        for about in found
        if required(about) == ["image", "mask"] and about["output"]["kind"] == "image" and "prompt" in parameters(about)
    ]


def drawing(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All of these three."""
    return [*from_text(found), *from_picture(found), *under_mask(found)]


def with_models(found: list[dict[str, Any]], source: str) -> list[dict[str, Any]]:
    """Jobs that make a picture of a picture with a model from the list `source`, for example models/upscaler: first
    those that make no more than one, by themselves."""
    able = [about for about in image_to_image(found) if chosen_from(about, source)]
    return sorted(able, key=lambda about: (about["output"]["list"], about["program"]))


def second_pass(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Jobs that do what hires fix does with a picture that is enlarged already, by whatever."""
    able = [about for about in from_picture(found) if "hires_upscaler" in parameters(about)]
    return [about for about in able if "enum" not in parameters(about)["hires_upscaler"]]


def image_to_image(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Jobs that make a picture of a picture and need nothing else."""
    return [about for about in found if required(about) == ["image"] and about["output"]["kind"] == "image"]


def to_text(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Queued jobs that say what a picture shows."""
    return [
        about
        for about in found
        if required(about) == ["image"] and about["output"]["kind"] == "text" and not about["light"]
    ]


def about_checkpoint(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Light jobs that tell of a checkpoint."""
    return [about for about in _called(found, "model_info", light=True) if _of_one_checkpoint(about)]


def unloading(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Jobs that give back the memory of checkpoints: of all, where none is named."""
    return [about for about in _called(found, "unload_models", light=False) if _of_one_checkpoint(about)]


def telling_style(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Light jobs that tell the texts of the style `name`."""
    return [about for about in _called(found, "style", light=True) if [*parameters(about)] == ["name"]]


def telling_how_made(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Light jobs that tell, as JSON, how a picture was made."""
    return [about for about in _called(found, "png_info", light=True) if required(about) == ["image"]]


def _called(found: list[dict[str, Any]], name: str, light: bool) -> list[dict[str, Any]]:
    """Jobs of that name, whosever they are, that give JSON. What looks the same may delete what it is given."""
    return [
        about
        for about in found
        if about["name"].partition(".")[2] == name and about["light"] == light and about["output"]["kind"] == "json"
    ]


def _of_one_checkpoint(about: dict[str, Any]) -> bool:
    return not about["inputs"] and [*parameters(about)] == [chosen_from(about, "models/checkpoint")]


def named(name: str, names: list[str]) -> str | None:
    """The one of `names`, of models, that is called so: as it is, or without its folder or ending where one fits."""
    if name in names:
        return name
    alike = [each for each in names if name in (PurePosixPath(each).name, PurePosixPath(each).stem, model_name(each))]
    return alike[0] if len(alike) == 1 else None


def model_name(name: str) -> str:
    """A1111's name of a model: without the ending, and folders as a part of it."""
    return str(PurePosixPath(name).with_suffix("")).replace("/", "_")


def first(found: list[dict[str, Any]], what: str, takes_and_gives: str) -> dict[str, Any]:
    """The first of `found`; raises NotThere, which says what a plugin that could do `what` has to announce."""
    if found:
        return found[0]
    raise NotThere(
        f"nothing here can {what}: no plugin announces a job with {takes_and_gives}.",
        hint="Put a plugin that does into plugins/; this works as soon as it is there.",
    )
