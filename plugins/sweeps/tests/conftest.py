"""The plugin's modules, and a job whose parameters are those of a small drawing job."""

from pathlib import Path

import pytest

from core.plugin import Params, param
from tests.inside import import_as

import_as("sweeps", Path(__file__).resolve().parents[1])


class Unit(Params):
    weight: float = param(1, ge=0, le=2, help="Weight.")


class Draw(Params):
    prompt: str = param("a red cat", max_length=100, help="Prompt.")
    negative_prompt: str = param("", help="Negative prompt.")
    steps: int = param(20, ge=1, le=150, help="Steps.")
    cfg_scale: float = param(7, ge=0, le=30, help="Scale.")
    width: int = param(0, ge=0, le=512, multiple_of=8, help="Width.")
    sampler: str = param("Euler a", help="Sampler.")
    tiling: bool = param(False, help="Tiling.")
    styles: list[str] = param([], help="Styles.")
    model: str = param("builtin", choices_from="models/checkpoint", help="Model.")
    units: list[Unit] = param([], help="Units.")
    limit: int | None = param(None, ge=1, help="Limit.")
    seed: int = param(-1, ge=-1, le=2**32 - 1, widget="seed", help="Seed.")
    variation_strength: float = param(0, ge=0, le=1, help="Variation.")
    variation_seed: int = param(
        -1, ge=-1, le=2**32 - 1, widget="seed", visible_if={"variation_strength": True}, help="Its seed."
    )


@pytest.fixture(scope="session")
def schema():
    found = Draw.model_json_schema()
    found["properties"]["sampler"] |= {
        "enum": ["Euler a", "Euler", "DDIM", "ddim"],
        "ui": {"choices": ["Euler a", "DDIM"]},
    }
    return found


@pytest.fixture
def job(schema):
    """job(params) is the drawing job with these, whose seeds are 100, 101 ... in the order of asking."""
    from sweeps.cells import Job

    def make(params=None, **options):
        asked = {}
        models = {"checkpoint": ["builtin", "art/Night.safetensors", "day.ckpt"]}
        made = Job(
            "draw", schema, params or {}, lambda key: asked.setdefault(key, 100 + len(asked)),
            lambda kind: models.get(kind, []), **options,
        )  # fmt: skip
        made.asked = asked
        return made

    return make
