"""One picture of a job, on its way: its words, its noise, and the runs of a sampler that it takes.

All methods run on the device's thread, each shot in a greenlet of its own; where they need the device, they sleep
until the batcher has the answer."""

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy
import PIL.Image
import torch
from torch import Tensor

from core.plugin import Cancelled, InvalidParams, Result

from . import composition, editing, pieces
from .checkpoint import Checkpoint
from .chunks import Chunks, Wording
from .conditioning import Condition, TextEncoder
from .denoiser import Ask
from .guidance import Conditions, Evaluation, Scheduled, rescaled
from .guides import Guide, Scene
from .names import EXTENSIONS, SECOND_ORDER
from .noise import Noise
from .options import Drawing
from .placement import Mode
from .samplers import SamplerOptions, evaluations, sample
from .schedules import schedule_sigmas
from .seeds import Seeding
from .shown import EDITS, nothing_shown
from .words import Words

if TYPE_CHECKING:
    from .ip_adapter import Reference
    from .studio import Job

UNSEEN_SECONDS = 0.4  # a picture that takes no longer needs no preview, and what is there by then is little but noise
MAX_CHUNKS = 100  # of a prompt
MAX_TEXTS = 200  # that a job has read are kept
Code = Callable[[list[Any]], list[Any]]
ROWS = 64  # of a network at once at most; how many are best, the batcher finds out
# What shares its memory with the machine would take it from others: no more there than for 16 latents of 64 x 64.
CAREFUL_ROWS = {"cpu": 16, "mps": 16}
PART = 16  # of what one picture asks for at once
DECODED = 64 * 64  # latents that are decoded at once at most: as many as one picture of 512 x 512 has


@dataclass(frozen=True)
class Way:
    """How one run of a sampler goes."""

    sampler: str
    schedule: str
    steps: int
    cfg_scale: float


@dataclass(eq=False)
class Shot:
    """Picture `k` of a job. `checkpoint` is the model with the networks that the words ask for. The last run goes on
    with the `refiner`, if there is one, when its turn has come."""

    job: "Job"
    k: int
    seeding: Seeding
    words: Words
    checkpoint: Checkpoint
    hires: tuple[Words, Checkpoint] | None = None  # of the second pass
    refiner: Checkpoint | None = None
    refined: bool = False  # its turn has come
    networks: dict[str, str] = field(init=False)  # the hashes, by name, of those that it is drawn with
    embeddings: dict[str, str] = field(default_factory=dict)  # the hashes, by name, of those in the words read so far
    scene: Scene | None = None  # that it redraws
    size: tuple[int, int] | None = None  # that it is drawn in, or in which it is first
    partial: bool = False  # somebody wanted it to end: what there is then is taken for the picture
    skipped: bool = False
    tiled: bool = False  # it went through the VAE in pieces
    retried: bool = False  # the VAE had to compute again in float32
    fraction: float = 0.0  # of it is done
    began: float = field(default_factory=time.monotonic)
    passes: int = 0  # that are done

    def __post_init__(self):
        models = self.checkpoint, self.hires and self.hires[1], self.refiner
        self.networks = {name: found for model in models if model for name, found in model.networks.items()}

    @property
    def params(self) -> Drawing:
        return self.job.params

    def reads(self, prompt: str, negative_prompt: str, field: str) -> Words:
        """Other prompts, of the option `field`, read as those of this picture are. Raises InvalidParams if they ask for
        networks that its own do not: the model stays the same."""
        words = self.job.read(prompt, negative_prompt, self.seeding)
        if others := {*words.networks} - {*self.words.networks}:
            raise InvalidParams(
                f"{field}: {', '.join(sorted(network.name for network in others))} would change the model on the way.",
                field=field,
                hint="Name networks, with the same weights, in prompt, too, or only there.",
            )
        return words

    @property
    def way(self) -> Way:
        """How the first run goes."""
        params = self.params
        return Way(params.sampler, params.schedule, params.steps, params.cfg_scale)

    def sigmas(self, way: Way, steps: int = 0) -> Tensor:
        """Noise levels of `steps` steps, by default those of the way: float32 (steps + 1,)."""
        params = self.params
        return schedule_sigmas(
            way.schedule, self.checkpoint.denoiser.levels, steps or way.steps, way.sampler,
            params.sigma_min, params.sigma_max, params.rho,
        )  # fmt: skip

    def noise(self, width: int, height: int) -> Noise:
        """The random numbers of this picture, for latents of width x height pixels."""
        self.size = self.size or (width, height)
        params, autoencoder = self.params, self.checkpoint.autoencoder
        factor, resize = autoencoder.factor, (params.seed_resize_height, params.seed_resize_width)
        return Noise(
            self.seeding.seed,
            (1, autoencoder.channels, height // factor, width // factor),
            self.job.device,
            source=params.noise_source,
            variation=self.seeding.variation,
            resize_from=tuple(side // factor for side in resize) if all(resize) else None,
            ensd=params.ensd,
        )

    def conditions(
        self, words: Words, way: Way, width: int, height: int, second: bool = False, shown: Tensor | None = None
    ) -> Conditions:
        """What the words become on this way to a picture of width x height; in a `second` run, what is left of them
        after the first. `shown` is what the model sees beside the latents, see shown.py; by default as little as it
        can. As in A1111, with hires fix only the second run is refined."""
        # Editing counts evaluations of the denoiser, as in A1111.
        before, now = (each.steps * (2 if each.sampler in SECOND_ORDER else 1) for each in (self.way, way))
        steps = (before, now) if second else (now, None)
        told = self._told(self.checkpoint, words, steps, (width, height), shown)
        if self.refiner and second == bool(self.hires):
            shown = shown if self.refiner.channels_shown else None
            told.refined = self._told(self.refiner, words, steps, (width, height), shown)
        return told

    def _told(
        self, model: Checkpoint, words: Words, steps: tuple[int, int | None], size: tuple[int, int],
        shown: Tensor | None,
    ) -> Conditions:  # fmt: skip
        """What a model is told of the words. `steps` are those of `editing.edits`."""

        def scheduled(text: str, negative: bool = False) -> Scheduled:
            edits = editing.edits(text, *steps)
            read = {part: self._condition(model, part) for _, part in edits}
            if negative:
                read = {part: replace(condition, negative=True) for part, condition in read.items()}
            if (sizes := model.sizes(*size, negative)) is not None:
                read = {part: replace(condition, sizes=sizes) for part, condition in read.items()}
                if negative and not any(read):  # what XL was trained with; A1111 leaves an empty prompt as it is
                    read = {part: condition.zeroed() for part, condition in read.items()}
            read = {part: self._changed(condition, part) for part, condition in read.items()}
            return [(until, read[part]) for until, part in edits]

        parts = [(weight, scheduled(text)) for text, weight in composition.parts(words.text)]
        edits = shown is not None and model.channels_shown == EDITS
        return Conditions(
            parts, scheduled(words.negative_prompt, negative=True), shown,
            self.params.image_cfg_scale if edits else None, model.distilled,
        )  # fmt: skip

    def _changed(self, condition: Condition, text: str) -> Condition:
        """What the conditioning that is asked for makes of it."""
        if not (conditioning := self.job.conditioning):
            return condition
        changed = conditioning.ask(self.params, condition, text)
        if not isinstance(changed, Condition) or changed.context.shape[2:] != condition.context.shape[2:]:
            raise conditioning.wrong(
                f"{conditioning.function} must return a Condition with a context as wide as before"
            )
        return changed

    def _condition(self, model: Checkpoint, text: str) -> Condition:
        """What a text becomes. Notes which embeddings are in it."""
        job, encoder = self.job, model.text
        key = encoder, text
        if key not in job.chunks:
            if len(job.chunks) >= MAX_TEXTS:
                job.chunks.clear()
            job.chunks[key] = self._chunks(encoder, text)
        chunks = job.chunks[key]
        hashes = {name: job.embeddings(encoder).hashes[name] for name in chunks.embeddings}
        self.embeddings |= hashes
        read = text, chunks.wording, *hashes.values(), self.params.exact
        if (condition := model.recall.get(read)) is None:
            # The shots of a job that ask for it at once get it by one call.
            condition = job.batcher.call(encoder.encode, chunks, rows=len(chunks.chunks), most=self.together(ROWS))
            model.recall.keep(read, condition)
        return condition

    def _chunks(self, encoder: TextEncoder, text: str) -> Chunks:
        params = self.params
        wording = Wording(params.clip_skip, params.emphasis, params.comma_backtrack)
        chunks = encoder.chunks(text, wording, self.job.embeddings(encoder))
        if len(chunks.chunks) > MAX_CHUNKS:
            raise InvalidParams(
                f"prompt: it has {len(chunks.chunks)} chunks, the limit is {MAX_CHUNKS}. Use fewer words or BREAKs.",
                field="prompt",
            )
        return chunks

    def sample(
        self, way: Way, sigmas: Tensor, conditions: Conditions, x: Tensor, noise: Noise,
        start: Tensor | None = None, mask: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """The latents at the end of a run that begins with the noisy `x`, float32 (1, C, h, w).

        `start` are the latents without noise, if there were any; where `mask` (1, 1, h, w) is 0 they stay, where it is
        1 they are redrawn. If somebody wants the shot to end, it is the latest estimate, or else `start`; without
        either, or if nobody wants what there is, Cancelled is raised. Raises InvalidParams for what is not a number."""
        if self.partial:
            return start
        guides = self.job.controls.guides(*self._pixels(x), self.scene)
        run = Run(self, way, conditions, evaluations(way.sampler, sigmas), mask, start, guides)
        params, extension = self.params, EXTENSIONS.get(("sampler", way.sampler))
        options = SamplerOptions(
            eta=None if params.eta < 0 else params.eta,
            s_churn=params.s_churn, s_tmin=params.s_tmin, s_tmax=params.s_tmax, s_noise=params.s_noise,
            more=extension.values(params) if extension else {},
        )  # fmt: skip
        try:
            latents = sample(way.sampler, run.denoise, x, sigmas, noise, run.after_step, options)
        except Cancelled:
            there = start if run.denoised is None else run.denoised
            if there is None or not self.keeps:
                raise
            self.partial = True
            return there
        except FloatingPointError as error:
            raise not_a_number(self.checkpoint.name) from error
        if not latents.isfinite().all():
            raise not_a_number(self.checkpoint.name)
        self.passes += 1
        return latents if mask is None else latents * mask + start * (1 - mask)

    def _pixels(self, x: Tensor) -> tuple[int, int]:
        """Width and height of the picture of latents x."""
        factor = self.checkpoint.autoencoder.factor
        return x.shape[3] * factor, x.shape[2] * factor

    def stops(self) -> bool:
        """Whether somebody wants this shot to end."""
        return self.job.ctx.cancelled or self.job.gone.is_set() or self.job.skips(self)

    @property
    def keeps(self) -> bool:
        """Whether what is there is wanted when the shot ends early."""
        return self.skipped or self.job.ctx.keep_partial

    def together(self, most: int) -> int:
        """How many rows may be run with those of this shot at once, if `most` could be."""
        return 1 if self.params.exact else most

    def encode(self, picture: PIL.Image.Image | numpy.ndarray) -> Tensor:
        """Latents (1, C, h, w) of an RGB picture, or of an array (H, W, 3) from 0 to 255."""
        array = numpy.array(picture)
        coder, (height, width) = self.checkpoint.autoencoder, array.shape[:2]
        return self._coded(
            height * width // coder.factor**2,
            lambda: self._through(coder.encode, coder.encode_in_float32, array),
            lambda: pieces.encoded(
                lambda piece: self._through(coder.encode, coder.encode_in_float32, piece.numpy()),
                torch.from_numpy(array), coder.factor, self.params.tiling,
            ),
        )  # fmt: skip

    def decode(self, latents: Tensor) -> PIL.Image.Image:
        """The RGB picture of latents (1, C, h, w), also if the shot is to end meanwhile and what is there is wanted."""
        coder = self.checkpoint.autoencoder

        def decode(z: Tensor) -> PIL.Image.Image:
            most = max(1, DECODED // (z.shape[2] * z.shape[3]))
            call = coder.decode, coder.decode_in_float32, z, z.shape, most
            try:
                return self._through(*call)
            except Cancelled:
                if not self.keeps:
                    raise
                self.partial = self.partial or self.passes < self.job.passes  # no other run is to begin
                return self._through(*call)  # the end is told once

        return self._coded(
            latents.shape[2] * latents.shape[3],
            lambda: decode(latents),
            lambda: pieces.decoded(decode, latents, coder.factor, self.params.tiling),
        )

    def _coded(self, latents: int, whole: Callable[[], Any], in_pieces: Callable[[], Any]) -> Any:
        """What comes out of the VAE: of the `whole` picture, or if so many `latents` are too much, of its pieces, which
        lets others have their turns, too."""
        if latents <= (pieces.PIECE**2 if self.job.stay.mode is Mode.LOW else pieces.WHOLE):
            try:
                return whole()
            except torch.OutOfMemoryError:
                if latents <= pieces.PIECE**2:
                    raise
        self.tiled = True
        return in_pieces()

    def _through(self, code: Code, again: Code, value: Any, alike: Hashable = (), most: int = 1) -> Any:
        """One call of the VAE: `again`, which is in float32, if what `code` gives is not a number, and from then on."""
        if not self.retried:
            try:
                return self.job.batcher.call(code, value, alike, most=self.together(most))
            except FloatingPointError:
                self.retried = True
                dtype = str(self.checkpoint.autoencoder.dtype).removeprefix("torch.")
                self.job.ctx.log(f"the VAE gave not-a-number in {dtype}; again in float32.")
        try:
            return self.job.batcher.call(again, value)
        except FloatingPointError as error:
            raise not_a_number(self.checkpoint.name) from error

    def result(self, picture: PIL.Image.Image) -> Result:
        """The picture with all that has to be known to draw it again."""
        return Result(picture, self.job.facts(self, picture))


def not_a_number(model: str) -> InvalidParams:
    return InvalidParams(
        f"model {model!r} answered with not-a-number, of which no picture can be made.",
        field="model",
        hint="Use lower weights and a lower cfg_scale, or another sampler. Some models are too large for float16.",
    )


@dataclass(eq=False)
class Run:
    """One run of a sampler: the denoiser that it calls, which knows the model and the prompts of each evaluation."""

    shot: Shot
    way: Way
    conditions: Conditions
    expected: int  # evaluations
    mask: Tensor | None
    start: Tensor | None
    guides: Sequence[Guide] = ()
    evaluation: int = -1  # the latest, from 0
    denoised: Tensor | None = None  # the latest estimate of the latents without noise
    memory: dict[str, Any] = field(default_factory=dict)  # of the guidance
    model: Checkpoint = field(init=False)

    def __post_init__(self):
        self.model = self.shot.checkpoint

    def denoise(self, x: Tensor, sigma: Tensor, **_: Any) -> Tensor:
        """The guided estimate of the latents without noise, float32 (1, C, h, w)."""
        self.evaluation += 1
        if not self.evaluation and self.conditions.shown is None:
            self.conditions.shown = nothing_shown(self.shot, x)
        if self.conditions.refined and self._is_turn_of_refiner(sigma):
            self._refine()
        shot, params, scale = self.shot, self.shot.params, self.way.cfg_scale
        if params.ngms and self.evaluation % 2 and sigma.max() < params.ngms:
            scale = 1.0  # without the negative prompt: A1111's negative guidance minimum sigma
        guides = scale not in (0, 1)  # one prompt alone needs no guidance
        guidance, rescale = (shot.job.guidance, params.cfg_rescale) if guides else (None, 0)
        terms = self.conditions.terms(self.evaluation, scale, whole=bool(guidance or rescale))
        estimates = self._estimates(x, sigma, self._guided([term.condition for term in terms]))
        evaluated = Evaluation(terms, estimates, x, sigma, scale, self.evaluation / self.expected, self.memory)
        denoised = guidance.ask(params, evaluated) if guidance else evaluated.guided
        if guidance and getattr(denoised, "shape", None) != x.shape:
            raise guidance.wrong(f"{guidance.function} must return a tensor of shape {tuple(x.shape)}")
        if rescale:
            denoised = rescaled(denoised, evaluated.plain, rescale, x, sigma)
        if self.mask is not None:
            denoised = denoised * self.mask + self.start * (1 - self.mask)
        self.denoised = denoised
        shot.job.evaluated(shot, (self.evaluation + 1) / self.expected)
        return denoised

    def _is_turn_of_refiner(self, sigma: Tensor) -> bool:
        """A1111's rule from 1.8 on: it is when this share of the noise levels of the training lies behind."""
        levels = self.model.denoiser.levels.sigmas
        level = int((levels - sigma.max()).abs().argmin())
        return (len(levels) - 1 - level) / len(levels) >= self.shot.params.refiner_switch_at

    def _refine(self) -> None:
        refiner, refined = self.shot.refiner, self.conditions.refined
        if refiner.architecture != self.model.architecture:
            self.guides = ()  # ControlNets are for one architecture
        refined.shown = self.conditions.shown if refiner.channels_shown else None
        self.model, self.conditions, self.shot.refined = refiner, refined, True

    @property
    def _share(self) -> float:
        """How much of the run is behind."""
        return min(1, self.evaluation / self.expected)

    @property
    def _reference(self) -> "Reference | None":
        """The reference pictures, if they count now; a refiner is not told of them."""
        job = self.shot.job
        return job.reference if self.model in job.adapted and job.reference.acts(self._share) else None

    def _guided(self, conditions: list[Condition]) -> list[Condition]:
        """The conditions with the ControlNets and reference pictures that act at this share of the run."""
        acting, reference = [guide for guide in self.guides if guide.acts(self._share)], self._reference
        return [
            replace(
                each,
                controls=[guide.control for guide in acting if guide.tells(each.negative)],
                pictures=reference and reference.told(each.negative),
            )
            for each in conditions
        ]

    def _estimates(self, x: Tensor, sigma: Tensor, conditions: list[Condition]) -> Tensor:
        """One for each condition, float32 (n, C, h, w). A prompt may have thousands of ANDs: with more rows than the
        UNet takes at once, others have their turns in between, and the memory suffices."""
        most = CAREFUL_ROWS.get(x.device.type, ROWS) * 64 * 64 // (x.shape[2] * x.shape[3])
        most = max(2, min(ROWS, most))
        part = min(PART, most)
        asks = [Ask(x, sigma, conditions[k : k + part]) for k in range(0, len(conditions), part)]
        job, pictures = self.shot.job, conditions[0].pictures
        denoise = (job.adapted[self.model] if self._reference else self.model).denoiser.denoise
        alike, most = (x.shape, None if pictures is None else pictures.shape), self.shot.together(most)
        return torch.cat([job.batcher.call(denoise, ask, alike, len(ask.conditions), most) for ask in asks])

    def after_step(self, step: dict[str, Any]) -> None:
        ctx = self.shot.job.ctx
        if ctx.wants_preview and time.monotonic() - self.shot.began >= UNSEEN_SECONDS:
            ctx.preview(self.shot.checkpoint.previewer.picture(step["denoised"]))
