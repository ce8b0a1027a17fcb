"""How A1111's fields and the parameters of jobs translate into each other: one table, used in both directions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pydantic

from . import controlnet_text
from .infotext import DEFAULTS, VERSION, release
from .names import CLASSIFIER_FREE, EXTENSIONS, NONE, USES_ENSD, canonical, canonical_schedule
from .options import (
    Alternative,
    Drawing,
    HiresFix,
    ImageToImage,
    Inpaint,
    Interpolate,
    Loopback,
    Outpaint,
    SdUpscale,
    TextToImage,
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A field of A1111 and the parameter that it stands for."""

    key: str
    parameter: str
    default: Any = None  # this value is not written
    words: Mapping[Any, str] = field(default_factory=dict)  # what A1111 calls the values, if it is something else
    when: str = ""  # the field is written only if this parameter, where the job has it, is on


ROWS = (
    Row("Steps", "steps"),
    Row("CFG scale", "cfg_scale"),
    Row("Image CFG scale", "image_cfg_scale", 1.5),
    Row("Seed", "seed"),
    Row("Model", "model"),
    Row("VAE", "vae", ""),
    Row("Refiner switch at", "refiner_switch_at"),
    Row("Variation seed", "variation_seed", when="variation_strength"),
    Row("Variation seed strength", "variation_strength", 0),
    Row("Denoising strength", "denoising_strength", when="hires"),
    Row("Clip skip", "clip_skip", 1),
    Row("ENSD", "ensd", 0),
    Row("RNG", "noise_source", "GPU"),
    Row("NGMS", "ngms", 0),
    Row("Tiling", "tiling", False),
    Row("Hires upscale", "hires_scale", when="hires"),
    Row("Hires steps", "hires_steps", 0, when="hires"),
    Row("Hires upscaler", "hires_upscaler", when="hires"),
    Row("Hires CFG Scale", "hires_cfg_scale", 0, when="hires"),
    Row("Hires prompt", "hires_prompt", "", when="hires"),
    Row("Hires negative prompt", "hires_negative_prompt", "", when="hires"),
    Row("Mask blur", "mask_blur"),
    Row("Mask mode", "invert_mask", False, {True: "Inpaint not masked", False: "Inpaint masked"}),
    Row("Masked content", "fill", "original"),
    Row("Inpaint area", "only_masked", False, {True: "Only masked", False: "Whole picture"}),
    Row("Masked area padding", "only_masked_padding", when="only_masked"),
    Row("Noise multiplier", "noise_multiplier", 1),
    Row("Eta", "eta", -1),
    Row("Sigma churn", "s_churn", 0),
    Row("Sigma tmin", "s_tmin", 0),
    Row("Sigma tmax", "s_tmax", 0),
    Row("Sigma noise", "s_noise", 1),
    Row("Schedule max sigma", "sigma_max", 0),
    Row("Schedule min sigma", "sigma_min", 0),
    Row("Schedule rho", "rho", 0),
    Row(
        "Emphasis", "emphasis", "original",
        {"original": "Original", "no norm": "No norm", "ignore": "Ignore", "none": "None", "comfyui": "ComfyUI"},
    ),
    # What A1111 does not write, although the picture depends on it:
    Row("Resize mode", "resize_mode", "just resize"),
    Row("Fix steps", "fix_steps", False),
    Row("Color correction", "color_correction", False),
    Row("CFG rescale", "cfg_rescale", 0),
    Row("Comma padding backtrack", "comma_backtrack", 20),
    Row("IP-Adapter", "ip_adapter", ""),
    Row("IP-Adapter weight", "ip_adapter_weight", when="ip_adapter"),
    Row("IP-Adapter start", "ip_adapter_start", 0, when="ip_adapter"),
    Row("IP-Adapter end", "ip_adapter_end", 1, when="ip_adapter"),
    # Of A1111's scripts:
    Row("SD upscale overlap", "overlap"),
    Row("SD upscale upscaler", "upscaler"),
    Row("SD upscale scale", "scale"),
    Row("Decode prompt", "original_prompt"),
    Row("Decode negative prompt", "original_negative_prompt"),
    Row("Decode CFG scale", "decode_cfg_scale"),
    Row("Decode steps", "decode_steps"),
    Row("Randomness", "randomness"),
    # Of extensions:
    Row("Guidance", "guidance", CLASSIFIER_FREE),
    Row("Conditioning", "conditioning", NONE),
    *(
        Row(extension.key(option).replace("_", " ").capitalize(), extension.key(option), default)
        for extension in EXTENSIONS.values()
        for option, (_, default, _) in extension.options.items()
    ),
)  # fmt: skip
SIZES = {
    "Size": ("width", "height"),
    "Seed resize from": ("seed_resize_width", "seed_resize_height"),
    "Hires resize": ("hires_width", "hires_height"),
}
FACTS = {  # a fact and the field it is written as
    "model_hash": "Model hash", "vae_hash": "VAE hash", "lora_hashes": "Lora hashes", "ti_hashes": "TI hashes",
    "wildcard_prompt": "Wildcard prompt",
}  # fmt: skip
SCHEDULE_WORDS = {
    "karras": "Karras", "exponential": "Exponential", "polyexponential": "Polyexponential",
    "sgm uniform": "SGM Uniform", "simple": "Simple", "beta": "Beta", "ddim": "DDIM", "same": None,
}  # fmt: skip
AUTOMATIC = {  # what A1111 takes for "Automatic" since 1.9, of samplers that do not take "Uniform"
    "DPM++ 2M": "karras", "DPM++ SDE": "karras", "DPM++ 2M SDE": "exponential", "DPM++ 2M SDE Heun": "exponential",
    "DPM++ 2S a": "karras", "DPM++ 3M SDE": "exponential", "DPM2": "karras", "DPM2 a": "karras", "Restart": "karras",
}  # fmt: skip
TELLING = {"Version", "User", "Init image hash", "Prompt", "Negative prompt", *FACTS.values()}
HASHED = re.compile(r" \[[0-9a-f]{8,}\]$")  # what A1111 adds to a model's name
CHOOSING = re.compile(r"[{}$]|__")  # what `dynamic_prompts` would choose from
JOBS: dict[str, type[Drawing]] = {
    "txt2img": TextToImage, "img2img": ImageToImage, "inpaint": Inpaint, "outpaint": Outpaint, "hires_fix": HiresFix,
    "loopback": Loopback, "sd_upscale": SdUpscale, "img2img_alternative": Alternative, "interpolate": Interpolate,
}  # fmt: skip
SERIES = {"loopback", "interpolate"}  # whose pictures are not drawn one by one
MAX_NOTES = 20  # about fields that nobody knows


def fields_of(params: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """A1111's fields for one picture, for `infotext`; None for those that are not written.

    `params` are those of its job, complete. `facts` are about this picture, and win: seed, variation_seed, model,
    those of FACTS (hashes as {name: hash}), and width and height where the parameters have 0."""
    size = {side: params.get(side) or facts.get(side) for side in ("width", "height")}
    of = {**params, **{key: value for key, value in facts.items() if key not in size}, **size}
    rows = {row.key: _written(row, of) for row in ROWS}
    sizes = {key: f"{of[w]}x{of[h]}" for key, (w, h) in SIZES.items() if of.get(w) or of.get(h)}
    samplers = _samplers_written(of)
    told = {key: _joined(facts.get(fact)) for fact, key in FACTS.items()}
    controls = controlnet_text.fields(of.get("controlnets", []), facts.get("controlnet_hashes", {}))
    fields = rows | sizes | samplers | told | controls | {"Version": VERSION}
    if not (of.get("seed_resize_width") and of.get("seed_resize_height")):
        fields.pop("Seed resize from", None)
    # A1111 writes these if it came to the refiner's turn.
    fields["Refiner"] = f"{of['refiner']} [{of['refiner_hash']}]" if of.get("refiner_hash") else None
    if not fields["Refiner"]:
        fields["Refiner switch at"] = None
    if not _ensd_matters(of):
        fields["ENSD"] = None
    if of.get("method") == "mk2":
        fields["Masked content"] = None  # it begins with noise of its own, which A1111 has as "original"
    if not of.get("hires"):
        fields.pop("Hires resize", None)
    elif "Hires resize" in sizes:
        fields["Hires upscale"] = None
    if of.get("sampler") == "DDIM":
        fields["Eta DDIM"] = fields.pop("Eta")
    return fields


def _written(row: Row, of: dict[str, Any]) -> Any:
    value = of.get(row.parameter)
    return None if value == row.default or not of.get(row.when, True) else row.words.get(value, value)


def _ensd_matters(of: dict[str, Any]) -> bool:
    """Whether a sampler takes noise besides the first from the image's generator. A1111 asks only for the first kind,
    although it shifts the seed of all."""
    samplers = [of.get("sampler"), of.get("hires_sampler") if of.get("hires") else None]
    eta, churn = of.get("eta", -1), of.get("s_churn", 0)
    kinds = ((USES_ENSD, eta != 0), ({"LCM", "Restart"}, True), ({"DDIM"}, eta > 0), ({"Euler", "Heun", "DPM2"}, churn))
    return any(sampler in kind and draws for sampler in samplers for kind, draws in kinds)


def _samplers_written(of: dict[str, Any]) -> dict[str, Any]:
    """With automatic written as "Uniform" where A1111 would take something else for it."""
    schedule, hires = of.get("schedule"), of.get("hires")
    uniform = "Uniform" if of.get("sampler") in AUTOMATIC else None
    return {
        "Sampler": of.get("sampler"),
        "Schedule type": uniform if schedule == "automatic" else SCHEDULE_WORDS.get(schedule),
        "Hires sampler": of["hires_sampler"] if hires and of.get("hires_sampler", "same") != "same" else None,
        "Hires schedule type": SCHEDULE_WORDS.get(of.get("hires_schedule", "same"), "Uniform") if hires else None,
    }


def named(sampler: Any, schedule: Any) -> dict[str, str | None]:
    """A1111's fields for the names that other programs use. Unknown ones stay, so that `params_of` makes a note."""
    found = _sampler(*(name if isinstance(name, str) else "" for name in (sampler, schedule)), [])
    fields = _samplers_written({"sampler": found.get("sampler"), "schedule": found.get("schedule", "automatic")})
    unknown = {"Sampler": None if "sampler" in found else sampler}
    unknown |= {"Schedule type": None if "schedule" in found else schedule}
    told = {key: name[:100] for key, name in unknown.items() if isinstance(name, str)}
    return {key: told.get(key, fields[key]) for key in ("Sampler", "Schedule type")}


def _joined(value: Any) -> Any:
    """{name: hash} as A1111 has it; None if there is none."""
    return ", ".join(f"{name}: {found}" for name, found in value.items()) or None if isinstance(value, dict) else value


def params_of(fields: dict[str, str]) -> tuple[str, dict[str, Any], list[str]]:
    """The job that made a picture with these fields (of `infotext.parse`), its parameters, and in words what could not
    be translated.

    The parameters are complete and valid, so that no server's own defaults get in between, and draw this picture
    alone. Only a model that is not named is left out. It is not looked up here."""
    notes: list[str] = []
    job = _job(fields)
    found: dict[str, Any] = {
        "prompt": fields.get("Prompt", "") + _hypernetwork(fields),
        "negative_prompt": fields.get("Negative prompt", ""),
        "hires": _hires(fields),
        "mask_blur": 0,  # A1111 writes others only
    }
    found |= {row.parameter: _read(row, fields[row.key]) for row in ROWS if row.key in fields}
    for key, sides in SIZES.items():
        parts = zip(sides, (f"{key}-1", f"{key}-2"), strict=True)
        found |= {side: fields[part] for side, part in parts if part in fields}
    if "Eta DDIM" in fields:
        found["eta"] = fields["Eta DDIM"]
    if "Refiner" in fields:
        found["refiner"] = HASHED.sub("", fields["Refiner"])
    if found.get("noise_source") == "GPU" and not fields.get("Version", "").startswith("stable-core"):
        found["noise_source"] = "NV"  # the GPU of most A1111 users; the numbers are the same wherever it is drawn again
    if any(CHOOSING.search(text) for name, text in found.items() if "prompt" in name):
        found["dynamic_prompts"] = False  # the choices were made when it was written
    found |= _samplers_read(fields, notes) | {"controlnets": controlnet_text.units(fields, notes)}
    params = valid(job, found, notes)
    unsaid = [key for key in ("Steps", "Sampler", "CFG scale") if key not in fields]
    if unsaid:
        notes.append(f"It does not say {', '.join(unsaid)}. The usual was taken.")
    if params.get("ip_adapter"):
        notes.append("The pictures that its IP-Adapter was shown are not inside. Choose them (reference).")
    if "Model" not in fields:
        del params["model"]
        notes.append("It does not say which model drew it. Choose one.")
    if params["seed"] < 0:
        notes.append("Its seed is not known, so this will be another picture.")
    return job, params, notes + _unknown(fields, JOBS[job])


def valid(job: str, found: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """All parameters of a job: those found as far as it has and allows them, with notes on the others."""
    model = JOBS[job]
    found = {name: value for name, value in found.items() if name in model.model_fields}
    while True:
        try:
            return model(**found).model_dump()
        except pydantic.ValidationError as error:
            for name in {problem["loc"][0]: None for problem in error.errors()}:
                allowed = next(problem["msg"] for problem in error.errors() if problem["loc"][0] == name)
                text = f"{name} was {str(found.pop(name))[:100]!r}, which does not go here: {allowed[:300]}."
                notes.append(text)


def _job(fields: dict[str, str]) -> str:
    """A strength without hires fix means a picture was redrawn, a word about masks that it was inpainted."""
    if "SD upscale overlap" in fields:
        return "sd_upscale"
    if "Decode steps" in fields:
        return "img2img_alternative"
    masks = {"Mask blur", *(row.key for row in ROWS if row.parameter in ("invert_mask", "fill", "only_masked"))}
    if any(key in fields and fields[key] != DEFAULTS.get(key) for key in masks):
        return "inpaint"
    redrawn = "Denoising strength" in fields or "Init image hash" in fields
    return "img2img" if redrawn and not _hires(fields) and "First pass size" not in fields else "txt2img"


def _hires(fields: dict[str, str]) -> bool:
    resized = [fields.get(f"Hires resize-{side}", "0") for side in (1, 2)]
    return resized != ["0", "0"] or bool(fields.keys() & {"Hires upscale", "Hires upscaler", "Hires steps"})


def _hypernetwork(fields: dict[str, str]) -> str:
    """As a part of the prompt; before A1111 had these, it was a field."""
    strength = fields.get("Hypernet strength", "1")
    return f"<hypernet:{fields['Hypernet']}:{strength}>" if "Hypernet" in fields else ""


def _read(row: Row, text: str) -> Any:
    """Our word for A1111's; a number stays a text, which pydantic reads."""
    return {word.casefold(): value for value, word in row.words.items()}.get(text.casefold(), text)


def _samplers_read(fields: dict[str, str], notes: list[str]) -> dict[str, str]:
    found = _sampler(fields.get("Sampler", ""), fields.get("Schedule type", "Automatic"), notes)
    version = release(fields)
    if version and version >= (1, 9, 0) and "schedule" not in found:
        found["schedule"] = AUTOMATIC.get(found.get("sampler", ""), "automatic")
    second = [fields.get(key, "Use same") for key in ("Hires sampler", "Hires schedule type")]
    hires = _sampler(*("" if text.startswith("Use same") else text for text in second), notes)
    return found | {f"hires_{name}": value for name, value in hires.items()}


def _sampler(name: str, schedule: str, notes: list[str]) -> dict[str, str]:
    """Our names for a sampler and its schedule, as far as they are said."""
    found = {}
    try:
        found["sampler"], within = canonical(name[:100]) if name else (None, None)
        found["schedule"] = within
    except ValueError as error:
        notes.append(str(error))
    try:
        found |= {} if schedule in ("", "Automatic") else {"schedule": canonical_schedule(schedule[:100])}
    except ValueError as error:
        notes.append(str(error))
    return {key: value for key, value in found.items() if value}


def _unknown(fields: dict[str, str], model: type[Drawing]) -> list[str]:
    """Notes on the fields that say something for which this job has no parameter."""
    known = {row.key for row in ROWS if row.parameter in model.model_fields}
    known |= {f"{key}-{part}" for key, (side, _) in SIZES.items() if side in model.model_fields for part in (1, 2)}
    known |= {key for key in fields if controlnet_text.FIELD.fullmatch(key)}
    known |= TELLING | {"Refiner", "Sampler", "Schedule type", "Eta DDIM", "Hypernet", "Hypernet strength"}
    known |= {"Hires sampler", "Hires schedule type"} if "hires" in model.model_fields else set()
    rest = [key for key, value in fields.items() if key not in known and DEFAULTS.get(key) != value]
    if "Old prompt editing timelines" in rest and not _hires(fields):
        rest.remove("Old prompt editing timelines")  # they differ in the second pass alone
    notes = [f"{key[:100]}: {fields[key][:100]} has no counterpart here." for key in rest[:MAX_NOTES]]
    more = len(rest) - MAX_NOTES
    return notes + ([f"{more} more fields have no counterpart here."] if more > 0 else [])
