"""How a ControlNet stands in A1111's text about a picture, as its extension writes it."""

import re
from typing import Any

MODULES = {  # our preprocessors, and what they are called there
    "none": "none", "canny": "canny", "scribble": "scribble_xdog", "tile": "tile_resample", "mask": "mask",
    "inpaint": "inpaint_only", "invert": "invert (from white bg & black line)",
}  # fmt: skip
OTHERS = {"": "none", "inpaint": "inpaint", "inpaint_global_harmonious": "inpaint", "invert": "invert"}  # also read
THRESHOLDS = {"canny": ("low_threshold", "high_threshold"), "scribble": ("line_threshold",), "tile": ("downsampling",)}
RESIZE = {"inner": "crop and resize", "outer": "resize and fill"}  # in the names of older versions
MODES = ("Balanced", "My prompt is more important", "ControlNet is more important")
RESIZE_MODES = ("Just Resize", "Crop and Resize", "Resize and Fill")
FIELD = re.compile(r"ControlNet(?: |-)?(\d)")  # its number from 0
ITEM = re.compile(r"([A-Za-z][\w /]*): *(\([^)]*\)|(?:[^,(]|\([^)]*\))*)")
MAX_TEXT = 2000  # characters of one that are read
MODEL = re.compile(r"(.*?)(?: *\[[0-9a-f]+\])?")  # without its hash


def fields(units: list[dict[str, Any]], hashes: dict[str, str]) -> dict[str, str]:
    """A1111's fields for the ControlNets of a picture: each one is a list of fields itself."""
    return {f"ControlNet {k}": _written(unit, hashes.get(unit["model"])) for k, unit in enumerate(units)}


def _written(unit: dict[str, Any], found: str | None) -> str:
    names = THRESHOLDS.get(unit["preprocessor"], ())
    thresholds = {f"Threshold {letter}": unit[name] for letter, name in zip("AB", names, strict=False)}
    items = {
        "Module": MODULES[unit["preprocessor"]],
        "Model": f"{unit['model']} [{found}]" if found else unit["model"],
        "Weight": unit["weight"],
        "Resize Mode": _named(RESIZE_MODES, unit["resize_mode"]),
        **thresholds,
        "Guidance Start": unit["start"],
        "Guidance End": unit["end"],
        "Pixel Perfect": True,  # it sees the picture in the size that is drawn
        "Control Mode": _named(MODES, unit["control_mode"]),
    }
    return ", ".join(f"{key}: {_number(value)}" for key, value in items.items())


def _number(value: Any) -> str:
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def units(told: dict[str, str], notes: list[str]) -> list[dict[str, Any]]:
    """The ControlNets among A1111's fields, with notes on what they do not say or we do not have. Never raises."""
    read = []
    for key in sorted(key for key in told if FIELD.fullmatch(key)):
        items = {name.strip().casefold(): value.strip() for name, value in ITEM.findall(told[key][:MAX_TEXT])}
        if items.get("module", "").startswith("ip-adapter"):
            model = items.get("model", "")[:100]
            notes.append(f"{key} is the IP-Adapter {model}. Choose it as ip_adapter, and its pictures (reference).")
        else:
            read.append(_read(key, items, notes))
    if read:
        notes.append("The pictures that its ControlNets were shown are not inside. Choose them (control).")
    return read


def _read(key: str, items: dict[str, str], notes: list[str]) -> dict[str, Any]:
    module = items.get("module", items.get("preprocessor", "")).casefold()
    ours = {theirs: our for our, theirs in MODULES.items()} | OTHERS
    preprocessor = ours.get(module, "none")
    if module not in ours:
        notes.append(f"{key}: the preprocessor {module[:100]} is not here. Give what it makes as its control picture.")
    between = _numbers(items.get("starting/ending", ""))
    start, end = between if len(between) == 2 else ("0", "1")
    # Old versions: "(resolution, A, B)".
    thresholds = (_numbers(items.get("preprocessor params", "")) + ["", "", ""])[1:3]
    unit = {
        "preprocessor": preprocessor,
        "model": MODEL.fullmatch(items.get("model", ""))[1],
        "weight": items.get("weight", "1"),
        "start": items.get("guidance start", start),
        "end": items.get("guidance end", end),
        "control_mode": items.get("control mode", MODES[0]).casefold(),
        "resize_mode": _resize_mode(items.get("resize mode", RESIZE_MODES[1]).casefold()),
    }
    for letter, name, old in zip("ab", THRESHOLDS.get(preprocessor, ()), thresholds, strict=False):
        unit[name] = items.get(f"threshold {letter}", old).removesuffix(".0")
    return {name: value for name, value in unit.items() if value != ""}


def _resize_mode(text: str) -> str:
    return next((ours for word, ours in RESIZE.items() if word in text), text)


def _numbers(text: str) -> list[str]:
    """Of "(0, 1)"."""
    return re.findall(r"-?[\d.]+", text)[:3] if text.startswith("(") else []


def _named(names: tuple[str, ...], ours: str) -> str:
    return next(name for name in names if name.casefold() == ours)
