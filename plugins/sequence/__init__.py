"""Pictures of a text: chapters, prompts and styles in order, a program of drawing jobs. Light at import."""

from typing import Annotated

from core.plugin import Context, Image, Plugin, Text, job

from .options import SequenceParams


class Sequence(Plugin):
    @job(program=True)
    def sequence(
        self, params: SequenceParams, ctx: Context,
        text: Annotated[Text | None, "What is drawn: plain text, Markdown, subtitles."] = None,
    ) -> list[Image]:  # fmt: skip
        """Draw a text, prompt by prompt in each style, and a grid of each chapter."""
        from .drawing import sequence

        return sequence(text, params, ctx)

    @job(reuse=True)
    def chapter_grid(self, images: Annotated[list[Image], "The pictures, in their order."]) -> Image:
        """Put pictures into a square of rows and columns, on black, in the order of reading."""
        import math

        from core.library.grids import grid

        side = math.ceil(math.sqrt(len(images)))
        size = max(each.width for each in images), max(each.height for each in images)
        return grid(images, side, size=size, count=side * side)
