"""Which announced jobs do what another API speaks of: told by what they take, give and let choose, never by name."""

from typing import Any

from clients.python import AsyncClient, ServerError

PICTURES = ("image", "mask")


class NotThere(ServerError):
    """No plugin that is installed does this; the message says what one has to announce."""


async def jobs(client: AsyncClient) -> list[dict[str, Any]]:
    """All announced jobs, each as the server describes it, with its name in full: plugin.job."""
    return [
        about | {"name": f"{plugin['name']}.{about['name']}"}
        for plugin in await client.plugins()
        for about in plugin["jobs"]
    ]


def required(about: dict[str, Any]) -> list[str]:
    """Kinds of the inputs that a job cannot do without."""
    return [port["kind"] for port in about["inputs"].values() if not port["optional"]]


def parameters(about: dict[str, Any]) -> dict[str, Any]:
    """A job's parameters, each with its JSON Schema."""
    return about["params"].get("properties", {})


def choices_from(about: dict[str, Any], name: str) -> str:
    """The list that a parameter's values come from, "" for none."""
    return parameters(about).get(name, {}).get("ui", {}).get("choices_from", "")


def chosen_from(about: dict[str, Any], list: str) -> str | None:
    """The parameter whose values come from `list`, such as models/upscaler."""
    return next((name for name in parameters(about) if choices_from(about, name) == list), None)


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


def with_models(found: list[dict[str, Any]], list: str) -> list[dict[str, Any]]:
    """Jobs that make a picture of a picture with a model from `list`, for example models/upscaler."""
    return [about for about in image_to_image(found) if chosen_from(about, list)]


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


def about_model(found: list[dict[str, Any]], list: str) -> list[dict[str, Any]]:
    """Light jobs that tell of a model from `list`."""
    return [about for about in found if about["light"] and _of_one_model(about, list)]


def unloading(found: list[dict[str, Any]], list: str) -> list[dict[str, Any]]:
    """Jobs that give back the memory of models from `list`: of all, where none is named."""
    return [about for about in found if not about["light"] and _of_one_model(about, list)]


def _of_one_model(about: dict[str, Any], list: str) -> bool:
    takes_more = about["inputs"] or about["program"] or [*parameters(about)] != [chosen_from(about, list)]
    return not takes_more and about["output"]["kind"] == "json"


def light_of_picture(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Light jobs that say something about a picture as JSON, such as how it was made."""
    return [
        about
        for about in found
        if about["light"] and required(about) == ["image"] and about["output"]["kind"] == "json"
    ]


def first(found: list[dict[str, Any]], what: str, takes_and_gives: str) -> dict[str, Any]:
    """The first of `found`; raises NotThere, which says what a plugin that could do `what` has to announce."""
    if found:
        return found[0]
    raise NotThere(
        f"nothing here can {what}: no plugin announces a job with {takes_and_gives}.",
        hint="Put a plugin that does into plugins/; this works as soon as it is there.",
    )
