"""What a result is called in the outputs folder: the setting `filename_pattern`, made safe for every file system."""

import re
import string
import unicodedata

from core.errors import InvalidParams

PLACEHOLDERS = (
    "date", "time", "job", "plugin", "prompt", "seed", "model", "width", "height", "session", "lineage", "owner", "id",
    "index",
)  # fmt: skip
DEFAULT = "{date}/{time}-{job}-{seed}-{prompt}-{id}"
MAX_VALUE, MAX_PART = 80, 180  # bytes of UTF-8; most file systems allow 255 a part
MAX_FOLDERS = 8
FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])", re.IGNORECASE)  # Windows' devices


def check_pattern(pattern: str) -> str:
    """The pattern itself; raises ValueError if it cannot name files."""
    known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise ValueError(f"{error}; write for example {DEFAULT}") from None
    for literal, name, specification, conversion in parts:
        if FORBIDDEN.search(literal):
            raise ValueError('file names cannot have control characters or < > : " | ? * \\; folders end with /')
        if name is not None and (name not in PLACEHOLDERS or specification or conversion):
            raise ValueError(f"{{{name}}} is not a placeholder; known are {known}, without anything else inside")
    folders = pattern.split("/")
    if not all(folders) or {".", ".."} & {folder.strip() for folder in folders}:
        raise ValueError("it must lead into the outputs folder: no / at either end, no //, no . or .. as a folder")
    if len(folders) > MAX_FOLDERS:
        raise ValueError(f"it has {len(folders) - 1} folders, the limit is {MAX_FOLDERS - 1}")
    if all(name is None for _, name, _, _ in string.Formatter().parse(folders[-1])):
        raise ValueError(f"all files of a folder would be called the same; use one of {known} after the last /")
    return pattern


def file_path(pattern: str, values: dict[str, object]) -> str:
    """The relative path, with / and without a suffix, for a checked pattern. What has no value is left out."""
    safe = {name: _value(values.get(name)) for name in PLACEHOLDERS}
    *folders, name = [_part(part.format_map(safe)) for part in pattern.split("/")]
    return "/".join([*filter(None, folders), name or _part(safe["id"]) or "result"])


def called(path: str) -> str:
    """A path as a program wishes it, made safe; raises InvalidParams if nothing is left."""
    parts = [_safe(FORBIDDEN.sub("-", unicodedata.normalize("NFC", part))) for part in path.split("/")]
    if not (parts := [part for part in parts if part]):
        raise InvalidParams(f"{path[:100]!r} cannot be a file's name.", hint='Write for example "folder/name".')
    if len(parts) > MAX_FOLDERS:
        raise InvalidParams(f"{path[:100]!r} has {len(parts) - 1} folders, the limit is {MAX_FOLDERS - 1}.")
    return "/".join(parts)


def _value(value: object) -> str:
    """As a piece of a file name: letters, digits, dots and dashes."""
    text = unicodedata.normalize("NFC", "" if value is None else str(value))
    return _cut(re.sub(r"[^\w.]+", "-", text).strip("-."), MAX_VALUE)


def _part(text: str) -> str:
    """One folder's or file's name: no empty places, no hidden file, nothing that Windows takes for something else."""
    return _safe(re.sub(r"-[-.]*-", "-", text).strip("-"), "-")


def _safe(text: str, more: str = "") -> str:
    text = _cut(text.strip(f" .{more}"), MAX_PART).rstrip(f" .{more}")
    return f"_{text}" if RESERVED.fullmatch(text.split(".")[0].rstrip()) else text


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode("utf-8", "ignore")
