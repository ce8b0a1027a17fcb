"""What a picture's prompts say once styles are added, texts chosen at random, and networks and comments taken out."""

from dataclasses import dataclass, field
from typing import Any

from core.library.models import Models
from core.library.prompts import MAX_TEXT, wildcards
from core.plugin import InvalidParams

from . import comments, styles
from .networks import Network, extract
from .options import Drawing


@dataclass(frozen=True)
class Words:
    """`prompt` and `negative_prompt` are what is written about the picture."""

    prompt: str
    negative_prompt: str
    template: str  # the prompt before texts were chosen
    text: str  # the prompt without networks
    networks: tuple[Network, ...]
    warnings: tuple[str, ...] = field(default=(), compare=False)


class Reader:
    """Reads prompts by the options of a job; `models` has the user's styles and wildcards."""

    def __init__(self, params: Drawing, models: Models):
        self._params, self._models = params, models
        self._styles = styles.read(models.folder) if params.styles else {}

    def read(self, prompt: str, negative_prompt: str, seed: int) -> Words:
        """`seed` chooses among texts: the same one for a prompt and its negative one, so that names can fit.

        Raises InvalidParams for a style that is not there, or texts that grow beyond all bounds."""
        styled = styles.apply(self._params.styles, prompt, negative_prompt, self._styles)
        template, _ = both = tuple(comments.strip(text) for text in styled)
        warnings: list[str] = []
        if self._params.dynamic_prompts:
            fields = "prompt", "negative_prompt"
            drawn = [wildcards.expand(text, seed, self._models.folder, f) for text, f in zip(both, fields, strict=True)]
            both = tuple(text for text, _ in drawn)
            warnings = [warning for _, some in drawn for warning in some]
        text, networks = extract(both[0])
        return Words(*both, template, text, tuple(networks), tuple(warnings))


def worded(params: Drawing, text: str | None) -> Drawing:
    """The options with `text` as the prompt, if there is one. Raises InvalidParams if it is too long."""
    if text is None:
        return params
    if len(text) > MAX_TEXT:
        raise InvalidParams(f"the text has {len(text):,} characters; a prompt has at most {MAX_TEXT:,}.", field="text")
    return params.model_copy(update={"prompt": text})


def chosen(params: Drawing, words: Words, hires: Words | None = None) -> dict[str, Any]:
    """What styles and chance have made of the prompts, if that is another text; `wildcard_prompt` is the prompt without
    chance."""
    made = {"prompt": words.prompt, "negative_prompt": words.negative_prompt}
    if hires:
        made |= {"hires_prompt": hires.prompt, "hires_negative_prompt": hires.negative_prompt}
        made = {name: text for name, text in made.items() if getattr(params, name) or not name.startswith("hires")}
    found = {name: text for name, text in made.items() if text != getattr(params, name)}
    return found | ({"wildcard_prompt": words.template} if words.template != words.prompt else {})
