"""How a caption and phrases become a prompt: classic, fast or best, and how phrases are ranked."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.plugin import Cancelled, Context, Image, Result

from .lists import phrase_lists, split
from .ranking import Ranker

if TYPE_CHECKING:
    from . import InterrogateParams, RankParams

Scores = dict[str, float]  # of phrases, the best first: the cosine between picture and phrase


def described(
    ranker: Ranker, image: Image, caption: str, folder: Path, params: "InterrogateParams", ctx: Context
) -> Result:
    lists = phrase_lists(folder, ctx.models.folder)
    scores = scored(ranker, image, {name: each.phrases for name, each in lists.items()}, ctx)
    partial = False
    if params.mode == "classic":
        chosen = [phrase for name, found in scores.items() for phrase in list(found)[: lists[name].top]]
    elif params.mode == "fast":
        every = {phrase: score for found in scores.values() for phrase, score in found.items()}
        chosen = sorted(every, key=lambda phrase: -every[phrase])[: params.most]
    else:
        candidates = [phrase for found in scores.values() for phrase in list(found)[: params.candidates]]
        chosen, partial = chain(ranker, image, caption, candidates, params.most, ctx)
    while chosen and not ranker.fits(_joined(caption, chosen)):
        chosen.pop()
    prompt = _joined(caption, chosen)
    every = {phrase: round(score, 4) for found in scores.values() for phrase, score in found.items()}
    facts: dict[str, Any] = {"caption": caption, "scores": {phrase: every[phrase] for phrase in chosen}}
    if partial:
        return Result(prompt, facts | {"partial": True})
    fit = float(ranker.texts([prompt], ctx)[0] @ ranker.picture(image))
    return Result(prompt, facts | {"fit": round(fit, 4)})


def chain(
    ranker: Ranker, image: Image, caption: str, candidates: list[str], most: int, ctx: Context
) -> tuple[list[str], bool]:
    """Phrases of which each makes the prompt fit better than any other would, until none does. Whether it was cut."""
    picture, chosen = ranker.picture(image), []
    fit = float(ranker.texts([caption], ctx)[0] @ picture)
    for step in range(most):
        ctx.progress(step, most, "chain")
        left = [phrase for phrase in candidates if phrase not in chosen]
        if not left:
            break
        try:
            fits = ranker.texts([_joined(caption, [*chosen, phrase]) for phrase in left], ctx) @ picture
        except Cancelled:
            if not ctx.keep_partial:
                raise
            return chosen, True
        best = int(fits.argmax())
        if float(fits[best]) <= fit or not ranker.fits(_joined(caption, [*chosen, left[best]])):
            break
        fit = float(fits[best])
        chosen.append(left[best])
    ctx.progress(most, most, "chain")
    return chosen, False


def ranked(ranker: Ranker, image: Image, folder: Path, params: "RankParams", ctx: Context) -> dict[str, Any]:
    """Of each list the best phrases: `fit`, the cosine with the picture, and `share` of all chances in the list."""
    import torch

    own = split(params.phrases)
    lists = {"phrases": own} if own else {
        name: each.phrases for name, each in phrase_lists(folder, ctx.models.folder).items()
    }  # fmt: skip
    found = scored(ranker, image, lists, ctx)
    told = {}
    for name, scores in found.items():
        shares = (torch.tensor(list(scores.values())) * ranker.scale).softmax(0).tolist()
        pairs = list(zip(scores.items(), shares, strict=True))[: params.top]
        told[name] = [
            {"phrase": phrase, "fit": round(fit, 4), "share": round(share, 4)} for (phrase, fit), share in pairs
        ]
    return {"model": params.clip, "lists": told}


def scored(ranker: Ranker, image: Image, lists: dict[str, list[str]], ctx: Context) -> dict[str, Scores]:
    picture = ranker.picture(image)
    every = [phrase for phrases in lists.values() for phrase in phrases]
    fits = dict(zip(every, (ranker.texts(every, ctx, keep=True, phase="phrases") @ picture).tolist(), strict=True))
    return {
        name: {each: fits[each] for each in sorted(phrases, key=lambda each: -fits[each])}
        for name, phrases in lists.items()
    }


def _joined(caption: str, phrases: list[str]) -> str:
    return ", ".join([*([caption] if caption else []), *phrases])
