"""What flows between jobs: images, masks, texts, JSON, audio, video, and lists of them.

A type is an `Annotated` Python type whose annotation, a `Kind`, knows how a value becomes bytes and back.
A plugin writes `image: Image` and gets a `PIL.Image.Image`."""

import types
from collections import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

import PIL.Image

from core.errors import TypeMismatch
from core.library import media


@dataclass(frozen=True)
class Kind:
    """One type of value: `encode(value, texts)` gives the bytes of a file, `decode(bytes)` the value again."""

    name: str
    mime: str
    suffix: str
    encode: Callable[[Any, dict[str, str]], bytes]
    decode: Callable[[bytes], Any]


KINDS = {
    kind.name: kind
    for kind in (
        Kind("image", "image/png", ".png", media.encode_image, media.decode_image),
        Kind("mask", "image/png", ".png", media.encode_mask, media.decode_mask),
        Kind("text", "text/plain", ".txt", media.encode_text, media.decode_text),
        Kind("json", "application/json", ".json", media.encode_json, media.decode_json),
        Kind("audio", "audio/wav", ".wav", media.wav, media.wav),
        Kind("video", "video/mp4", ".mp4", media.mp4, media.mp4),
    )
}
Image = Annotated[PIL.Image.Image, KINDS["image"]]
"""A picture: PIL image, RGB, RGBA or L, 8 bits a sample."""
Mask = Annotated[PIL.Image.Image, KINDS["mask"]]
"""A mask: PIL image in mode L, 255 where something is to happen."""
Text = Annotated[str, KINDS["text"]]
Json = Annotated[Any, KINDS["json"]]
Audio = Annotated[bytes, KINDS["audio"]]
"""The bytes of a WAV file."""
Video = Annotated[bytes, KINDS["video"]]
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
