"""One job, from its parameters to its pictures: load, condition, then sample and decode each image on its own."""

import random
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import PIL.Image
from torch import Tensor

from core.plugin import Cancelled, Context, Result

from . import SEEDS, ImageToImage, TextToImage
from .batcher import Batcher
from .checkpoint import Checkpoint, Checkpoints
from .chunks import Wording
from .conditioning import same_length
from .denoiser import Ask, Guidance, guide
from .infotext import VERSION, infotext
from .noise import Noise
from .samplers import sample
from .schedules import last_part, schedule_sigmas

IN_FLIGHT = 8  # images of one job at once: with all at once, the first would be as late as the last
ROWS = 16  # of the UNet at once, for latents up to 64 x 64; more gained nothing on a CPU


class Studio:
    """Draws the pictures of all jobs on one device."""

    def __init__(self, device: str):
        self._device = device
        self._checkpoints = Checkpoints(device)
        self._batcher = Batcher()

    def close(self) -> None:
        self._batcher.close()
        self._checkpoints.clear()

    def draw(self, params: TextToImage, ctx: Context, image: PIL.Image.Image | None = None) -> Iterator[Result]:
        """The pictures of a job, in order, each as soon as it is there. `image` is what img2img redraws.

        An image that fails costs only itself: its error is raised when the others are out. A cancelled job raises
        Cancelled, or gives the unfinished pictures if they are to be kept and there are any."""
        checkpoint = self._checkpoints.get(params.model, ctx)
        gone = threading.Event()  # nobody waits for the rest
        submit = lambda work: self._batcher.submit(work, lambda: ctx.cancelled or gone.is_set())  # noqa: E731
        job = submit(lambda: Job(self._batcher, self._device, checkpoint, params, ctx, image)).result()
        drawings = (Drawing(job, k).draw for k in range(params.batch_size))
        flying = deque(submit(drawing) for drawing in islice(drawings, IN_FLIGHT))
        failure, kept = None, 0
        try:
            while flying:
                try:
                    result = flying.popleft().result()
                except Exception as error:
                    if isinstance(error, Cancelled) and not ctx.keep_partial:
                        raise
                    failure = failure or error
                else:
                    kept += 1
                    yield result
                if not ctx.cancelled:
                    flying.extend(submit(drawing) for drawing in islice(drawings, 1))
        finally:
            gone.set()
        if failure and not (isinstance(failure, Cancelled) and kept):
            raise failure


class Job:
    """What the images of one job have in common. Made on the device's thread."""

    def __init__(
        self,
        batcher: Batcher,
        device: str,
        checkpoint: Checkpoint,
        params: TextToImage,
        ctx: Context,
        image: PIL.Image.Image | None,
    ):
        self.batcher, self.device, self.checkpoint, self.params, self.ctx = batcher, device, checkpoint, params, ctx
        self.width, self.height = params.width or checkpoint.size, params.height or checkpoint.size
        self.seed = params.seed if params.seed >= 0 else random.randrange(SEEDS)
        contexts = same_length([self._context(text) for text in (params.prompt, params.negative_prompt)])
        self.guidance: Guidance = guide(*contexts, params.cfg_scale)
        self.sigmas = schedule_sigmas(params.schedule, checkpoint.denoiser.levels, params.steps)
        self.start: Tensor | float = 0.0  # the latents to begin with, before noise
        if isinstance(params, ImageToImage):
            self.sigmas = last_part(self.sigmas, params.denoising_strength)
            self.start = batcher.call(checkpoint.autoencoder.encode, fitted(image, self.width, self.height))
        self._evaluations = self._decoded = 0

    def _context(self, text: str) -> Tensor:
        chunks = self.checkpoint.text.chunks(text, Wording(), {})
        return self.batcher.call(self.checkpoint.text.encode, chunks, most=ROWS)

    def evaluated(self) -> None:
        """Tell the progress: the mean of all images, in steps."""
        self._evaluations += 1
        self.ctx.progress(self._evaluations / self.params.batch_size, len(self.sigmas) - 1, "sample")

    def decoded(self) -> None:
        self._decoded += 1
        if self._evaluations == self.params.batch_size * (len(self.sigmas) - 1):
            self.ctx.progress(self._decoded, self.params.batch_size, "decode")


@dataclass(eq=False)
class Drawing:
    """Image `k` of a job. `draw` runs on the device's thread, inside the batcher."""

    job: Job
    k: int
    denoised: Tensor | None = None  # the latest estimate of the latents without noise

    def draw(self) -> Result:
        try:
            return self._decode(self._sample())
        except Cancelled:
            if not self.job.ctx.keep_partial or self.denoised is None:
                raise
            return self._decode(self.denoised, partial=True)

    @property
    def seed(self) -> int:
        return (self.job.seed + self.k) % SEEDS

    def _sample(self) -> Tensor:
        job = self.job
        autoencoder = job.checkpoint.autoencoder
        shape = (1, autoencoder.channels, job.height // autoencoder.factor, job.width // autoencoder.factor)
        noise = Noise(self.seed, shape, job.device)
        x = job.start + noise() * job.sigmas[0]
        return sample(job.params.sampler, self._denoise, x, job.sigmas, noise, self._after_step)

    def _denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        guidance = self.job.guidance
        alike = (x.shape, guidance[0][1].shape)
        most = max(2, ROWS * 64 * 64 // max(64 * 64, x.shape[2] * x.shape[3]))
        ask = Ask(x, sigma, guidance)
        return self.job.batcher.call(self.job.checkpoint.denoiser.denoise, ask, alike, len(guidance), most)

    def _after_step(self, step: dict[str, Any]) -> None:
        self.denoised = step["denoised"]
        self.job.evaluated()
        if self.job.ctx.wants_preview:
            self.job.ctx.preview(self.job.checkpoint.previewer.picture(self.denoised))

    def _decode(self, latents: Tensor, partial: bool = False) -> Result:
        picture = self.job.batcher.call(self.job.checkpoint.autoencoder.decode, latents)
        self.job.decoded()
        return Result(picture, self._facts(picture) | ({"partial": True} if partial else {}))

    def _facts(self, picture: PIL.Image.Image) -> dict[str, Any]:
        params, checkpoint = self.job.params, self.job.checkpoint
        fields = {
            "Steps": params.steps,
            "Sampler": params.sampler,
            "Schedule type": None if params.schedule == "automatic" else params.schedule.title(),
            "CFG scale": params.cfg_scale,
            "Seed": self.seed,
            "Size": f"{picture.width}x{picture.height}",
            "Model hash": checkpoint.hash,
            "Model": checkpoint.name,
            "Denoising strength": getattr(params, "denoising_strength", None),
            "Version": VERSION,
        }
        return {
            "seed": self.seed,
            "infotext": infotext(params.prompt, params.negative_prompt, fields),
            "width": picture.width,
            "height": picture.height,
            "model": checkpoint.name,
            "model_hash": checkpoint.hash,
        }


def fitted(picture: PIL.Image.Image, width: int, height: int) -> PIL.Image.Image:
    """The picture in RGB, stretched to width x height; what is transparent becomes white."""
    if picture.mode == "RGBA":
        picture = PIL.Image.alpha_composite(PIL.Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB").resize((width, height), PIL.Image.Resampling.LANCZOS)
