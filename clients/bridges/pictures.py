"""Pictures as other APIs send them: base64, data URLs, files; checked before they are uploaded."""

import asyncio
import base64
import binascii
import io
from collections.abc import Callable
from typing import Any

import PIL.Image

from clients.python import BadImage, InvalidParams

MOST_PIXELS = 50_000_000  # a file of some kB can unpack to gigabytes
MOST_READ = 150_000_000  # the server's own limit
_unpacking = asyncio.Lock()


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str, field: str) -> bytes:
    """The bytes of base64 or of a data URL. Raises InvalidParams, which names the field."""
    body = text.partition(",")[2] if text[:5].lower() == "data:" else text
    try:
        data = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidParams(f"{field} is no base64: {error}. Send base64 or a data URL.", field=field) from error
    if not data:
        raise InvalidParams(f"{field} is empty. Send a picture as base64 or as a data URL.", field=field)
    return data


def opened(data: bytes, field: str, most: int = MOST_PIXELS) -> PIL.Image.Image:
    """The picture, decoded. Raises BadImage, which names the field."""
    try:
        picture = PIL.Image.open(io.BytesIO(data))
        if picture.width * picture.height > most:
            raise ValueError(f"it has {picture.width}x{picture.height} pixels, and at most {most:,} are taken")
        picture.load()
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        text = f"{field} is not a picture that can be read: {str(error)[:200]}. Send PNG, JPEG or WebP."
        raise BadImage(text, field=field) from error
    return picture


async def unpacked(work: Callable[..., Any], *given: Any) -> Any:
    """What `work` makes of pictures, in a thread; one at a time, as each may take hundreds of megabytes."""
    async with _unpacking:
        return await asyncio.to_thread(work, *given)


def png(picture: PIL.Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
