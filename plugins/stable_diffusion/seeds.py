"""Which seeds the pictures of a job have."""

import random
from dataclasses import dataclass

from .options import SEEDS, Drawing, Interpolate, Several


@dataclass(frozen=True)
class Seeding:
    """`variation` is a second seed and how far the noise goes there, 0 to 1; `words` the seed that chooses texts."""

    seed: int
    variation: tuple[int, float] | None
    words: int


def settled(params: Drawing) -> Drawing:
    """The options with the seeds chosen that were left to chance."""
    names = ("seed", "variation_seed") if isinstance(params, Several) else ("seed",)
    return params.model_copy(update={name: random.randrange(SEEDS) for name in names if getattr(params, name) < 0})


def seeding(params: Drawing, k: int) -> Seeding:
    """Of picture k, from 0, as in A1111: seed + k; but with a variation, all have the same seed, and the variation seed
    goes on. A walk between two seeds is a variation that grows."""
    if isinstance(params, Interpolate):
        walk = (params.to_seed, k / (params.frames - 1)) if params.to_seed >= 0 else None
        return Seeding(params.seed, walk, params.seed)
    if isinstance(params, Several) and params.variation_strength:
        variation = (params.variation_seed + k) % SEEDS, params.variation_strength
        return Seeding(params.seed, variation, params.seed)
    seed = (params.seed + k) % SEEDS
    return Seeding(seed, None, seed)
