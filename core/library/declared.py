"""A model that a plugin names in its plugin.toml: where it is from, what it is, and what it has to be."""

import os
from typing import Annotated, Any

import pydantic
from pydantic import Field

HUB = "https://huggingface.co"
PLAIN = r"^[^\x00-\x1f\x7f\\:*?\"<>|]+$"  # what every file system can hold


class DeclaredModel(pydantic.BaseModel):
    """One that the plugin ships, at `path`, or one to be fetched: from `url`, or as the `file` of a `repo` on the
    Hugging Face hub, at a `revision`."""

    kind: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
    name: Annotated[str, Field(min_length=1, max_length=200, pattern=PLAIN)]
    path: str | None = None
    url: Annotated[str, Field(pattern=r"^https?://[^\s/]+/\S*$")] | None = None
    repo: Annotated[str, Field(pattern=r"^[\w-][\w.-]*/[\w-][\w.-]*$")] | None = None
    file: Annotated[str, Field(pattern=PLAIN)] | None = None
    revision: Annotated[str, Field(pattern=r"^[\w][\w./-]*$")] = "main"
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    size_bytes: int | None = Field(None, ge=0)
    licence: str | None = None

    @pydantic.model_validator(mode="after")
    def _is_from_somewhere(self) -> "DeclaredModel":
        for name in (self.name, self.file or "file"):
            if any(not part or part.startswith(".") for part in name.split("/")):
                raise ValueError(f"{name!r} is no plain path: no part of it may be empty or begin with a dot")
        if self.path is None and (self.url is None) == (self.repo is None):
            raise ValueError(f"{self.id} needs a path in the plugin, or a url, or a repo and file of the hub")
        if (self.repo is None) != (self.file is None):
            raise ValueError(f"{self.id}: repo and file of the hub belong together")
        if self.url and self.url.startswith("http:") and not self.sha256:
            raise ValueError(f"{self.id}: anybody on the way may change what http brings; say its sha256, or use https")
        return self

    @property
    def id(self) -> str:
        return f"{self.kind}/{self.name}"

    @property
    def address(self) -> str:
        """Where it is fetched from."""
        hub = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB
        return self.url or f"{hub}/{self.repo}/resolve/{self.revision}/{self.file}"


def fetchable(manifest: dict[str, Any]) -> list[DeclaredModel]:
    """Those of a plugin.toml that was checked."""
    models = [DeclaredModel.model_validate(model) for model in manifest.get("models", [])]
    return [model for model in models if model.path is None]
