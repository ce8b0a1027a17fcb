"""What A1111 calls extras: a finished picture enlarged, its faces restored, in one job that asks others for each."""

from typing import Any

from core.plugin import Artifact, Child, Context, Params, param

DEFAULT = "builtin/compact-x4"
LIST = "models/upscaler"
UPSCALER, FACES = "upscaler", "face_restorer"
GROUP, SECOND, SIZE = "faces", "second upscaler", "exact size"


class ExtrasParams(Params):
    upscaler: str = param(
        DEFAULT, choices_from=LIST, help="The network that enlarges, or a plain method. Empty: the size stays."
    )
    scale: float = param(
        2, ge=1, le=8, step=0.25, widget="slider", visible_if={"upscaler": True, "width": 0, "height": 0},
        help="How many times larger each side becomes.",
    )  # fmt: skip
    width: int = param(
        0, ge=0, le=32_768, unit="pixels", pairs_with="height", group=SIZE, visible_if={"upscaler": True},
        help="Width of the result, in place of the scale. With only one of width and height, the other follows.",
    )  # fmt: skip
    height: int = param(
        0, ge=0, le=32_768, unit="pixels", group=SIZE, visible_if={"upscaler": True}, help="Height of the result."
    )
    crop: bool = param(
        True, group=SIZE, visible_if={"width": True, "height": True},
        help="Cut off what is beyond the exact size. If not, the result covers that size.",
    )  # fmt: skip
    second_upscaler: str = param(
        "", choices_from=LIST, group=SECOND, visible_if={"upscaler": True},
        help="Another one, whose result is mixed in. Empty: none.",
    )  # fmt: skip
    second_visibility: float = param(
        0.5, ge=0, le=1, step=0.05, widget="slider", group=SECOND, visible_if={"second_upscaler": True},
        help="How much of the second one's result is seen.",
    )  # fmt: skip
    gfpgan_visibility: float = param(
        0, ge=0, le=1, step=0.05, widget="slider", group=GROUP,
        help="How much is seen of faces that GFPGAN restores. 0: it does not.",
    )  # fmt: skip
    codeformer_visibility: float = param(
        0, ge=0, le=1, step=0.05, widget="slider", group=GROUP,
        help="How much is seen of faces that CodeFormer restores. 0: it does not.",
    )  # fmt: skip
    codeformer_weight: float = param(
        0, ge=0, le=1, step=0.05, widget="slider", group=GROUP, visible_if={"codeformer_visibility": True},
        help="0 restores the most, 1 stays nearest to the face as it is.",
    )  # fmt: skip
    upscale_first: bool = param(False, group=GROUP, help="Enlarge before faces are restored: slower, finer faces.")


def extras(image: Artifact, params: ExtrasParams, ctx: Context) -> Artifact:
    """The picture itself where nothing is asked for. Raises ModelNotFound before anything is done."""
    steps = [_restoring("GFPGAN", "GFPGANv1.4.pth", {"visibility": params.gfpgan_visibility}, ctx)]
    more = {"visibility": params.codeformer_visibility, "weight": params.codeformer_weight}
    steps.append(_restoring("CodeFormer", "codeformer.pth", more, ctx))
    steps.insert(0 if params.upscale_first else 2, _enlarging(params))
    steps = [step for step in steps if step]
    models = [(FACES if job == "restore_faces" else UPSCALER, options["model"]) for _, job, options in steps]
    second = params.upscaler and params.second_visibility and params.second_upscaler
    ctx.models.all_there(models + ([(UPSCALER, second)] if second else []))
    children: list[Child] = []
    for name, job, options in steps:
        children.append(ctx.submit(job, options, {"image": children[-1] if children else image}, key=name))
    done = ctx.gather(children)  # all, so that of several the one that failed is told, not one that waited for it
    return done[-1].outputs[0] if done else image


def _enlarging(params: ExtrasParams) -> tuple[str, str, dict[str, Any]] | None:
    names = ("scale", "width", "height", "crop", "second_visibility")
    more = {"model": params.upscaler, "second_model": params.second_upscaler}
    options = {name: getattr(params, name) for name in names} | more
    return ("upscale", "upscale.upscale", options) if params.upscaler else None


def _restoring(name: str, file: str, options: dict[str, Any], ctx: Context) -> tuple[str, str, dict[str, Any]] | None:
    """By the newest model of that name, or the one that can be fetched."""
    if not options["visibility"]:
        return None
    there = [each for each in ctx.models.entries(FACES) if name.lower() in each.lower()]
    return name, "restore_faces", options | {"model": max(there, default=file)}
