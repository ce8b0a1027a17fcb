"""Folders of models that other apps have already, used in place: which of their folders hold which of our kinds."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

VAES = "*.vae.*"  # lie beside checkpoints in A1111, and are none
ONLY = {
    "taesd": "taesd[_x]*",  # those for Stable Diffusion 1 and XL; other files beside them are for other models
    "face_restorer": "[!dp]*",  # lies with both others in one folder
    "face_detector": "detection_*",
    "face_parser": "parsing_parsenet*",
}
LAYOUTS: dict[str, dict[str, list[str]]] = {
    "a1111": {
        "checkpoint": ["models/Stable-diffusion"],
        "vae": ["models/VAE"],
        "lora": ["models/Lora", "models/LyCORIS"],
        "hypernetwork": ["models/hypernetworks"],
        "embedding": ["embeddings"],
        "controlnet": ["models/ControlNet", "extensions/sd-webui-controlnet/models"],
        "taesd": ["models/VAE-taesd"],
        "upscaler": ["models/ESRGAN", "models/RealESRGAN", "models/SwinIR", "models/DAT", "models/ScuNET"],
        "face_restorer": ["models/GFPGAN", "models/Codeformer"],
        "face_detector": ["models/GFPGAN"],
        "face_parser": ["models/GFPGAN"],
    },
    "comfyui": {
        "checkpoint": ["models/checkpoints"],
        "vae": ["models/vae"],
        "lora": ["models/loras"],
        "hypernetwork": ["models/hypernetworks"],
        "embedding": ["models/embeddings"],
        "controlnet": ["models/controlnet"],
        "ip_adapter": ["models/ipadapter"],
        "clip_vision": ["models/clip_vision"],
        "taesd": ["models/vae_approx"],
        "pipeline": ["models/diffusers"],
        "upscaler": ["models/upscale_models"],
        "face_restorer": ["models/facerestore_models"],
        "face_detector": ["models/facedetection"],
        "face_parser": ["models/facedetection"],
    },
}
Kind = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]


class ExtraModels(pydantic.BaseModel):
    """The folder of another app, by its layout, or any other by `kinds`: {"lora": "models/Lora"}."""

    model_config = pydantic.ConfigDict(extra="forbid")
    app: Literal["a1111", "comfyui"] | None = None
    path: Path
    kinds: dict[Kind, str | list[str]] = {}

    @pydantic.model_validator(mode="after")
    def _says_what_is_where(self) -> "ExtraModels":
        if not self.app and not self.kinds:
            raise ValueError('say app = "a1111" or "comfyui", or which kinds are where: kinds = {lora = "models/Lora"}')
        self.path = self.path.expanduser().absolute()
        return self

    @property
    def _source(self) -> str:
        """For people; no plugin has such a name."""
        return f"in place: {self.app or self.path.name}"

    def folders(self) -> list[dict[str, Any]]:
        """What core/library/models.py looks into; they need not be there (now)."""
        places = LAYOUTS.get(self.app or "", {}) | self.kinds
        found = [
            {"kind": kind, "path": str(self.path / place), "source": self._source}
            | ({"only": ONLY[kind]} if kind in ONLY and kind not in self.kinds else {})
            | ({"but": VAES} if kind == "checkpoint" else {})
            for kind, given in places.items()
            for place in ([given] if isinstance(given, str) else given)
        ]
        beside = [each for each in found if self.app == "a1111" and each["kind"] == "checkpoint"]
        return found + [{"kind": "vae", "path": each["path"], "source": self._source, "only": VAES} for each in beside]


def folders(extra: list[ExtraModels]) -> list[dict[str, Any]]:
    return [folder for each in extra for folder in each.folders()]
