"""Pictures in bulk and in rounds: a person picks, and what is picked goes on. Light: it draws nothing itself."""

from core.plugin import Context, Image, Params, Plugin, Text, job, param

from .options import MAX_TEXT, Asking, FinishParams, RoundsParams, VariationsParams


class Prompt(Params):
    prompt: str = param("", max_length=MAX_TEXT, widget="textarea", help="The text.")


class GenerateParams(Asking):
    pass


class Batch(Plugin):
    @job(program=True)
    def generate(self, params: GenerateParams, ctx: Context) -> list[Image]:
        """Draw many pictures: each prompt several times, in sizes drawn by lot."""
        from .rounds import generate

        return [each.artifact for each in generate(params, ctx)]

    @job(program=True)
    def rounds(self, params: RoundsParams, ctx: Context) -> list[Image]:
        """Draw many pictures, let a person pick, vary what was picked, again and again, and finish what is left."""
        from .rounds import rounds

        return [each.artifact for each in rounds(params, ctx)]

    @job(program=True)
    def variations(self, images: list[Image], params: VariationsParams, ctx: Context) -> list[Image]:
        """Draw variations of pictures, by what they say of how they were drawn."""
        from .rounds import variations

        return [each.artifact for each in variations(images, params, ctx)]

    @job(program=True)
    def finish(self, images: list[Image], params: FinishParams, ctx: Context) -> list[Image]:
        """Enlarge pictures and redraw them a little, with the weights of LoRAs lowered."""
        from .rounds import finish

        return [each.artifact for each in finish(images, params, ctx)]

    @job(concurrency=8, reuse=True)
    def write_prompt(self, params: Prompt) -> Text:
        """A prompt as a text, for jobs that take texts."""
        return params.prompt
