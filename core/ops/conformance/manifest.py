"""What a plugin says about its own test: the table [test] of plugin.toml."""

import re
from pathlib import Path
from typing import Any

import pydantic

from core.errors import InvalidParams
from core.ops.config import tomllib


class JobTest(pydantic.BaseModel):
    """`params` hold in every run, so that it is short; `inputs` are files in the plugin's folder, by input; `skip` is
    why the job cannot be tried at all."""

    model_config = pydantic.ConfigDict(extra="forbid")
    params: dict[str, Any] = {}
    inputs: dict[str, str | list[str]] = {}
    skip: str | None = None


class Test(pydantic.BaseModel):
    """`seconds` is about how long each job may be tried; `jobs` are about single ones."""

    model_config = pydantic.ConfigDict(extra="forbid")
    seconds: float = pydantic.Field(20, gt=0, le=3600)
    jobs: dict[str, JobTest] = {}

    def of(self, job: str) -> JobTest:
        return self.jobs.get(job, JobTest())


def read(folder: Path) -> tuple[str, Test]:
    """(name of the plugin, its test). Raises InvalidParams."""
    try:
        manifest = tomllib.loads((folder / "plugin.toml").read_text("utf-8"))
        test = Test.model_validate(manifest.get("test", {}))
        name = str(manifest.get("name"))
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, ("test", *problem["loc"])))
        raise InvalidParams(f"{folder / 'plugin.toml'}: {place}: {problem['msg']}.") from error
    except (OSError, ValueError) as error:
        raise InvalidParams(f"{folder / 'plugin.toml'}: {error}") from error
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise InvalidParams(f"{folder / 'plugin.toml'}: a plugin's name has letters, digits, _ and - only.")
    for about in test.jobs.values():
        for given in about.inputs.values():
            for path in [given] if isinstance(given, str) else given:
                if not (folder / path).resolve().is_relative_to(folder.resolve()) or not (folder / path).is_file():
                    raise InvalidParams(f"{folder / 'plugin.toml'}: test: there is no file {path} in the plugin.")
    return name, test
