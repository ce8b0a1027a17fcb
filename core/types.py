"""What flows between jobs: images, masks, texts, JSON, audio, video, and lists of them.

A type is an `Annotated` Python type whose annotation, a `Kind`, knows how a value becomes bytes and back.
A plugin writes `image: Image` and gets a `PIL.Image.Image`."""

import io
import json
import types
from collections import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

import PIL.Image
import PIL.ImageOps
import PIL.PngImagePlugin

from core.errors import BadImage, TooLarge, TypeMismatch

MAX_PIXELS = 150_000_000  # refused before a pixel is decoded: a bomb of a few kB can unpack to gigabytes
MAX_TEXT_CHUNK = 500_000  # characters; Pillow refuses files whose text chunks exceed 1 MB


@dataclass(frozen=True)
class Kind:
    """One type of value: `encode(value, metadata)` gives the bytes of a file, `decode` the value again.

    Both raise TypeMismatch, BadImage or TooLarge."""

    name: str
    mime: str
    suffix: str
    encode: Callable[[Any, dict[str, str]], bytes]
    decode: Callable[[bytes], Any]


def open_image(data: bytes) -> PIL.Image.Image:
    """The picture in `data`, its header read and its size checked, not decoded yet."""
    try:
        picture = PIL.Image.open(io.BytesIO(data))
    except Exception as error:
        raise BadImage(f"these {len(data)} bytes are not a picture: {error}. Send PNG, JPEG, WebP or GIF.") from error
    if picture.width * picture.height > MAX_PIXELS:
        raise TooLarge(f"a picture of {picture.width}x{picture.height} is over the limit of {MAX_PIXELS:,} pixels.")
    return picture


def decode_image(data: bytes) -> PIL.Image.Image:
    """Upright RGB, RGBA or L picture; `info` keeps the file's texts. Turns phone photos by their EXIF."""
    picture = open_image(data)
    try:
        picture.load()
        upright = PIL.ImageOps.exif_transpose(picture)
    except Exception as error:
        raise BadImage(f"the {picture.format} picture is damaged: {error}. Export it again.") from error
    if upright.mode in ("RGB", "RGBA", "L"):
        return upright
    if upright.mode.startswith("I;16") or upright.mode in ("I", "F"):  # 16 bits a sample: keep the upper eight
        return upright.convert("F").point(lambda value: value / 257).convert("L")
    return upright.convert("RGBA" if "transparency" in picture.info or upright.mode in ("LA", "PA") else "RGB")


def encode_image(picture: PIL.Image.Image, metadata: dict[str, str]) -> bytes:
    if not isinstance(picture, PIL.Image.Image):
        raise TypeMismatch(f"expected a PIL image, got {type(picture).__name__}.")
    if picture.mode not in ("RGB", "RGBA", "L"):
        picture = picture.convert("RGB")
    chunks = PIL.PngImagePlugin.PngInfo()
    for key, text in metadata.items():
        chunks.add_itxt(key, text[:MAX_TEXT_CHUNK])
    out = io.BytesIO()
    picture.save(out, "PNG", pnginfo=chunks, compress_level=4)
    return out.getvalue()


def encode_text(text: str, metadata: dict[str, str]) -> bytes:
    if not isinstance(text, str):
        raise TypeMismatch(f"expected text, got {type(text).__name__}.")
    return text.encode("utf-8", "replace")


def decode_text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TypeMismatch(f"the text is not UTF-8: {error}.") from error


def encode_json(value: Any, metadata: dict[str, str]) -> bytes:
    try:
        return json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeMismatch(f"expected a JSON value: {error}.") from error


def decode_json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise TypeMismatch(f"the bytes are not JSON: {error}.") from error


def _check_magic(name: str, signatures: tuple[tuple[int, bytes], ...]) -> Callable[..., bytes]:
    def check(data: bytes, metadata: dict[str, str] | None = None) -> bytes:
        if isinstance(data, bytes) and any(data[at : at + len(magic)] == magic for at, magic in signatures):
            return data
        raise TypeMismatch(f"expected the bytes of a file with {name}, got something else.")

    return check


_wav = _check_magic("WAV audio", ((8, b"WAVE"),))
_mp4 = _check_magic("MP4 video", ((4, b"ftyp"),))

IMAGE = Kind("image", "image/png", ".png", encode_image, decode_image)
MASK = Kind(
    "mask",
    "image/png",
    ".png",
    lambda picture, metadata: encode_image(picture.convert("L"), metadata),
    lambda data: decode_image(data).convert("L"),
)
TEXT = Kind("text", "text/plain; charset=utf-8", ".txt", encode_text, decode_text)
JSON = Kind("json", "application/json", ".json", encode_json, decode_json)
AUDIO = Kind("audio", "audio/wav", ".wav", _wav, _wav)
VIDEO = Kind("video", "video/mp4", ".mp4", _mp4, _mp4)
KINDS = {kind.name: kind for kind in (IMAGE, MASK, TEXT, JSON, AUDIO, VIDEO)}

Image = Annotated[PIL.Image.Image, IMAGE]
"""A picture: PIL image, RGB, RGBA or L, 8 bits a sample."""
Mask = Annotated[PIL.Image.Image, MASK]
"""A mask: PIL image in mode L, 255 where something is to happen."""
Text = Annotated[str, TEXT]
Json = Annotated[Any, JSON]
Audio = Annotated[bytes, AUDIO]
"""The bytes of a WAV file."""
Video = Annotated[bytes, VIDEO]
"""The bytes of an MP4 file."""


def port(annotation: Any) -> dict[str, Any]:
    """{"kind", "list", "optional"} of an input's or output's annotation; raises TypeMismatch for other types.

    A generator of Images counts as a list of them."""
    if isinstance(kind := getattr(annotation, "__metadata__", (None,))[0], Kind):
        return {"kind": kind.name, "list": False, "optional": False}
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType) and len(args) == 2 and type(None) in args:
        return port(args[0] if args[1] is type(None) else args[1]) | {"optional": True}
    if origin in (list, abc.Iterator, abc.Iterable, abc.Generator):
        return port(args[0]) | {"list": True}
    if annotation is str:
        return port(Text)
    raise TypeMismatch(f"{annotation!r} cannot flow between jobs. Use one of {', '.join(KINDS)}, lists or | None.")


def fits(given: str, wanted: str) -> bool:
    """Whether an artifact of kind `given` can feed an input of kind `wanted`."""
    return given == wanted or {given, wanted} == {"image", "mask"}
