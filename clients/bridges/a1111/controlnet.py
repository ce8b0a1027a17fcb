"""How the units of A1111's ControlNet extension become parameters and pictures of a job that ControlNets can guide."""

from typing import Any

from clients.bridges import finding
from clients.bridges.pictures import from_base64
from clients.python import AsyncArtifact, AsyncClient, InvalidParams, ModelNotFound

POSITIONS = ("enabled", "module", "model", "weight", "image", "invert_image", "resize_mode", "low_vram")  # of old ones
PREPROCESSORS = {
    "none": "none", "": "none", "canny": "canny", "scribble_xdog": "scribble", "tile_resample": "tile", "mask": "mask",
    "inpaint": "inpaint", "inpaint_only": "inpaint", "inpaint_global_harmonious": "inpaint", "invert": "invert",
    "invert (from white bg & black line)": "invert",
}  # fmt: skip
THRESHOLDS = {"canny": ("low_threshold", "high_threshold"), "scribble": ("line_threshold",), "tile": ("downsampling",)}
RESIZE_MODES = ("just resize", "crop and resize", "resize and fill")
OLD_RESIZE_MODES = {"inner": "crop and resize", "outer": "resize and fill"}  # words in them, of older versions
CONTROL_MODES = ("balanced", "my prompt is more important", "controlnet is more important")
NO_MODEL = (None, "", "None")
UNTOLD = {"image", "input_image", "enabled", "pixel_perfect", "low_vram", "lowvram", "processor_res", "guessmode"}
READ = {"module", "model", "weight", "guidance_start", "guidance_end", "control_mode", "resize_mode", "mask"}
READ |= {"threshold_a", "threshold_b", "guidance"}

Found = tuple[dict[str, Any], dict[str, Any]]


async def units(
    scripts: dict[str, Any], about: dict[str, Any], client: AsyncClient, images: list[AsyncArtifact], ignored: list[str]
) -> Found:
    """The parameters and inputs for what `alwayson_scripts` says; the names of other scripts go to `ignored`.

    `images` is the picture that is redrawn, if there is one: what a unit without a picture is shown."""
    asked = []
    for name, script in scripts.items():
        args = script.get("args", []) if isinstance(script, dict) else script
        if name.casefold() == "controlnet" and "controlnets" in finding.parameters(about):
            asked += [unit for unit in listed(args) if unit.get("enabled", True) and unit.get("model") not in NO_MODEL]
        elif args or name.casefold() != "controlnet":
            ignored.append(f"alwayson_scripts: {name}")
    if not asked:
        return {}, {}
    models = await client.choices("models/controlnet")
    params = [unit_of(unit, place, models, ignored) for place, unit in enumerate(asked)]
    shown = [picture(unit, place) for place, unit in enumerate(asked)]
    if not any(shown):
        return {"controlnets": params}, {}
    if not all(shown) and not images:
        text = "alwayson_scripts: each ControlNet needs its image, as there is none to redraw."
        raise InvalidParams(text, field="alwayson_scripts")
    control = [await client.upload(each, kind="image") if each else images[0] for each in shown]
    return {"controlnets": params}, {"control": control}


def listed(args: Any) -> list[dict[str, Any]]:
    """Units are tables, or their values one after the other as in old versions."""
    if isinstance(args, list) and args and not any(isinstance(each, dict) and "model" in each for each in args):
        starts = [place for place, each in enumerate(args) if isinstance(each, bool)][:1]
        args = [dict(zip(POSITIONS, args[start:], strict=False)) for start in starts]
    return [unit for unit in args if isinstance(unit, dict)] if isinstance(args, list) else []


def unit_of(unit: dict[str, Any], place: int, models: list[str], ignored: list[str]) -> dict[str, Any]:
    name = str(unit.get("model", ""))
    model = finding.named(name.rpartition(" [")[0] if name.endswith("]") else name, models)
    if model is None:
        raise ModelNotFound(f"there is no ControlNet {name[:200]!r}.", hint="Put its file into models/controlnet.")
    module = str(unit.get("module") or "none").casefold()
    preprocessor = PREPROCESSORS.get(module, "none")
    ignored += [f"controlnet {place}: module {module}"] if module not in PREPROCESSORS else []
    ignored += [f"controlnet {place}: {key}" for key in sorted(unit.keys() - UNTOLD - READ) if unit[key]]
    ignored += [f"controlnet {place}: mask"] if unit.get("mask") else []
    found = {
        "model": model,
        "preprocessor": preprocessor,
        "weight": unit.get("weight"),
        "start": unit.get("guidance_start"),
        "end": unit.get("guidance_end", unit.get("guidance")),
        "resize_mode": mode(unit.get("resize_mode"), RESIZE_MODES),
        "control_mode": mode(unit.get("control_mode"), CONTROL_MODES),
    }
    for key, name in zip(("threshold_a", "threshold_b"), THRESHOLDS.get(preprocessor, ()), strict=False):
        value = unit.get(key, -1)
        found[name] = value if isinstance(value, int | float) and value >= 0 else None
    return {name: value for name, value in found.items() if value is not None}


def mode(given: Any, words: tuple[str, ...]) -> str | None:
    """Modes are said by their words or by their number."""
    if isinstance(given, str):
        old = next((word for part, word in OLD_RESIZE_MODES.items() if part in given.casefold()), None)
        return old or (given.casefold() if given.casefold() in words else None)
    return words[given] if isinstance(given, int) and 0 <= given < len(words) else None


def picture(unit: dict[str, Any], place: int) -> bytes | None:
    """What it is shown: base64, or a table with it."""
    given = unit.get("image") or unit.get("input_image")
    given = given.get("image") if isinstance(given, dict) else given
    field = f"alwayson_scripts.controlnet.args.{place}.image"
    return from_base64(given, field) if isinstance(given, str) and given else None
