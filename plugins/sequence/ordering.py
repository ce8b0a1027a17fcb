"""In which order a text's pictures are drawn, and which one each starts from."""

from collections.abc import Sequence
from dataclasses import dataclass

from .options import SequenceParams


@dataclass(frozen=True)
class Picture:
    """`before` is the key of the picture that it is drawn from; `number` that of its prompt in the whole text."""

    chapter: int
    prompt: int
    tag: str
    text: str
    weight: float
    number: int
    before: str | None

    @property
    def key(self) -> str:
        return f"chapter {self.chapter}/prompt {self.prompt}/{self.tag}"


def tags_of(params: SequenceParams) -> list[str]:
    return [style.file_tag or f"style {place}" for place, style in enumerate(params.styles)]


def pictures(chapters: Sequence[Sequence[tuple[int, str]]], params: SequenceParams) -> list[Picture]:
    """Chapter by chapter, prompt by prompt, style by style."""
    tags = tags_of(params)
    texts = [style.style for style in params.styles]
    last: list[str | None] = [None] * len(tags)
    found = []
    for c, chapter in enumerate(chapters):
        for p, (number, prompt) in enumerate(chapter):
            for place, tag in enumerate(tags):
                text = f"{params.prompt_override or prompt} {texts[place]}".rstrip()
                picture = Picture(c, p, tag, text, params.styles[place].weight, number, last[place])
                found.append(picture)
                last[place] = picture.key if params.progressive else None
            if params.interleave:
                last = last[1:] + last[:1]
            if params.cycle_styles:
                texts = texts[1:] + texts[:1]
    return found
