"""The same job with many values: sweeps, X/Y/Z plots, prompt matrices, prompts from a text, many files."""

from typing import Annotated

from core.plugin import Context, Image, Json, Mask, Plugin, Result, Text, job

from .options import EachFile, GridParams, Plot, PromptMatrix, PromptsFrom, SweepParams
from .pictures import Thumbnails

Pictures = Annotated[list[Image], "The pictures, row by row."]
Begin = Annotated[Image | None, "A picture to begin with."]
Where = Annotated[Mask | None, "Where it is redrawn: white."]


class Sweeps(Plugin):
    def __init__(self, *args):
        super().__init__(*args)
        self._thumbnails = Thumbnails()

    @job(program=True)
    def sweep(
        self,
        image: Annotated[list[Image] | None, "Pictures for the job; several are one more axis."],
        mask: Where,
        text: Annotated[Text | None, "A text for the job."],
        params: SweepParams,
        ctx: Context,
    ) -> list[Image]:
        """Run any job with all combinations of values of its parameters, and put the results into a labelled grid."""
        from .programs import sweep

        return sweep(image, mask, text, params, self._thumbnails, ctx)

    @job(program=True)
    def xyz_plot(self, image: Begin, mask: Where, params: Plot, ctx: Context) -> list[Image]:
        """Draw with the values of up to three parameters, as A1111's X/Y/Z plot does."""
        from .programs import xyz_plot

        return xyz_plot(image, mask, params, self._thumbnails, ctx)

    @job(program=True)
    def prompt_matrix(self, image: Begin, mask: Where, params: PromptMatrix, ctx: Context) -> list[Image]:
        """Draw a|b|c with each choice of its parts after the first, as A1111's prompt matrix does."""
        from .programs import prompt_matrix

        return prompt_matrix(image, mask, params, self._thumbnails, ctx)

    @job(program=True)
    def prompts_from(
        self,
        text: Annotated[Text | None, "A text file with a prompt, or options, in each line."],
        image: Begin,
        mask: Where,
        params: PromptsFrom,
        ctx: Context,
    ) -> list[Image]:
        """Draw each line of a text: prompts, or options such as --prompt "a cat" --steps 10."""
        from .programs import prompts_from

        return prompts_from(text, image, mask, params, self._thumbnails, ctx)

    @job(program=True)
    def each_file(self, files: Annotated[list[Image], "The pictures."], params: EachFile, ctx: Context) -> list[Image]:
        """Run a job once for each of many pictures, with seeds of their own if wanted."""
        from .programs import each_file

        return each_file(files, params, self._thumbnails, ctx)

    @job(program=True)
    def grid(self, images: Pictures, params: GridParams, ctx: Context) -> Image:
        """Put pictures into a grid, with words above its columns, beside its rows and below each picture."""
        from .programs import grid

        picture, facts = grid(images, params, ctx)
        return Result(picture, facts)

    @job(light=True)
    def jobs(self, ctx: Context) -> Json:
        """The names of all jobs, for forms."""
        return ctx.announced_names()
