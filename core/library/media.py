"""How values become the bytes of files and back: pictures, texts, JSON, sounds, films.

`encode_X(value, texts)` and `decode_X(data)` raise TypeMismatch, BadImage or TooLarge."""

import io
import json
from collections.abc import Callable
from typing import Any

import PIL.Image
import PIL.ImageOps
import PIL.PngImagePlugin

from core.errors import BadImage, TooLarge, TypeMismatch
from core.library import embedded

MAX_PIXELS = 150_000_000  # refused before a pixel is decoded: a bomb of a few kB can unpack to gigabytes
PIL.Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # Pillow's own guard would warn earlier
MAX_TEXT_CHUNK = 500_000  # characters; Pillow refuses files whose text chunks exceed 1 MB
MAX_EXIF = {"jpeg": 65_533, "webp": None}  # bytes: a JPEG has it in one segment
MAX_SIDE = {"jpeg": 65_500, "webp": 16_383}  # pixels
THUMBNAIL_EFFORT = 2  # of 0 to 6; twice as quick as WebP's usual 4 for a twentieth more bytes
SUFFIXES = {"jpeg": ".jpg", "webp": ".webp"}


def open_image(data: bytes) -> PIL.Image.Image:
    """The picture in `data`, its header read and its size checked, not decoded yet."""
    try:
        picture = PIL.Image.open(io.BytesIO(data))
    except PIL.Image.DecompressionBombError as error:
        raise TooLarge(f"the picture is over the limit of {MAX_PIXELS:,} pixels: {error}") from error
    except PIL.UnidentifiedImageError as error:  # its words name an object of ours
        raise BadImage(f"these {len(data)} bytes are not a picture. Send PNG, JPEG, WebP or GIF.") from error
    except Exception as error:
        raise BadImage(f"the picture is damaged: {error}. Send PNG, JPEG, WebP or GIF.") from error
    if picture.width * picture.height > MAX_PIXELS:
        raise TooLarge(f"a picture of {picture.width}x{picture.height} is over the limit of {MAX_PIXELS:,} pixels.")
    return picture


def decode_image(data: bytes, side: int | None = None) -> PIL.Image.Image:
    """Upright RGB, RGBA or L picture; `info` keeps the file's texts, those in its EXIF, too. Turns phone photos by
    their EXIF. With `side`, it is made smaller until neither side is longer than that."""
    picture = open_image(data)
    try:
        if side and picture.mode in ("RGB", "RGBA", "L"):  # as early as can be, a JPEG while it is decoded
            picture.thumbnail((side, side), reducing_gap=2)
        picture.load()
        picture.info = embedded.from_exif(picture) | picture.info
        upright = PIL.ImageOps.exif_transpose(picture)
    except Exception as error:
        raise BadImage(f"the {picture.format} picture is damaged: {error}. Export it again.") from error
    if upright.mode.startswith("I;16") or upright.mode in ("I", "F"):  # 16 bits a sample: keep the upper eight
        upright = upright.convert("F").point(lambda value: value / 257).convert("L")
    elif upright.mode not in ("RGB", "RGBA", "L"):
        upright = upright.convert("RGBA" if "transparency" in picture.info or upright.mode in ("LA", "PA") else "RGB")
    if side:
        upright.thumbnail((side, side), reducing_gap=2)
    return upright


def encode_image(picture: PIL.Image.Image, texts: dict[str, str]) -> bytes:
    if not isinstance(picture, PIL.Image.Image):
        raise TypeMismatch(f"expected a PIL image, got {type(picture).__name__}.")
    if picture.mode not in ("RGB", "RGBA", "L"):
        picture = picture.convert("RGB")
    chunks = PIL.PngImagePlugin.PngInfo()
    for key, text in texts.items():
        chunks.add_itxt(key, text[:MAX_TEXT_CHUNK])
    out = io.BytesIO()
    picture.save(out, "PNG", pnginfo=chunks, compress_level=4)
    return out.getvalue()


def convert(data: bytes, format: str, quality: int, side: int | None = None) -> bytes:
    """The picture in `data` as a "jpeg", where what is transparent becomes white, or a "webp"; quality 1 to 100.

    A1111's text and our record go along, if they are there, and nothing else that is written inside. With `side` it is
    a thumbnail, without them: its longer side is at most that."""
    picture, out = decode_image(data, side), io.BytesIO()
    if max(picture.size) > MAX_SIDE[format]:
        size = f"{picture.width}x{picture.height}"
        raise TooLarge(f"the picture has {size} pixels, a {format} at most {MAX_SIDE[format]:,} on a side.")
    exif = b"" if side else embedded.to_exif(picture.info, MAX_EXIF[format])
    profile = picture.info.get("icc_profile", b"")
    if profile[16:20] == b"CMYK":  # of colours that it has no more
        profile = b""
    if format == "jpeg" and picture.mode == "RGBA":
        white = PIL.Image.new("RGB", picture.size, "white")
        white.paste(picture.convert("RGB"), mask=picture.getchannel("A"))
        picture = white
    picture.info = {}
    effort = {"method": THUMBNAIL_EFFORT} if side and format == "webp" else {}
    picture.save(out, format, quality=quality, exif=exif, icc_profile=profile, **effort)
    return out.getvalue()


def encode_text(text: str, texts: dict[str, str]) -> bytes:
    if not isinstance(text, str):
        raise TypeMismatch(f"expected text, got {type(text).__name__}.")
    return text.encode("utf-8", "replace")


def decode_text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TypeMismatch(f"the text is not UTF-8: {error}.") from error


def encode_json(value: Any, texts: dict[str, str]) -> bytes:
    try:
        return json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeMismatch(f"expected a JSON value: {error}.") from error


def decode_json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise TypeMismatch(f"the bytes are not JSON: {error}.") from error


def check_magic(name: str, signatures: tuple[tuple[int, bytes], ...]) -> Callable[..., bytes]:
    def check(data: bytes, texts: dict[str, str] | None = None) -> bytes:
        if isinstance(data, bytes) and any(data[at : at + len(magic)] == magic for at, magic in signatures):
            return data
        raise TypeMismatch(f"expected the bytes of a file with {name}, got something else.")

    return check


wav = check_magic("WAV audio", ((8, b"WAVE"),))
mp4 = check_magic("MP4 video", ((4, b"ftyp"),))


def encode_mask(picture: PIL.Image.Image, texts: dict[str, str]) -> bytes:
    return encode_image(picture.convert("L") if isinstance(picture, PIL.Image.Image) else picture, texts)


def decode_mask(data: bytes) -> PIL.Image.Image:
    return decode_image(data).convert("L")
