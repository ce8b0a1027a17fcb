"""What may be sent to be drawn: A1111's fields, with its types and its defaults (of 1.8, and those that came later)."""

from typing import Any

import pydantic
import pydantic_core


class Asked(pydantic.BaseModel):
    """What txt2img and img2img have in common. `null` is what is not said; what nobody knows is in `model_extra`."""

    model_config = pydantic.ConfigDict(extra="allow")

    prompt: str = ""
    negative_prompt: str = ""
    styles: list[str] = []
    seed: int = -1
    subseed: int = -1
    subseed_strength: float = 0
    seed_resize_from_h: int = -1
    seed_resize_from_w: int = -1
    sampler_name: str | None = None
    sampler_index: str = "Euler"
    scheduler: str | None = None
    batch_size: int = pydantic.Field(1, ge=1)
    n_iter: int = pydantic.Field(1, ge=1)
    steps: int = 50
    cfg_scale: float = 7.0
    distilled_cfg_scale: float = 3.5
    width: int = 512
    height: int = 512
    restore_faces: bool | None = None
    tiling: bool | None = None
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    eta: float | None = None
    denoising_strength: float = 0.75
    s_min_uncond: float | None = None
    s_churn: float | None = None
    s_tmax: float | None = None
    s_tmin: float | None = None
    s_noise: float | None = None
    override_settings: dict[str, Any] = {}
    override_settings_restore_afterwards: bool = True
    refiner_checkpoint: str | None = None
    refiner_switch_at: float | None = None
    disable_extra_networks: bool = False
    firstpass_image: str | None = None
    comments: dict[str, Any] = {}
    force_task_id: str | None = None
    script_name: str | None = None
    script_args: list[Any] = []
    send_images: bool = True
    save_images: bool = False
    alwayson_scripts: dict[str, Any] = {}
    infotext: str | None = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        try:
            pydantic_core.to_json(given)  # the answer says again what was asked
        except pydantic_core.PydanticSerializationError as error:
            raise ValueError("half a character, or lists in lists without end: this cannot be answered") from error
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given

    @property
    def pictures(self) -> int:
        return self.batch_size * self.n_iter


class TextToImage(Asked):
    enable_hr: bool = False
    firstphase_width: int = 0
    firstphase_height: int = 0
    hr_scale: float = 2.0
    hr_upscaler: str | None = None
    hr_second_pass_steps: int = 0
    hr_resize_x: int = 0
    hr_resize_y: int = 0
    hr_checkpoint_name: str | None = None
    hr_additional_modules: list[str] | None = None
    hr_sampler_name: str | None = None
    hr_scheduler: str | None = None
    hr_prompt: str = ""
    hr_negative_prompt: str = ""
    hr_cfg: float = 1.0
    hr_distilled_cfg: float = 3.5


class ImageToImage(Asked):
    init_images: list[str] = []
    resize_mode: int = pydantic.Field(0, ge=0, le=3)
    image_cfg_scale: float | None = None
    mask: str | None = None
    mask_blur: int | None = None
    mask_blur_x: int = 4
    mask_blur_y: int = 4
    mask_round: bool = True
    inpainting_fill: int = pydantic.Field(0, ge=0, le=3)
    inpaint_full_res: bool = True
    inpaint_full_res_padding: int = 0
    inpainting_mask_invert: int = 0
    inpainting_mask_weight: float | None = None
    initial_noise_multiplier: float | None = None
    latent_mask: str | None = None
    include_init_images: bool = False

    @pydantic.model_validator(mode="after")
    def _one_blur(self) -> "ImageToImage":
        """There is one for both directions here."""
        if self.mask_blur is None and "mask_blur_x" in self.model_fields_set:
            self.mask_blur = self.mask_blur_x
        return self


KINDS: dict[str, type[Asked]] = {"txt2img": TextToImage, "img2img": ImageToImage}
