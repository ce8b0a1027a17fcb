"""What each field of A1111's requests stands for: a parameter of ours, and our words for its values."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from clients.bridges.a1111.requests import Asked, ImageToImage, TextToImage

Words = Callable[[Any], Any]
FILLS = ("fill", "original", "latent noise", "latent nothing")
RESIZE_MODES = ("just resize", "crop and resize", "resize and fill", "just resize (latent upscale)")


@dataclass(frozen=True)
class Row:
    """A field of A1111 and the parameter it stands for. `words` are ours for its; what they make None is not sent."""

    field: str
    parameter: str
    words: Words = lambda value: value


def positive(value: float) -> float | None:
    return value if value > 0 else None


ROWS = (
    Row("prompt", "prompt"),
    Row("negative_prompt", "negative_prompt"),
    Row("styles", "styles"),
    Row("seed", "seed"),
    Row("subseed", "variation_seed"),
    Row("subseed_strength", "variation_strength"),
    Row("seed_resize_from_w", "seed_resize_width", positive),
    Row("seed_resize_from_h", "seed_resize_height", positive),
    Row("batch_size", "batch_size"),
    Row("n_iter", "n_iter"),
    Row("steps", "steps"),
    Row("cfg_scale", "cfg_scale"),
    Row("width", "width"),
    Row("height", "height"),
    Row("tiling", "tiling"),
    Row("eta", "eta"),
    Row("s_churn", "s_churn"),
    Row("s_tmin", "s_tmin"),
    Row("s_tmax", "s_tmax"),
    Row("s_noise", "s_noise"),
    Row("s_min_uncond", "ngms"),
)
REFINER = (Row("refiner_checkpoint", "refiner"), Row("refiner_switch_at", "refiner_switch_at"))
HIRES = (
    Row("enable_hr", "hires"),
    Row("denoising_strength", "denoising_strength"),
    Row("hr_scale", "hires_scale"),
    Row("hr_upscaler", "hires_upscaler", lambda name: "Lanczos" if name == "None" else name),
    Row("hr_second_pass_steps", "hires_steps", positive),
    Row("hr_resize_x", "hires_width", positive),
    Row("hr_resize_y", "hires_height", positive),
    Row("hr_sampler_name", "hires_sampler", lambda name: None if name == "Use same sampler" else name),
    Row("hr_scheduler", "hires_schedule", lambda name: None if name == "Use same scheduler" else name),
    Row("hr_prompt", "hires_prompt"),
    Row("hr_negative_prompt", "hires_negative_prompt"),
)
HIRES_CFG = Row("hr_cfg", "hires_cfg_scale")  # of Forge, whose default of 1 would count for those who do not know it
REDRAWING = (
    Row("denoising_strength", "denoising_strength"),
    Row("resize_mode", "resize_mode", RESIZE_MODES.__getitem__),
    Row("image_cfg_scale", "image_cfg_scale"),
    Row("initial_noise_multiplier", "noise_multiplier"),
)
MASKED = (
    Row("mask_blur", "mask_blur"),
    Row("inpainting_fill", "fill", FILLS.__getitem__),
    Row("inpaint_full_res", "only_masked"),
    Row("inpaint_full_res_padding", "only_masked_padding"),
    Row("inpainting_mask_invert", "invert_mask", bool),
)
ALL = (*HIRES, HIRES_CFG, *ROWS, *REFINER, *REDRAWING, *MASKED)
FIELDS = {row.parameter: row.field for row in ALL}
FIELDS |= {"sampler": "sampler_name", "schedule": "scheduler", "controlnets": "alwayson_scripts"}
ELSEWHERE = {  # fields that count without a parameter, or that A1111's API leaves without effect, too
    "batch_size", "n_iter", "sampler_name", "sampler_index", "scheduler", "do_not_save_samples", "do_not_save_grid",
    "override_settings", "override_settings_restore_afterwards", "comments", "force_task_id", "script_name",
    "script_args", "send_images", "save_images", "alwayson_scripts", "infotext", "init_images", "mask", "mask_blur_x",
    "mask_blur_y", "mask_round", "include_init_images",
}  # fmt: skip
HIRES_ONLY = ("hr_", "firstphase_")  # how fields begin that count with enable_hr alone
MASK_ONLY = ("mask_", "inpaint")


def rows_of(asked: Asked) -> Iterable[Row]:
    """The rows that count for this request."""
    yield from ROWS
    if asked.refiner_checkpoint not in (None, "", "None"):
        yield from REFINER
    if isinstance(asked, TextToImage) and asked.enable_hr:
        yield from HIRES
        if "hr_cfg" in asked.model_fields_set:
            yield HIRES_CFG
    if isinstance(asked, ImageToImage):
        yield from REDRAWING
        yield from MASKED if asked.mask else ()


def unheard(asked: Asked, taken: dict[str, Any]) -> list[str]:
    """Fields that ask for something, and that nothing here has a parameter for."""
    rows = {row.field: row.parameter for row in ALL}
    without = () if getattr(asked, "enable_hr", False) else HIRES_ONLY
    without += () if getattr(asked, "mask", None) else MASK_ONLY
    names = [
        name
        for name in asked.model_fields_set & type(asked).model_fields.keys()
        if getattr(asked, name) and getattr(asked, name) != type(asked).model_fields[name].default
        if name not in ELSEWHERE and rows.get(name) not in taken and not name.startswith(without)
    ]
    if isinstance(asked, ImageToImage) and asked.mask and asked.mask_blur_x != asked.mask_blur_y:
        names.append("mask_blur_y")
    return sorted(names)
