"""What the plugin offers: prompts made from prompts. Light at import: no torch, no dynamicprompts."""

import os
import random
from collections.abc import Iterator
from typing import Literal

from core.library.prompts import MAX_TEXT
from core.plugin import Context, InvalidParams, Params, Plugin, Result, Text, job, param

SEEDS = 2**32


class Choices(Params):
    mode: Literal["random", "all"] = param(
        "random", order=1, help="Texts drawn by the seed, or all that the choices allow, in order."
    )
    count: int = param(
        4, ge=1, le=1000, order=2, help="How many texts; of all, the first so many. Random ones may be equal."
    )
    seed: int = param(
        -1,
        ge=-1,
        le=SEEDS - 1,
        widget="seed",
        order=3,
        visible_if={"mode": "random"},
        help="What the first text is drawn by, the next one by the next, as txt2img draws the prompts of its pictures; "
        "-1 takes one at random.",
    )


class Tags(Params):
    closest: int = param(
        20, ge=1, le=200, order=1, help="From how many related tags is chosen, those that are closest to the tag."
    )
    weighted: bool = param(
        False, order=2, help="Make closer tags more likely, where a list says how close its tags are."
    )
    underscores: bool = param(
        False, order=3, help="Write tags as the lists do: long_hair. Otherwise with spaces, and \\ before brackets."
    )


class Expansion(Params):
    model: str = param(
        "magicprompt",
        choices_from="models/prompt_expander",
        order=1,
        help="The language model: a folder in models/prompt_expander, in transformers layout.",
    )
    count: int = param(1, ge=1, le=50, order=2, help="How many texts.")
    seed: int = param(
        -1, ge=-1, le=SEEDS - 1, widget="seed", order=3, help="Of the first text; the next has the next one."
    )
    length: int = param(60, ge=1, le=500, unit="tokens", order=4, help="How much is written, at most.")
    temperature: float = param(
        0.9,
        ge=0,
        le=2,
        step=0.05,
        widget="slider",
        order=5,
        help="How bold: 0 always takes the likeliest word, so that all texts are equal; 1 is as it was trained.",
    )
    top_k: int = param(50, ge=0, le=1000, order=6, help="Choose among so many likeliest tokens; 0: among all.")
    top_p: float = param(
        1,
        gt=0,
        le=1,
        step=0.05,
        widget="slider",
        advanced=True,
        order=7,
        help="Choose among the likeliest tokens that together have this probability.",
    )
    repetition_penalty: float = param(
        1.1,
        ge=1,
        le=2,
        step=0.05,
        widget="slider",
        advanced=True,
        order=8,
        help="Makes what is there unlikelier.",
    )
    stop: str = param(
        "",
        widget="textarea",
        max_length=1000,
        advanced=True,
        order=9,
        help="Words before which the writing ends, one on each line, in capitals or not. The end of a line does, too.",
    )
    tidy: bool = param(
        True,
        advanced=True,
        order=10,
        help="Where the length ends it, leave out what comes after the last comma.",
    )


class Prompts(Plugin):
    def load(self, device: str) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read when the libraries are imported: they must not look for files online
        self._device, self._expander = device, None

    def unload(self) -> None:
        self._expander = None

    @job(concurrency=8, reuse=True)
    def dynamic_prompts(self, text: Text, params: Choices, ctx: Context) -> Iterator[Text]:
        """Make the choices in a prompt: {a|b}, {2$$a|b|c}, __wildcard__, ${variable=...}."""
        from core.library.prompts.wildcards import combinations, expand

        text = _prompt(text)
        if params.mode == "all":
            drawn, warnings = combinations(text, ctx.models.folder, params.count + 1, "text")
            if len(drawn) > params.count:
                warnings = [*warnings, f"There are more than {params.count:,} texts; these are the first."]
            _tell(ctx, warnings)
            yield from drawn[: params.count]
            return
        first, told = _seed(params.seed), set[str]()
        for k in range(params.count):
            ctx.raise_if_cancelled()
            seed = (first + k) % SEEDS
            drawn, warnings = expand(text, seed, ctx.models.folder, "text")
            _tell(ctx, [warning for warning in warnings if warning not in told])
            told |= {*warnings}
            yield Result(drawn, {"seed": seed})
            ctx.progress(k + 1, params.count, "draw")

    @job(concurrency=8, reuse=True)
    def expand_tags(self, text: Text, params: Tags, ctx: Context) -> Text:
        """Write choices of related tags for !tag:n, to be drawn by dynamic_prompts or txt2img: !cat:2 becomes
        cat, {2$$whiskers|paws|...}."""
        from . import bang_tags

        expanded, warnings = bang_tags.expand(_prompt(text), params, ctx)
        _tell(ctx, warnings)
        return expanded

    @job(affinity="model", memory=700_000_000, reuse=True)
    def expand_prompt(self, text: Text, params: Expansion, ctx: Context) -> Iterator[Text]:
        """Let a small language model go on with a prompt, as people write them for pictures."""
        text, first, device = _prompt(text), _seed(params.seed), "cpu" if ctx.low_memory else self._device
        folder = ctx.models.path("prompt_expander", params.model)  # before what takes seconds
        ctx.progress(0, 1, f"load {params.model}")
        from . import expander

        if not self._expander or self._expander.stamp != expander.stamp(folder, device):
            self._expander = None  # its memory is free before the other's is taken
            self._expander = expander.Expander(params.model, folder, device)
        for k in range(params.count):
            seed = (first + k) % SEEDS
            yield Result(self._expander.write(text, seed, params, ctx, k), {"seed": seed, "model": params.model})
            if ctx.cancelled:  # with keep_partial; otherwise `write` has raised
                return


def _prompt(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise InvalidParams(
            f"the text has {len(text):,} characters; a prompt has at most {MAX_TEXT:,}.",
            field="text",
            hint="text.split makes several of one.",
        )
    return text


def _seed(seed: int) -> int:
    return random.randrange(SEEDS) if seed < 0 else seed


def _tell(ctx: Context, warnings: list[str]) -> None:
    for warning in warnings:
        ctx.log(warning)
