"""What flows between jobs: images, masks, texts, JSON, audio, video, and lists of them.

A type is an `Annotated` Python type whose annotation, a `Kind`, knows how a value becomes bytes and back.
A plugin writes `image: Image` and gets a `PIL.Image.Image`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import PIL.Image

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


def fits(given: str, wanted: str) -> bool:
    """Whether an artifact of kind `given` can feed an input of kind `wanted`."""
    return given == wanted or {given, wanted} == {"image", "mask"}
