"""Faces: found, cut out, and restored in their place."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from core.plugin import Context, Image, Json, Params, Plugin, Result, infotext_of, job, param

BUILTIN = "builtin/cascades"


class FindParams(Params):
    detector: str = param(
        "", choices_from="models/face_detector", advanced=True, group="which faces",
        help="Who looks for the faces. Empty: RetinaFace if its weights are there, else what comes with OpenCV.",
    )  # fmt: skip
    faces: Literal["all", "largest", "middle"] = param(
        "all", group="which faces",
        help="All faces, only the largest one, or only the one nearest to the picture's middle.",
    )  # fmt: skip
    confidence: float = param(
        0.95, ge=0.5, le=0.99, step=0.01, widget="slider", advanced=True, group="which faces",
        help="How sure the detector has to be: lower finds more, also what is no face.",
    )  # fmt: skip
    smallest: int = param(
        12, ge=1, le=4096, unit="pixels", advanced=True, group="which faces",
        help="Faces that are smaller are left out.",
    )  # fmt: skip
    detection_size: int = param(
        640, ge=256, le=2048, step=64, unit="pixels", advanced=True, group="which faces",
        help="The shorter side of the copy in which faces are looked for: longer finds smaller ones, and takes longer.",
    )  # fmt: skip


class RestoreParams(FindParams):
    model: str = param(
        "GFPGANv1.4.pth", choices_from="models/face_restorer", order=-3, help="The network that restores."
    )
    visibility: float = param(
        1, ge=0, le=1, step=0.05, widget="slider", order=-2,
        help="How much of the restored faces is seen: 0 is the picture as it was.",
    )  # fmt: skip
    weight: float = param(
        0.5, ge=0, le=1, step=0.05, widget="slider", order=-1,
        help="Only for CodeFormer: 0 restores the most, 1 stays nearest to the face as it is.",
    )  # fmt: skip


class CutParams(FindParams):
    size: int = param(512, ge=32, le=2048, unit="pixels", order=-3, help="Width and height of each face's picture.")
    model: str = param(
        "", choices_from="models/face_restorer", order=-2,
        help="The network that restores the faces. Empty: they stay as they are.",
    )  # fmt: skip
    weight: float = param(
        0.5, ge=0, le=1, step=0.05, widget="slider", order=-1, visible_if={"model": True},
        help="Only for CodeFormer: 0 restores the most, 1 stays nearest to the face as it is.",
    )  # fmt: skip


class FacesSettings(Params):
    non_commercial: bool = param(
        False, help="Allow CodeFormer, whose licence, the S-Lab License 1.0, allows no commercial use."
    )


class Faces(Plugin):
    settings: FacesSettings

    def __init__(self, folder: Path):
        super().__init__(folder)
        self._device = "cpu"
        self._kept: dict[str, tuple[Any, Any]] = {}  # of each kind the network used last, and what it was made of

    def load(self, device: str) -> None:
        self._device = device

    def unload(self) -> None:
        self._kept.clear()

    @job(affinity="model", reuse=True, memory=1_500_000_000)
    def restore_faces(
        self, image: Annotated[Image, "The picture whose faces are restored."], params: RestoreParams, ctx: Context
    ) -> Image:
        """Restore blurred, small or damaged faces in a picture, and leave everything else as it is."""
        from . import alignment

        facts: dict[str, Any] = {"model": params.model, "faces": 0}
        if params.visibility == 0:
            return Result(image, _told(image, facts))
        restore = self._restorer(params.model, ctx)  # before the search: what is missing is told at once
        pixels = _pixels(image)
        found = self._found(pixels, params, ctx)
        result, fade, parse = pixels.copy(), alignment.feathered(), self._parser(ctx) if found else None
        for face in found:
            if ctx.cancelled and ctx.keep_partial:
                facts["partial"] = True
                break
            ctx.raise_if_cancelled()
            ctx.progress(facts["faces"], len(found), "restore faces")
            matrix = alignment.to_square(face.landmarks)
            restored = restore(alignment.cut(pixels, matrix), params.weight)
            mask = fade * parse(restored) if parse else fade
            alignment.paste(result, restored, matrix, mask * params.visibility)
            facts["faces"] += 1
            if ctx.wants_preview:
                ctx.preview(_like(image, result))
        ctx.progress(len(found), max(1, len(found)), "restore faces")
        if not facts["faces"]:
            return Result(image, _told(image, facts))
        facts["boxes"] = [[round(side) for side in face.box.tolist()] for face in found[: facts["faces"]]]
        keys = {f"Postprocess {restore.kind} visibility": round(params.visibility, 3)}
        keys |= {"Postprocess CodeFormer weight": round(params.weight, 3)} if restore.kind == "CodeFormer" else {}
        return Result(_like(image, result), _told(image, facts, keys))

    @job(affinity="model", reuse=True, memory=1_500_000_000)
    def cut_faces(self, image: Image, params: CutParams, ctx: Context) -> Iterator[Image]:
        """Cut the faces out of a picture, each upright in a square of its own; restored, if you like."""
        import cv2
        import PIL.Image

        from . import alignment

        restore = self._restorer(params.model, ctx) if params.model else None
        pixels = _pixels(image)
        found = self._found(pixels, params, ctx)
        for number, face in enumerate(found):
            if ctx.cancelled and ctx.keep_partial:
                return
            ctx.raise_if_cancelled()
            ctx.progress(number, len(found), "cut faces")
            matrix = alignment.to_square(face.landmarks)
            square = alignment.cut(pixels, matrix, alignment.SIDE if restore else params.size)
            if restore:
                square = restore(square, params.weight)
                way = cv2.INTER_AREA if params.size < alignment.SIDE else cv2.INTER_CUBIC
                square = cv2.resize(square, (params.size, params.size), interpolation=way)
            cut = PIL.Image.fromarray(square)
            yield Result(cut, {"face": number, **_described(face)})
        ctx.progress(len(found), max(1, len(found)), "cut faces")

    @job(reuse=True)
    def find_faces(self, image: Image, params: FindParams, ctx: Context) -> Json:
        """Tell where the faces in a picture are: boxes (left, top, right, bottom), landmarks (both eyes, nose, both
        corners of the mouth), and how sure that is."""
        found = self._found(_pixels(image), params, ctx)
        return {"width": image.width, "height": image.height, "faces": [_described(face) for face in found]}

    def _found(self, pixels: Any, params: FindParams, ctx: Context) -> list[Any]:
        from . import finding

        def step(done: int, of: int) -> None:
            ctx.raise_if_cancelled()
            ctx.progress(done, of, "find faces")

        step(0, 1)
        found = finding.faces(pixels, self._finder(params.detector, ctx), params.detection_size, step)
        if ctx.low_memory:
            self._kept.pop("detector")
        found = [face for face in found if face.score >= params.confidence and face.size >= params.smallest]
        if params.faces != "all" and found:
            height, width = pixels.shape[:2]
            nearest = {"largest": lambda face: -face.size, "middle": lambda face: face.away_from(width / 2, height / 2)}
            found = [min(found, key=nearest[params.faces])]
        ctx.log(f"found {len(found)} face{'s' * (len(found) != 1)}" + ("; the picture stays as it is" * (not found)))
        ctx.raise_if_cancelled()
        return found

    def _finder(self, name: str, ctx: Context) -> Any:
        from . import finding

        if not name:
            there = [each for each, path in ctx.models.entries("face_detector").items() if path.suffix != ".json"]
            name = min(there, key=lambda each: ("resnet" not in each.lower(), each), default=BUILTIN)
        path = ctx.models.path("face_detector", name)
        if path.suffix == ".json":
            return self._once("detector", path, finding.Cascades)
        return self._once("detector", path, finding.RetinaFace, path, self._device)

    def _restorer(self, name: str, ctx: Context) -> Any:
        from . import restoring

        path = ctx.models.path("face_restorer", name)
        ctx.progress(0, 1, "load model")
        return self._once("restorer", path, restoring.restorer, path, self._device, self.settings.non_commercial)

    def _parser(self, ctx: Context) -> Any:
        from . import restoring

        path = next(iter(ctx.models.entries("face_parser").values()), None)
        return path and self._once("parser", path, restoring.Parser, path, self._device)

    def _once(self, kind: str, path: Path, make: Callable[..., Any], *given: Any) -> Any:
        """What `make` makes of what is given, from then on: of each kind one, until the file is another one."""
        stat = path.stat()
        wanted = (path, stat.st_mtime_ns, stat.st_size, given)
        if self._kept.get(kind, (None,))[0] != wanted:
            self._kept.pop(kind, None)  # its memory first
            self._kept[kind] = (wanted, make(*given))
        return self._kept[kind][1]


def _pixels(image: Image) -> Any:
    import numpy

    return numpy.asarray(image.convert("RGB"))


def _like(image: Image, pixels: Any) -> Image:
    """The pixels as a picture of the same mode as `image`, with its alpha and its colour profile."""
    import PIL.Image

    made = PIL.Image.fromarray(pixels)
    if image.mode == "L":
        made = made.convert("L")
    elif image.mode == "RGBA":
        made.putalpha(image.getchannel("A"))
    made.info = {key: image.info[key] for key in ("icc_profile",) if image.info.get(key)}
    return made


def _told(image: Image, facts: dict[str, Any], keys: dict[str, Any] | None = None) -> dict[str, Any]:
    text = infotext_of(image, keys or {})
    return facts | ({"infotext": text} if text else {})


def _described(face: Any) -> dict[str, Any]:
    box, landmarks = face.box.round(2).tolist(), face.landmarks.round(2).tolist()
    return {"box": box, "landmarks": landmarks, "score": round(float(face.score), 4)}
