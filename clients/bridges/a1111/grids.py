"""Grids as files, with the text that tells how they were made."""

import io

import PIL.Image
from PIL.PngImagePlugin import PngInfo

from core.library.grids import Picture, grid, square
from core.library.media import MAX_PIXELS as MOST_PIXELS

__all__ = ["Picture", "grid", "square", "opened", "png", "MOST_PIXELS"]


def opened(data: bytes) -> Picture:
    return PIL.Image.open(io.BytesIO(data)).convert("RGB")


def png(picture: Picture, infotext: str) -> bytes:
    """The file, which tells how the picture was made."""
    out, texts = io.BytesIO(), PngInfo()
    texts.add_itxt("parameters", infotext)
    picture.save(out, "PNG", pnginfo=texts)
    return out.getvalue()
