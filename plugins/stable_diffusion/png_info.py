"""What a picture says about how it was made, as a form that draws it again. Strangers wrote it: nothing here raises.

Read are, the first one there is: our own record; A1111's text, from PNG, JPEG, WebP and GIF; NovelAI's; ComfyUI's."""

import json
from collections.abc import Callable
from typing import Any

import PIL.Image
from PIL.ExifTags import IFD, Base

from core.library.models import Models

from . import comfyui, novelai
from .forms import JOBS, SERIES, params_of, valid
from .infotext import parse
from .names import entry_named

Found = dict[str, Any]
MAX_DEPTH = 64  # of JSON: deeper ones could not be sent, either
MAX_TEXT = 2_000_000  # characters; longer ones are not read
PLUGIN = "stable_diffusion."
KINDS = {"model": "checkpoint", "refiner": "checkpoint", "vae": "vae", "ip_adapter": "ip_adapter"}


def read(picture: PIL.Image.Image, models: Models | None = None) -> Found:
    """{"source": "stable-core", "a1111", "novelai", "comfyui" or None, "infotext": A1111's text or None,
    "form": {"job", "params", "inputs"} or None, "notes": what could not be translated, in words}.

    A form draws this one picture and can be submitted as it is, unless a note says what to choose first: a model that
    is not named, a picture that is not inside. It has the full names of those models that are among `models`."""
    texts = _texts(picture)
    for source, reader in READERS.items():
        if found := reader(texts, picture.size):
            _name_models(found["form"], models)
            return {"source": source} | found
    return _found(None, None, ["The picture does not say how it was made."]) | {"source": None}


def _name_models(form: Found | None, models: Models | None) -> None:
    for parameter, kind in KINDS.items() if form and models else ():
        if name := form["params"].get(parameter):
            form["params"][parameter] = entry_named(name, models.entries(kind)) if isinstance(name, str) else name


def record(picture: PIL.Image.Image) -> Found:
    """Our own record inside, of which nothing is certain; empty if there is none."""
    return _json(_texts(picture).get("stable-core"))


def _found(infotext: str | None, form: Found | None, notes: list[str]) -> Found:
    clean = infotext and infotext.encode("utf-8", "replace").decode()
    return {"infotext": clean, "form": form, "notes": notes}


def _texts(picture: PIL.Image.Image) -> dict[str, str]:
    """The texts of a PNG by their keys, and by the same keys what other formats have in their EXIF or comment."""
    picture.load()  # a PNG may have texts behind its pixels
    texts = {key: value for key, value in picture.info.items() if isinstance(key, str) and isinstance(value, str)}
    comment = picture.info.get("comment", b"")  # of a GIF
    found = _exif(picture) | ({"comment": comment.decode("utf-8", "replace")} if isinstance(comment, bytes) else {})
    texts = {key: text for key, text in (found | texts).items() if len(text) <= MAX_TEXT}
    elsewhere = [texts[key] for key in ("UserComment", "comment") if key in texts]
    whole = [text for text in (texts.get("parameters", ""), *elsewhere) if "Steps" in parse(text)]
    if whole or texts.get("UserComment"):  # else it is a camera's, or an editor's
        texts["parameters"] = whole[0] if whole else ""
    return texts


def _exif(picture: PIL.Image.Image) -> dict[str, str]:
    """What others write there; our own texts are in the picture's info already, see core/library/embedded.py."""
    try:
        exif = picture.getexif()
        values, comment = dict(exif), exif.get_ifd(IFD.Exif).get(Base.UserComment)
    except Exception:  # Pillow raises whatever it likes on damaged EXIF
        return {}
    texts = {"UserComment": _decoded(comment)} if isinstance(comment, bytes) else {}
    for value in values.values():
        key, colon, text = value.partition(":") if isinstance(value, str) else ("", "", "")
        if colon and key == "prompt":  # ComfyUI's Model
            texts[key] = text
    return texts


def _decoded(comment: bytes) -> str:
    """EXIF's UserComment: eight bytes tell the encoding, but not the order of bytes. Most of our characters are ASCII,
    so the zeros tell it."""
    code, text = comment[:8], comment[8:]
    if code == b"UNICODE\0":
        big = text[0::2].count(0) >= text[1::2].count(0)
        return text.decode("utf-16-be" if big else "utf-16-le", "replace").strip("\ufeff\0")
    known = code in (b"ASCII\0\0\0", bytes(8))
    return (text if known else comment).decode("utf-8", "replace").strip("\0")


def _json(text: str | None) -> Found:
    """The object in a text; an empty one if there is none."""
    try:
        value = level = json.loads(text or "")
    except (ValueError, RecursionError):
        return {}
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, (dict, list))]
        level = [child for children in inner for child in children]
    return value if isinstance(value, dict) and not level else {}


def _own(texts: dict[str, str], size: tuple[int, int]) -> Found | None:
    """Our record: with core/library/calling.py's `name`, `params`, `inputs` and `facts` in full, or only `artifact`."""
    record = _json(texts.get("stable-core"))
    name, params = record.get("name"), record.get("params")
    if not isinstance(name, str) or not isinstance(params, dict):
        if "artifact" not in record or "parameters" in texts:
            return None
        note = f"It is the result {str(record['artifact'])[:100]} of a stable-core server, which knows the rest."
        return _found(None, None, [note])
    facts = record["facts"] if isinstance(record.get("facts"), dict) else {}
    infotext = facts["infotext"] if isinstance(facts.get("infotext"), str) else texts.get("parameters")
    notes: list[str] = []
    job = name.removeprefix(PLUGIN)
    if job in JOBS:
        params = valid(job, params | _of_this_picture(job, facts, infotext, params), notes)
    elif "." in job:
        notes.append(f"{name[:100]} is a job of another plugin; its parameters were not checked.")
    return _found(infotext, {"job": job, "params": params, "inputs": _inputs(record, notes)}, notes)


def _of_this_picture(job: str, facts: Found, infotext: str | None, params: Found) -> Found:
    """What this picture has other than its job: a seed, one of the batch, and texts in which the choices are made."""
    if job in SERIES:
        return {}
    stated = params_of(parse(infotext or ""))[1]
    own = {"batch_size": 1, "n_iter": 1}
    own |= {key: facts[key] for key in ("seed", "variation_seed") if key in facts}
    if infotext and stated["seed"] >= 0:
        own |= {key: stated[key] for key in ("seed", "variation_seed") if stated[key] >= 0}
        texts = {key: stated[key] for key in ("prompt", "negative_prompt")}
        texts |= {key: stated[key] for key in ("hires_prompt", "hires_negative_prompt") if stated.get(key)}
        if any(params.get(key) != text for key, text in texts.items()):
            own |= texts | {"styles": [], "dynamic_prompts": False}
    return own


def _inputs(record: Found, notes: list[str]) -> dict[str, list[str]]:
    """The ids of the artifacts that went in; but not of a text, as the prompt of the form is what was drawn of it."""
    inputs = record["inputs"] if isinstance(record.get("inputs"), dict) else {}
    ids = {}
    for name, items in inputs.items():
        if name == "text":
            continue
        items = items if isinstance(items, list) else []
        ids[name] = [item["id"] for item in items if isinstance(item, dict) and isinstance(item.get("id"), str)]
        if len(ids[name]) > 1 and name not in ("control", "reference"):
            notes.append(f"{name[:100]} had {len(ids[name])} items, each made into a picture of its own.")
    return ids


def _a1111(texts: dict[str, str], size: tuple[int, int]) -> Found | None:
    text = texts.get("parameters", "")
    return None if _json(text) or not text.strip() else _translated(text, [])  # Fooocus has JSON there


def _novelai(texts: dict[str, str], size: tuple[int, int]) -> Found | None:
    comment = _json(texts.get("Comment")) if texts.get("Software") == "NovelAI" else {}
    return _translated(*novelai.infotext_of(comment, texts.get("Description", ""), size)) if comment else None


def _comfyui(texts: dict[str, str], size: tuple[int, int]) -> Found | None:
    graph = _json(texts.get("prompt"))
    text, notes = comfyui.infotext_of(graph) if graph else (None, [])
    if text is None:
        return _found(None, None, notes) if notes else None
    return _translated(text, notes)


def _translated(text: str, notes: list[str]) -> Found:
    job, params, more = params_of(parse(text))
    if job != "txt2img":
        mask = " and its mask" if job == "inpaint" else ""
        more.append(f"The picture that it was made from{mask} is not inside. Choose it.")
    return _found(text, {"job": job, "params": params, "inputs": {}}, notes + more)


READERS: dict[str, Callable[[dict[str, str], tuple[int, int]], Found | None]] = {
    "stable-core": _own,
    "a1111": _a1111,
    "novelai": _novelai,
    "comfyui": _comfyui,
}
