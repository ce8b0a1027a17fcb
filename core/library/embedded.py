"""What a picture says of itself: A1111's text and our record, as texts of a PNG or in the EXIF of a JPEG or WebP.

EXIF has A1111's `parameters` where A1111 has it, in the UserComment, and our record in the ImageDescription."""

import json
from typing import Any

import PIL.Image
from PIL.ExifTags import IFD, Base
from PIL.TiffTags import TAGS_V2_GROUPS, UNDEFINED, TagInfo

PARAMETERS, RECORD = "parameters", "stable-core"  # chunks of a PNG; core/library/calling.py writes them
UNICODE, ENCODING = b"UNICODE\0", "utf_16_be"  # EXIF 2.3, table 9; the order of bytes is that of A1111, and of Pillow


def claimed_id(texts: dict[str, Any]) -> str | None:
    """The artifact that a file says it is, by the texts inside it. Anybody can write anything there."""
    try:
        record = json.loads(texts.get(RECORD, "{}"))
        claimed = record.get("artifact")
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return claimed if isinstance(claimed, str) and len(claimed) <= 100 else None


def to_exif(texts: dict[str, Any], limit: int | None = None) -> bytes:
    """Both texts as EXIF, empty if there are none. What does not fit into `limit` bytes is left out: first all of the
    record but the id, then A1111's text."""
    parameters, record, claimed = texts.get(PARAMETERS), texts.get(RECORD), claimed_id(texts)
    brief = json.dumps({"artifact": claimed}) if claimed else None
    for pair in ((parameters, record), (parameters, brief), (None, brief)):
        exif = _exif(*pair)
        if limit is None or len(exif) <= limit:
            return exif
    return b""


def _exif(parameters: str | None, record: str | None) -> bytes:
    exif = PIL.Image.Exif()
    if record:
        exif[Base.ImageDescription] = f"{RECORD}:{record}"
    if parameters:
        exif.get_ifd(IFD.Exif)[Base.UserComment] = UNICODE + parameters.encode(ENCODING, "replace")
    # Pillow would write bytes as numbers, which A1111's reader takes for nothing it knows.
    TAGS_V2_GROUPS[IFD.Exif][Base.UserComment] = TagInfo(Base.UserComment, "UserComment", UNDEFINED, 1)
    return exif.tobytes() if parameters or record else b""


def from_exif(picture: PIL.Image.Image) -> dict[str, str]:
    """The texts that `to_exif` has written, by their names in a PNG, and A1111's in its own files."""
    try:
        exif = picture.getexif()
        description, comment = exif.get(Base.ImageDescription), exif.get_ifd(IFD.Exif).get(Base.UserComment)
    except Exception:  # what cameras and editors write is often damaged, and Pillow's reader raises whatever
        return {}
    texts = {}
    if isinstance(description, str) and description.startswith(f"{RECORD}:"):
        texts[RECORD] = description.removeprefix(f"{RECORD}:")
    if isinstance(comment, bytes) and comment.startswith(UNICODE):
        texts[PARAMETERS] = comment.removeprefix(UNICODE).decode(ENCODING, "replace")
    return texts
