"""How one job goes from its options to its pictures: load, read the words, and let all its shots go their way."""

import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from itertools import islice
from typing import Any

import PIL.Image

from core.errors import CoreError
from core.plugin import Cancelled, Context, InvalidParams, Result

from . import seeds
from .batcher import Batcher
from .cache import Cache, bytes_of
from .checkpoint import Checkpoint, Checkpoints
from .chunks import Chunks
from .conditioning import TextEncoder
from .determinism import determinism
from .embeddings import Embeddings
from .extending import Extension
from .forms import fields_of
from .guides import Controls
from .infotext import infotext
from .model_files import ARCHITECTURES
from .names import EXTENSIONS
from .options import Drawing
from .placement import Mode, Need, Placement, Stay
from .seeds import Seeding
from .settings import Settings
from .shot import Shot
from .sizes import hires_size
from .words import Reader, Words, chosen

Pictures = list[PIL.Image.Image] | None
IN_FLIGHT = 8  # shots of one job at once: with all at once, the first would be as late as the last


class Studio:
    """Draws the pictures of all jobs on one device."""

    def __init__(self, device: str, settings: Settings):
        self.device = device
        self.placement = Placement(device, settings.memory)
        budget = settings.cache_bytes
        self.cache = Cache(
            lambda: budget or self.placement.cache_bytes(), settings.pinned, settings.unload_after_seconds
        )
        self.checkpoints = Checkpoints(self.placement, self.cache, settings)
        self.batcher = Batcher(self.placement.lower)

    def close(self) -> None:
        self.batcher.close()
        self.cache.close()

    def unload(self, model: str = "") -> dict[str, int]:
        """Unload a model, by default all, and tell the bytes of each that stays."""
        self.cache.unload(model)
        return self.cache.sizes()

    def draw(
        self, params: Drawing, ctx: Context, draw: Callable[[Shot], Result], count: int = 0, passes: int = 1,
        seeding: Callable[[int], Seeding] | None = None, control: Pictures = None, reference: Pictures = None,
    ) -> Iterator[Result]:  # fmt: skip
        """What `draw` makes of each shot, in order, each as soon as it is there; `count` of them, by default as many
        pictures as are asked for. A shot takes `passes` runs of a sampler. `seeding(k)` is that of shot k,
        by default of picture k. `control` are the pictures for ControlNets, `reference` those
        for an IP-Adapter.

        A shot that fails costs only itself and those that have not begun: its error is raised when the others are
        out. A cancelled job raises Cancelled, or gives the unfinished pictures if they are to be kept and there are
        any."""
        job = Job(self, params, ctx, count or params.pictures, passes, seeding, control, reference)
        need = job.need()
        with self.placement.stay(need, ctx.low_memory, ctx.log) as job.stay:
            self.cache.shrink(self.placement.room(need))
            yield from self._drawn(job, ctx, draw)

    def _drawn(self, job: "Job", ctx: Context, draw: Callable[[Shot], Result]) -> Iterator[Result]:
        shots = (job.start(k, draw) for k in range(job.count))
        flying = deque(islice(shots, IN_FLIGHT))
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
                    if result:
                        kept += 1
                        yield result
                if not (ctx.cancelled or failure):
                    flying.extend(islice(shots, 1))
        finally:
            job.gone.set()
        try:
            if failure and not (isinstance(failure, Cancelled) and kept):
                raise failure
        finally:
            failure = None  # it knows this frame: if that knew it, both would stay, and the job with its tensors


def _failed(error: Exception) -> Future:
    future: Future = Future()
    future.set_exception(error)
    return future


class Job:
    """What the shots of one job have in common."""

    def __init__(
        self, studio: Studio, params: Drawing, ctx: Context, count: int, passes: int,
        seeding: Callable[[int], Seeding] | None, control: Pictures = None, reference: Pictures = None,
    ):  # fmt: skip
        self.studio, self.batcher, self.device = studio, studio.batcher, studio.device
        self.params, self.ctx, self.count, self.passes = seeds.settled(params), ctx, count, passes
        self.seeding = seeding or functools.partial(seeds.seeding, self.params)
        self.checkpoint = studio.checkpoints.get(params.model, ctx, params.vae)
        self.extensions = extensions_of(self.params)
        self.guidance, self.conditioning = (self.extensions.get(kind) for kind in ("guidance", "conditioning"))
        units = getattr(params, "controlnets", [])
        self.controls = Controls(units, control or [], studio.cache, studio.placement, self.checkpoint.unet, ctx)
        self.reference = None
        if getattr(params, "ip_adapter_weight", 0) and (params.ip_adapter or reference):
            from .ip_adapter import Reference  # takes a moment to import

            self.reference = Reference(params, reference or [], self.checkpoint, studio.cache, ctx)
        self.adapted: dict[Checkpoint, Checkpoint] = {}  # models with the networks of words, and with the reference
        self.refiner = self._refiner()
        self._reader, self._warned = Reader(params, ctx.models), set()
        self._embeddings: dict[tuple[int, ...], Embeddings] = {}  # by the widths of the text encoders that they fit
        self.stay: Stay | None = None  # on the device
        self.gone = threading.Event()  # nobody waits for the rest
        self.chunks: dict[tuple, Chunks] = {}  # of texts, by text encoder and text
        self._flying: list[Shot] = []  # the oldest first
        self._skips, self._done, self._fractions = ctx.skips, 0, 0.0

    def need(self) -> Need:
        """What it takes on the device, if its pictures have the size that is asked for, or is usual."""
        params, usual = self.params, self.checkpoint.size
        sides = [getattr(params, side, 0) or usual for side in ("width", "height")]
        if getattr(params, "hires", False):
            size = hires_size(params, *sides)
            sides = [size.width, size.height]
        need = self.checkpoint.need(*sides, self.controls.networks)
        return replace(need, besides=bytes_of([self.refiner])) if self.refiner else need

    def start(self, k: int, draw: Callable[[Shot], Result]) -> Future:
        """Begin shot k, whose words are read and whose networks are loaded first. The result is None if it was skipped
        before there was anything of it."""
        try:
            shot = self._shot(k)
        except Exception as error:
            return _failed(error)
        self._flying.append(shot)
        return self.batcher.submit(lambda: self._draw(shot, draw), shot.stops)

    def _shot(self, k: int) -> Shot:
        params, seeding = self.params, self.seeding(k)
        words, hires = self.read(params.prompt, params.negative_prompt, seeding), None
        checkpoint = self._variant(words)
        if getattr(params, "hires", False):
            texts = params.hires_prompt or params.prompt, params.hires_negative_prompt or params.negative_prompt
            other = self.read(*texts, seeding) if texts != (params.prompt, params.negative_prompt) else words
            hires = other, checkpoint if other is words else self._variant(other)
        return Shot(self, k, seeding, words, checkpoint, hires, self._refined(hires[0] if hires else words))

    def _refiner(self) -> Checkpoint | None:
        """The model that goes on where the first one stops. Raises InvalidParams if it draws in other latents."""
        params, first = self.params, self.checkpoint
        if params.refiner in ("", params.model):
            return None
        try:
            refiner = self.studio.checkpoints.get(params.refiner, self.ctx, params.vae)
        except CoreError as error:
            error.extra["field"] = "refiner"
            raise
        same = refiner.autoencoder.space == first.autoencoder.space
        if not same or refiner.channels_shown not in (0, first.channels_shown):
            why = "looks at more than the first one" if same else "works on another kind of latents"
            raise InvalidParams(
                f"refiner: {refiner.name} ({ARCHITECTURES[refiner.architecture]}) cannot go on with what {first.name} "
                f"({ARCHITECTURES[first.architecture]}) has begun: it {why}.",
                field="refiner",
                hint="Choose two models of the same family: Stable Diffusion 1 and 2, or XL and its refiner; "
                "one for inpainting or for editing pictures only after another one of its kind.",
            )
        return refiner

    def _refined(self, words: Words) -> Checkpoint | None:
        """The refiner with the networks that the words ask for, if they can be for both models."""
        if not self.refiner:
            return None
        alike = self.refiner.architecture == self.checkpoint.architecture
        networks = words.networks if alike else ()
        return self.studio.checkpoints.variant(self.refiner, networks, self.params.tiling, self.ctx)

    def embeddings(self, encoder: TextEncoder) -> Embeddings:
        if encoder.widths not in self._embeddings:
            self._embeddings[encoder.widths] = Embeddings(self.ctx.models, encoder.widths)
        return self._embeddings[encoder.widths]

    def read(self, prompt: str, negative_prompt: str, seeding: Seeding) -> Words:
        words = self._reader.read(prompt, negative_prompt, seeding.words)
        for warning in {*words.warnings} - self._warned:
            self._warned.add(warning)
            self.ctx.log(warning)
        return words

    def _variant(self, words: Words) -> Checkpoint:
        found = self.studio.checkpoints.variant(self.checkpoint, words.networks, self.params.tiling, self.ctx)
        if self.reference and found not in self.adapted:
            self.adapted[found] = self.reference.adapted(found)
        return found

    def _draw(self, shot: Shot, draw: Callable[[Shot], Result]) -> Result | None:
        try:
            result = draw(shot)
        except Cancelled:
            if not shot.skipped or self.ctx.cancelled:
                raise
            result = None
        finally:
            self._flying.remove(shot)
        self._finished(shot)
        return result

    def skips(self, shot: Shot) -> bool:
        """Whether the shot is to make way for the next: each skip ends the oldest that is on its way."""
        while self._skips < self.ctx.skips:
            self._skips += 1
            if oldest := next((each for each in self._flying if not each.skipped), None):
                oldest.skipped = True
        return shot.skipped

    def evaluated(self, shot: Shot, fraction: float) -> None:
        """Tell the progress: the mean of all shots, in steps. `fraction` of the shot's present run is done."""
        total = self.params.steps * self.passes
        before, shot.fraction = shot.fraction, (shot.passes + min(fraction, 1)) / self.passes
        self._fractions += shot.fraction - before
        self.ctx.progress(round(self._fractions / self.count * total, 2), total, "sample", self._next())

    def _next(self) -> dict[str, Any] | None:
        """When the oldest shot on its way will be done, if there are several and each is a picture."""
        oldest = self._flying[0]
        if self.count == 1 or self.count != self.params.pictures or not oldest.fraction:
            return None
        left = (time.monotonic() - oldest.began) * (1 - oldest.fraction) / oldest.fraction
        return {"index": oldest.k, "eta_seconds": round(left, 2)}

    def _finished(self, shot: Shot) -> None:
        self._fractions += 1 - shot.fraction
        shot.fraction = 1
        self._done += 1
        if self._fractions > self.count - 0.001:
            self.ctx.progress(self._done, self.count, "decode")

    def facts(self, shot: Shot, picture: PIL.Image.Image) -> dict[str, Any]:
        """What has to be known to draw the picture again."""
        variation, checkpoint = shot.seeding.variation, shot.checkpoint
        facts = {
            "seed": shot.seeding.seed,
            "variation_seed": variation[0] if variation else None,
            "variation_strength": variation[1] if variation else None,
            "width": picture.width,
            "height": picture.height,
            "model": checkpoint.name,
            "model_hash": checkpoint.hash,
            "vae_hash": checkpoint.other_vae and checkpoint.other_vae[1],
            "refiner": self.refiner.name if shot.refined else None,
            "refiner_hash": self.refiner.hash if shot.refined else None,
            "lora_hashes": shot.networks,
            "ti_hashes": shot.embeddings,
            "controlnet_hashes": self.controls.hashes,
            "ip_adapter_hashes": {self.reference.name: self.reference.hash} if self.reference else {},
            "partial": shot.partial,
            "memory": self.stay.mode.word if self.stay.mode is not Mode.FULL else None,
            "vae_tiled": shot.tiled,
            "vae_retried": shot.retried,
            "determinism": determinism(self.device, checkpoint, self.params, self.extensions),
        }
        facts = {name: fact for name, fact in facts.items() if fact not in (None, {}) and fact is not False}
        facts |= chosen(self.params, shot.words, shot.hires[0] if shot.hires else None)
        width, height = shot.size or picture.size
        fields = fields_of(self.params.model_dump() | {"width": width, "height": height}, facts)
        return facts | {"infotext": infotext(shot.words.prompt, shot.words.negative_prompt, fields)}


def extensions_of(params: Drawing) -> dict[str, Extension]:
    """Those that a job asks for, by the option that does. Raises InvalidParams, before anything is drawn, if the file
    of one cannot be run."""
    asked = {"sampler": "sampler", "hires_sampler": "sampler", "guidance": "guidance", "conditioning": "conditioning"}
    found = {
        option: EXTENSIONS[kind, name]
        for option, kind in asked.items()
        if (kind, name := getattr(params, option, None)) in EXTENSIONS
    }
    for extension in found.values():
        extension.load()
    return found
