"""What the plugin offers: a job for each pipeline folder in models/pipeline. Light at import: no torch here."""

import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path

from core.plugin import InvalidParams, Plugin

KIND = "pipeline"
LONGEST = 64  # characters of a job's name
HELP = (
    "There is no pipeline yet. Put a folder in diffusers layout (with a model_index.json) into models/pipeline; it "
    "becomes a job without a restart."
)


class Diffusers(Plugin):
    def load(self, device: str) -> None:
        from .pipelines import Pipelines

        self.pipelines = Pipelines(device)

    def unload(self) -> None:
        self.pipelines.clear()

    @classmethod
    def announce(cls, models) -> tuple[dict[str, Callable], list[str]]:
        """A job for each folder that is a pipeline we can run, and why the others are none."""
        os.environ["HF_HUB_OFFLINE"] = "1"  # read when the libraries are imported: they must not look for files online
        jobs, notes, strangers = {}, [], []
        for name, path in models.entries(KIND).items():
            if not (path / "model_index.json").is_file():
                strangers.append(name)
                continue
            from . import jobs as making

            try:
                jobs[_job_name(name, jobs)] = making.job_of(name, path, _stamp(path))
            except InvalidParams as error:
                notes.append(str(error))
            except Exception as error:  # of what folders may say, or while one goes: it is to hide no other
                notes.append(f"models/{KIND}/{name} cannot be used: {type(error).__name__}: {error}.")
        if strangers:
            listed = ", ".join(strangers[:5]) + (" ..." if len(strangers) > 5 else "")
            notes.append(f"No pipelines, as they have no model_index.json: {listed}.")
        return jobs, notes or [HELP] * (not jobs)


def _job_name(name: str, taken: dict[str, Callable]) -> str:
    """A model's name as that of a job: letters, digits and _ only, and none that is used already."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)[:LONGEST]
    plain = plain if plain[:1].isalpha() else f"pipeline_{plain}"
    names = itertools.chain([plain], (f"{plain}_{k}" for k in itertools.count(2)))
    return next(each for each in names if each not in taken and each not in RESERVED)


def _stamp(path: Path) -> tuple[tuple[str, int], ...]:
    """What changes when the folder says something else about itself."""
    files = [*path.glob("*.json"), *path.glob("*/*.json"), *path.glob("*.py"), *path.glob("*/*.py"), *path.glob("*")]
    return tuple((str(file), file.stat().st_mtime_ns if file.is_file() else 0) for file in sorted({*files}))


RESERVED = {*dir(Diffusers), "folder", "models", "settings", "pipelines"}  # what a plugin has besides jobs
