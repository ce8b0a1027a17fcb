"""What the plugin offers: its jobs, what they take and give. Light at import: no torch here, see options.py too."""

import dataclasses
import functools
import os
from collections.abc import Iterator
from typing import Annotated, Any

from core.plugin import Artifact, Context, Image, Json, Mask, Plugin, Text, job

from . import loopback, model_info, names, png_info, reading, styles, verify, words
from .options import (
    Alternative,
    Count,
    Drawing,
    Explain,
    HiresFix,
    ImageToImage,
    Info,
    Inpaint,
    Interpolate,
    Loopback,
    Merge,
    Outpaint,
    Preprocess,
    SdUpscale,
    Style,
    StyleTexts,
    TextToImage,
    Unload,
)
from .seeds import seeding, settled
from .settings import Settings

AT_ONCE = 8  # jobs that share the device
Words = Annotated[Text, "Drawn in place of the prompt, for example what another job has written."]
Control = Annotated[list[Image], "What the ControlNets are shown: a picture for each, or one for all."]
Reference = Annotated[list[Image], "Pictures that an IP-Adapter makes a part of the prompt."]


class StableDiffusion(Plugin):
    settings: Settings

    def load(self, device: str) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read when the libraries are imported: they must not look for files online
        from .studio import Studio

        self._studio = Studio(device, self.settings)

    def unload(self) -> None:
        self._studio.close()

    @classmethod
    def announce(cls, models: Any) -> tuple[dict[str, Any], list[str]]:
        """No more jobs, but what is wrong with files in extensions/."""
        return {}, names.NOTES

    def plan(self, job: str, params: Any, inputs: dict[str, list[Artifact]]) -> dict[str, Any] | None:
        """The seeds of each picture, and its prompts where texts are chosen at random; random seeds are chosen here."""
        if not isinstance(params, Drawing) or isinstance(params, Loopback):
            return None
        params = settled(params)
        reader, outputs = words.Reader(params, self.models), []
        for k in range(params.pictures):
            of = seeding(params, k)
            read = reader.read(params.prompt, params.negative_prompt, of.words)
            varied = {"variation_seed": of.variation[0]} if of.variation else {}
            chosen = {} if inputs.get("text") else words.chosen(params, read)  # what the text says is not known here
            outputs.append({"seed": of.seed} | varied | chosen)
        times = max(1, len(inputs.get("image", []))) * max(1, len(inputs.get("text", [])))
        return {"params": params.model_dump(), "outputs": outputs * times}

    @job(affinity="model", concurrency=AT_ONCE, reuse=True)
    def txt2img(
        self,
        params: TextToImage,
        ctx: Context,
        control: Control | None = None,
        reference: Reference | None = None,
        text: Words | None = None,
    ) -> Iterator[Image]:
        """Draw pictures from a text."""
        from . import txt2img

        params = words.worded(params, text)
        return self._studio.draw(
            params, ctx, txt2img.draw, passes=2 if params.hires else 1, control=control, reference=reference
        )

    @job(affinity="model", concurrency=AT_ONCE, reuse=True)
    def img2img(
        self,
        image: Image,
        params: ImageToImage,
        ctx: Context,
        control: Control | None = None,
        reference: Reference | None = None,
        text: Words | None = None,
    ) -> Iterator[Image]:
        """Redraw a picture as a text says."""
        from . import img2img

        params = words.worded(params, text)
        return self._studio.draw(
            params, ctx, functools.partial(img2img.draw, image=image), control=control, reference=reference
        )

    @job(affinity="model", concurrency=AT_ONCE, reuse=True)
    def inpaint(
        self,
        image: Image,
        mask: Mask,
        params: Inpaint,
        ctx: Context,
        control: Control | None = None,
        reference: Reference | None = None,
    ) -> Iterator[Image]:
        """Redraw the part of a picture where the mask is white; the rest stays as it is, to the byte."""
        from . import inpaint

        return self._studio.draw(
            params, ctx, functools.partial(inpaint.draw, image=image, mask=mask), control=control, reference=reference
        )

    @job(affinity="model", concurrency=AT_ONCE, reuse=True)
    def outpaint(self, image: Image, params: Outpaint, ctx: Context) -> Iterator[Image]:
        """Draw what is around a picture."""
        from . import outpaint

        return self._studio.draw(
            params, ctx, functools.partial(outpaint.draw, image=image), passes=outpaint.passes(params)
        )

    @job(affinity="model", concurrency=AT_ONCE, reuse=True)
    def hires_fix(
        self,
        image: Image,
        params: HiresFix,
        ctx: Context,
        control: Control | None = None,
        reference: Reference | None = None,
    ) -> Iterator[Image]:
        """Enlarge a picture that was drawn from a text and redraw it with more detail: the second pass of txt2img."""
        from . import txt2img

        return self._studio.draw(
            params, ctx, functools.partial(txt2img.draw_again, image=image), control=control, reference=reference
        )

    @job(program=True)
    def loopback(self, image: Image, params: Loopback, ctx: Context) -> list[Image]:
        """Redraw a picture again and again, each time from the result before."""
        return loopback.loopback(image, params, ctx)

    @job(affinity="model", concurrency=AT_ONCE, reuse=True)
    def sd_upscale(
        self,
        image: Image,
        params: SdUpscale,
        ctx: Context,
        control: Control | None = None,
        reference: Reference | None = None,
    ) -> Iterator[Image]:
        """Enlarge a picture and redraw it in tiles of width x height, which adds detail at any size."""
        from . import sd_upscale

        return sd_upscale.draw(self._studio, params, ctx, image, control, reference)

    @job(affinity="model", concurrency=AT_ONCE, reuse=True)
    def img2img_alternative(self, image: Image, params: Alternative, ctx: Context) -> Iterator[Image]:
        """Redraw a picture from the noise it could have come from: only what the two prompts differ in changes."""
        from . import alternative

        return self._studio.draw(params, ctx, functools.partial(alternative.draw, image=image), passes=2)

    @job(affinity="model", concurrency=AT_ONCE, reuse=True)
    def interpolate(
        self,
        params: Interpolate,
        ctx: Context,
        control: Control | None = None,
        reference: Reference | None = None,
    ) -> Iterator[Image]:
        """Draw a walk between prompts and seeds, frame by frame."""
        from . import interpolate

        return self._studio.draw(params, ctx, interpolate.draw, control=control, reference=reference)

    @job(concurrency=AT_ONCE)
    def preprocess(self, image: Image, params: Preprocess) -> Image:
        """Show what a ControlNet would see of a picture."""
        from . import preprocessors

        return preprocessors.shown(preprocessors.hint(image, params))

    @job(program=True)
    def verify(self, image: Image, ctx: Context) -> Json:
        """Draw a picture again as its metadata say: is it identical, close (with its PSNR) or different?"""
        return verify.verify(image, ctx)

    @job(concurrency=AT_ONCE)
    def unload_models(self, params: Unload, ctx: Context) -> Json:
        """Free the memory of loaded models, of those in use when their pictures are done; tells the bytes that stay."""
        return self._studio.unload(params.model)

    @job(concurrency=AT_ONCE)
    def merge_checkpoints(self, params: Merge, ctx: Context) -> Json:
        """Make one model of two or three, as a new file in models/checkpoint; tells its name and hashes."""
        from . import merging

        return merging.merge(params, ctx)

    @job(light=True)
    def model_info(self, params: Info, ctx: Context) -> Json:
        """What a model is, without loading it: architecture, what it draws and estimates, size, hash, metadata."""
        return model_info.model_info(params.model, ctx.models)

    @job(light=True)
    def explain(self, params: Explain, ctx: Context) -> Json:
        """How a prompt is read: its parts, what is drawn until which step, what weighs how much, tokens and chunks."""
        return reading.explained(params, ctx.models)

    @job(light=True)
    def tokens(self, params: Count, ctx: Context) -> Json:
        """How many tokens a prompt has, in how many chunks, and what is cut or split."""
        return reading.counted(params, ctx.models)

    @job(light=True)
    def png_info(self, image: Image, ctx: Context) -> Json:
        """What a picture's file tells about how it was made, and a form with which it can be made again."""
        return png_info.read(image, ctx.models)

    @job(light=True)
    def styles(self, ctx: Context) -> Json:
        """The names of the saved styles."""
        return [*styles.read(ctx.models.folder)]

    @job(light=True)
    def style(self, params: Style, ctx: Context) -> Json:
        """The texts of a saved style."""
        return dataclasses.asdict(styles.find(params.name, styles.read(ctx.models.folder)))

    @job(light=True)
    def save_style(self, params: StyleTexts, ctx: Context) -> Json:
        """Save a style, or change it, and list all. They are shared by all who use this server."""
        styles.save(ctx.models.folder, params.name, params.prompt, params.negative_prompt)
        return [*styles.read(ctx.models.folder)]

    @job(light=True)
    def delete_style(self, params: Style, ctx: Context) -> Json:
        """Delete a saved style, and list the others."""
        styles.delete(ctx.models.folder, params.name)
        return [*styles.read(ctx.models.folder)]
