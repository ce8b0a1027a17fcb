"""What the interrogate plugin offers: words for pictures, as captions, tags and rankings of phrases."""

from typing import Any, Literal

from core.plugin import Cancelled, Context, Image, Json, Params, Plugin, Result, Text, job, param

from .loaded import Loaded

CLIP = param("clip-vit-large-patch14", choices_from="models/clip", help="CLIP model that compares pictures and words.")
TAGGER = param(
    "builtin/shapes",
    choices_from="models/tagger",
    help="Which tagger. The built-in one knows coloured shapes only; WD14 and DeepDanbooru know thousands of tags.",
)


class InterrogateParams(Params):
    mode: Literal["fast", "best", "classic", "caption"] = param(
        "fast",
        help="fast: a caption and the phrases that fit the picture best. best: phrases that fit together, found one "
        "after the other; slow. classic: a caption and the best of each list. caption: no more than that.",
    )
    captioner: str = param(
        "blip-image-captioning-base", choices_from="models/captioner", help="BLIP model that writes the caption."
    )
    clip: str = CLIP
    most: int = param(16, ge=1, le=64, widget="slider", help="With fast and best, at most this many phrases.")
    caption: str = param(
        "", max_length=1000, advanced=True, help="Take this for the caption, instead of asking the captioner."
    )
    caption_start: str = param(
        "", max_length=200, advanced=True, help="How the caption begins, as in 'a photo of'; it is continued."
    )
    shortest: int = param(
        5, ge=0, le=100, unit="tokens", advanced=True, help="Captions have at least this many words, or parts of words."
    )
    longest: int = param(
        50, ge=1, le=100, unit="tokens", advanced=True, help="Captions have at most this many words, or parts of words."
    )
    beams: int = param(
        3, ge=1, le=16, advanced=True, help="How many captions are tried side by side; more read better and are slower."
    )
    candidates: int = param(
        48, ge=1, le=1000, advanced=True, visible_if={"mode": "best"},
        help="With best, how many of each list are tried in each round.",
    )  # fmt: skip


class RankParams(Params):
    clip: str = CLIP
    phrases: str = param(
        "", widget="textarea", max_length=100_000,
        help="What to compare the picture with, a phrase on each line. Empty: all lists, the built-in ones and yours.",
    )  # fmt: skip
    top: int = param(10, ge=1, le=1000, help="How many of each list to tell, the best first.")


class Threshold(Params):
    model: str = TAGGER
    threshold: float = param(0.35, ge=0, le=1, step=0.01, widget="slider", help="Tags less likely are left out.")
    character_threshold: float = param(
        0.85, ge=0, le=1, step=0.01, widget="slider", help="The same, for names of characters."
    )


class TagParams(Threshold):
    exclude: str = param("", max_length=10_000, help="Tags that are never wanted, with commas between them.")
    most: int = param(0, ge=0, le=1000, help="At most this many tags, the likeliest; 0: all.")
    sort: Literal["likely", "alphabet", "model"] = param(
        "likely", help="In which order; model: as the tagger has them."
    )
    spaces: bool = param(True, help="Write blanks in place of underscores, but in faces such as ^_^.")
    escape: bool = param(True, help="Write \\( and \\) for brackets in tags, which would be weights in a prompt.")
    rating: bool = param(False, help="Tell the rating as well, where the tagger has some.")
    weights: bool = param(False, help="Write each tag with its likelihood, as in (red circle:0.98).")


class Interrogate(Plugin):
    def load(self, device: str) -> None:
        self._loaded = Loaded(device)

    def unload(self) -> None:
        self._loaded.clear()

    @job(affinity="clip", memory=2_500_000_000, reuse=True)
    def interrogate(self, image: Image, params: InterrogateParams, ctx: Context) -> Text:
        """Find a prompt for a picture: a caption, and artists, mediums, movements and flavors that fit it."""
        from .captions import Captioner
        from .prompts import described
        from .ranking import Ranker

        needed = [("captioner", params.captioner)] if not params.caption else []
        needed += [("clip", params.clip)] if params.mode != "caption" else []
        ctx.models.all_there(needed)  # before anything is done with the first
        caption = params.caption
        if not caption:
            captioner = self._loaded.get("captioner", params.captioner, Captioner, ctx)
            caption = captioner.caption(image, params, ctx)
        if params.mode == "caption":
            return Result(caption, {"caption": caption} | ({"partial": True} if ctx.cancelled else {}))
        try:
            ranker = self._loaded.get("clip", params.clip, Ranker, ctx)
            return described(ranker, image, caption, self.folder, params, ctx)
        except Cancelled:
            if not ctx.keep_partial:
                raise
            return Result(caption, {"caption": caption, "partial": True})

    @job(affinity="clip", memory=1_000_000_000, reuse=True)
    def rank(self, image: Image, params: RankParams, ctx: Context) -> Json:
        """Compare a picture with phrases: how well each fits, the best first."""
        from .prompts import ranked
        from .ranking import Ranker

        return ranked(self._loaded.get("clip", params.clip, Ranker, ctx), image, self.folder, params, ctx)

    @job(affinity="model", reuse=True)
    def tag(self, image: Image, params: TagParams, ctx: Context) -> Text:
        """Find the tags of a picture."""
        from .wording import worded

        found = self._tagged(image, params, ctx)
        text = worded(found, params)
        return Result(text, {"model": params.model, "scores": found.said, "rating": found.rating})

    @job(affinity="model", reuse=True)
    def tag_scores(self, image: Image, params: Threshold, ctx: Context) -> Json:
        """Tell how likely each tag of a picture is, as JSON."""
        found = self._tagged(image, params, ctx)
        kinds: dict[str, Any] = {"rating": found.rating, "character": found.characters, "general": found.general}
        return {"model": params.model} | {
            kind: dict(sorted(scores.items(), key=lambda each: -each[1])) for kind, scores in kinds.items()
        }

    def _tagged(self, image: Image, params: Threshold, ctx: Context):
        from .tagging import Tagger

        ctx.progress(0, 1, "tags")
        tagger = self._loaded.get("tagger", params.model, Tagger, ctx)
        found = tagger.tags(image).above(params.threshold, params.character_threshold)
        ctx.progress(1, 1, "tags")
        return found
