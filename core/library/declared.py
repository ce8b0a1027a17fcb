"""A model that a plugin names in its plugin.toml: where it is from, what it is, and what it has to be."""

import os
import re
from typing import Annotated, Any

import pydantic
from pydantic import Field

HUB = "https://huggingface.co"
PLAIN = r"^[^\x00-\x1f\x7f\\:*?\"<>|]+$"  # what every file system can hold


class DeclaredModel(pydantic.BaseModel):
    """One that the plugin ships, at `path`, or one to be fetched: from `url`, or from a `repo` on the Hugging Face hub,
    at a `revision`: one `file`, or a folder of all its files (or those that patterns in `files` name)."""

    kind: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
    name: Annotated[str, Field(min_length=1, max_length=200, pattern=PLAIN)]
    path: str | None = None
    url: Annotated[str, Field(pattern=r"^https?://[^\s/]+/\S*$")] | None = None
    repo: Annotated[str, Field(pattern=r"^[\w-][\w.-]*/[\w-][\w.-]*$")] | None = None
    file: Annotated[str, Field(pattern=PLAIN)] | None = None
    files: list[Annotated[str, Field(min_length=1)]] = []
    revision: Annotated[str, Field(pattern=r"^[\w][\w./-]*$")] = "main"
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    size_bytes: int | None = Field(None, ge=0)
    licence: str | None = None

    @pydantic.model_validator(mode="after")
    def _is_from_somewhere(self) -> "DeclaredModel":
        for name in (self.name, self.file or "file"):
            if not is_plain(name):
                raise ValueError(f"{name!r} is no plain path: no part of it may be empty or begin with a dot")
        if self.path is None and (self.url is None) == (self.repo is None):
            raise ValueError(f"{self.id} needs a path in the plugin, or a url, or a repo of the hub")
        if (self.file and not self.repo) or (self.files and (self.file or not self.repo)):
            raise ValueError(f"{self.id}: file, or files, are of a repo of the hub")
        if self.repo and not self.file and (self.sha256 or not re.fullmatch("[0-9a-f]{40}", self.revision)):
            raise ValueError(f"{self.id}: of a folder, the commit as revision says what it has to be, not a sha256")
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
        place = f"resolve/{self.revision}/{self.file}" if self.file else f"tree/{self.revision}"
        return self.url or f"{hub}/{self.repo}/{place}"


def is_plain(name: str) -> bool:
    """A path that leads nowhere else, and to nothing that does not count."""
    return all(part and not part.startswith(".") for part in name.split("/")) and bool(re.search(PLAIN, name))


def fetchable(manifest: dict[str, Any]) -> list[DeclaredModel]:
    """Those of a plugin.toml that was checked."""
    models = [DeclaredModel.model_validate(model) for model in manifest.get("models", [])]
    return [model for model in models if model.path is None]
