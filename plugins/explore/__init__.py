"""Pictures found by looking: many of a prompt, and many of a picture, redrawn by transforms."""

from typing import Annotated

from core.plugin import Context, Image, Json, Plugin, Text, job

from . import drawing, transforms
from .options import ContinueParams, ExploreParams, Named, PromptText, Saved, Settings, VaryParams, aspects

Start = Annotated[Image, "The picture that is redrawn: any."]
One = Annotated[Image | None, "One of the pictures that are gone on with: it tells prompt, scale and size."]


class Explore(Plugin):
    settings: Settings

    @job(program=True)
    def explore(self, params: ExploreParams, ctx: Context) -> list[Image]:
        """Draw a prompt many times, each time with another seed, into the folder of the prompt."""
        return drawing.explore(params, ctx, self.settings)

    @job(program=True)
    def go_on(self, params: ContinueParams, ctx: Context, image: One = None) -> list[Image]:
        """Draw more of a prompt, or of what one of its pictures shows, into the folder of the prompt."""
        return drawing.go_on(image, params, ctx, self.settings)

    @job(program=True)
    def vary(self, image: Start, params: VaryParams, ctx: Context) -> list[Image]:
        """Redraw a picture by a transform, in loops: each step from the picture, or each from the one before."""
        return drawing.vary(image, params, ctx)

    @job(program=True)
    def prompt_text(self, params: PromptText, ctx: Context) -> Text:
        """Keep a prompt as a text: prompt.txt in the folder of its pictures is made so."""
        return params.text

    @job(light=True)
    def aspects(self) -> Json:
        """The shapes of pictures that there are."""
        sizes = aspects(self.settings).items()
        return [{"name": name, "about": f"{w} x {h}" if w else "what the model draws best"} for name, (w, h) in sizes]

    @job(light=True)
    def transforms(self, ctx: Context) -> Json:
        """The transforms that there are, the user's own among them."""
        found = transforms.shipped("seed") | transforms.own(ctx.models.folder)[0]
        return [{"name": name, "about": each.about} for name, each in found.items()]

    @job(light=True)
    def transform(self, params: Named, ctx: Context) -> Json:
        """What a transform does, as `vary` takes it."""
        found = transforms.named(params.name, "seed", ctx.models.folder)
        return {"name": params.name} | found.model_dump()

    @job(light=True)
    def save_transform(self, params: Saved, ctx: Context) -> Json:
        """Save a transform of your own, or change it, and list all. They are shared by all who use this server."""
        given = params.model_dump(exclude={"name"})
        transforms.save(ctx.models.folder, params.name, transforms.Transform(**given))
        return self.transforms(ctx)

    @job(light=True)
    def delete_transform(self, params: Named, ctx: Context) -> Json:
        """Delete a transform of your own, and list the others."""
        transforms.delete(ctx.models.folder, params.name)
        return self.transforms(ctx)


setattr(Explore, "continue", Explore.go_on)  # which cannot be the name of a method
del Explore.go_on
