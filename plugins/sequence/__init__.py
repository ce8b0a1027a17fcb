"""Pictures of a text: chapters, prompts and styles in order, a program of drawing jobs. Light at import."""

from core.plugin import Context, Image, InvalidParams, Json, Plugin, Text, job

from .options import SequenceParams


class Sequence(Plugin):
    @job(program=True)
    def sequence(self, params: SequenceParams, ctx: Context, text: Text | None = None) -> list[Image]:
        """Draw a text, prompt by prompt in each style, and a grid of each chapter."""
        raise InvalidParams("there is no text. Give one as `text` or `story`, or choose a book.", field="story")

    @job(light=True)
    def books(self) -> Json:
        """The files in models/book."""
        return []

    @job(light=True)
    def settings_files(self) -> Json:
        """The files in models/sequence."""
        return []

    @job(reuse=True)
    def grid(self, images: list[Image]) -> Image:
        """Put pictures into a square of rows and columns, on black, in the order of reading."""
        return images[0]
