"""What a request says: its fields, pictures and mask, out of JSON or a form with files."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import pydantic
from fastapi import Request
from pydantic import Field
from starlette.datastructures import UploadFile

from clients.bridges.pictures import from_base64
from clients.python import ARTIFACT_ID, InvalidParams

MOST_PICTURES = 16
SIZE = re.compile(r"(\d{1,5})[xX×](\d{1,5})")
NO_EFFECT = {"quality": ("auto", "standard"), "style": (), "background": ("auto", "opaque"), "input_fidelity": ()}


class Fields(pydantic.BaseModel):
    """What OpenAI's API knows and we heed; all else may be a parameter of the job (`model_extra`)."""

    model_config = pydantic.ConfigDict(extra="allow")

    prompt: str | None = None
    model: str = ""
    n: int = Field(1, ge=1, le=10)
    size: str = "auto"
    response_format: Literal["url", "b64_json"] | None = None
    output_format: Literal["png", "jpeg", "webp"] = "png"
    output_compression: int = Field(100, ge=0, le=100)
    stream: bool = False
    partial_images: int = Field(0, ge=0, le=3)
    quality: str = "auto"
    style: str = ""
    background: str = "auto"
    input_fidelity: str = ""
    moderation: Any = None
    user: Any = None
    safety_identifier: Any = None

    @pydantic.field_validator("size")
    @classmethod
    def _size(cls, size: str) -> str:
        sides = SIZE.fullmatch(size)
        if size != "auto" and not (sides and all(int(side) and int(side) % 8 == 0 for side in sides.groups())):
            raise ValueError("send auto or WIDTHxHEIGHT, both multiples of 8, such as 1024x1024")
        return size if size == "auto" else f"{int(sides[1])}x{int(sides[2])}"

    @property
    def sides(self) -> tuple[int, int] | None:
        """(width, height), None for what is best."""
        return None if self.size == "auto" else tuple(map(int, self.size.split("x")))

    @property
    def by_address(self) -> bool:
        """Whether the answer has addresses. Programs made for dall-e, which is also what no model meant, expect them
        unless they say otherwise; those made for gpt-image always get base64."""
        asked = self.response_format or ("url" if not self.model or self.model.startswith("dall-e") else "b64_json")
        return asked == "url" and not self.stream

    @property
    def without_effect(self) -> list[str]:
        """Names of fields that ask for what no job here does."""
        return [name for name, usual in NO_EFFECT.items() if getattr(self, name) not in ("", *usual)]


@dataclass
class Asked:
    """`pictures` and `mask` are the bytes of files, or the ids of artifacts that are here."""

    fields: Fields
    pictures: list[bytes | str] = field(default_factory=list)
    mask: bytes | str | None = None


async def read(request: Request) -> Asked:
    """Raises InvalidParams, which names the field."""
    if request.headers.get("Content-Type", "").startswith(("multipart/", "application/x-www-form-urlencoded")):
        given = await read_form(request)
    else:
        given = await read_json(request)
    pictures = [picture for name in ("image", "images") for picture in listed(given.pop(name, None))]
    masks = listed(given.pop("mask", None))
    if len(pictures) > MOST_PICTURES:
        raise InvalidParams(f"image: at most {MOST_PICTURES} pictures, got {len(pictures)}.", field="image")
    if len(masks) > 1:
        raise InvalidParams(f"mask: one mask, got {len(masks)}.", field="mask")
    host = request.headers.get("Host", "")
    return Asked(
        fields_of({name: value for name, value in given.items() if value is not None and value != ""}, given),
        [picture_of(picture, "image", host) for picture in pictures],
        picture_of(masks[0], "mask", host) if masks else None,
    )


async def read_json(request: Request) -> dict[str, Any]:
    try:
        given = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError) as error:
        raise InvalidParams(f"the body is not JSON: {str(error)[:200]}.", code="invalid_json") from error
    if not isinstance(given, dict):
        raise InvalidParams("the body has to be one JSON object with the fields of the request.", code="invalid_json")
    return given


async def read_form(request: Request) -> dict[str, Any]:
    """Files as bytes; what is sent several times, or as name[], is a list."""
    given: dict[str, Any] = {}
    async with request.form(max_files=MOST_PICTURES + 2) as form:
        for name, value in form.multi_items():
            value = await value.read() if isinstance(value, UploadFile) else value
            bare = re.sub(r"\[\d*\]$", "", name)
            if name != bare or bare in given:
                value = listed(given.get(bare)) + [value]
            given[bare] = value
    return given


def fields_of(given: dict[str, Any], all: dict[str, Any]) -> Fields:
    """An empty prompt is one; other fields that are empty or null are not given."""
    if isinstance(all.get("prompt"), str):
        given["prompt"] = all["prompt"]
    try:
        return Fields.model_validate(given)
    except pydantic.ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False)
        said = [f"{each['loc'][0]}: {each['msg']}, got {str(each['input'])[:100]!r}." for each in wrong]
        text = " ".join(said).replace("Value error, ", "")  # pydantic's words before ours
        raise InvalidParams(text, field=str(wrong[0]["loc"][0]), code="invalid_value") from error


def picture_of(value: Any, name: str, host: str) -> bytes | str:
    """A file's bytes, base64, a data URL, or {"image_url"} or {"file_id"} with an artifact of this server: nothing is
    fetched from elsewhere, or a request could reach what only this machine can."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        value = value.get("file_id") or value.get("image_url") or value.get("url")
        value = value.get("url") if isinstance(value, dict) else value
    if not isinstance(value, str):
        raise InvalidParams(f"{name}: send a file, base64, or an object with image_url or file_id.", field=name)
    if ARTIFACT_ID.fullmatch(value):
        return value
    if "://" in value[:20] or value.startswith("/artifacts/"):
        return artifact_at(value, name, host)
    return from_base64(value, name)


def artifact_at(address: str, name: str, host: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        parts = urlsplit("")
    id = parts.path.removeprefix("/artifacts/")
    if parts.netloc not in ("", host) or not ARTIFACT_ID.fullmatch(id):
        text = f"{name}: only this server's own artifacts are taken by their address, not {address[:200]!r}."
        raise InvalidParams(text, field=name, hint="Send the picture itself, as a file or as a data URL.")
    return id


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None or value in ("", b"") else [value]
