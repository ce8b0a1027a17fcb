"""Whether a picture can be drawn again: a program that does, and compares the pixels."""

import math
from typing import Any

from core.plugin import Artifact, BadImage, Context

from . import png_info
from .forms import JOBS
from .options import HiresFix, Redrawing

FROM_PICTURES = {name for name, params in JOBS.items() if issubclass(params, Redrawing | HiresFix)}
CLOSE_DB = 30.0  # PSNR above which two pictures look alike


def verify(image: Artifact, ctx: Context) -> dict[str, Any]:
    """What became of it: `verdict` is "identical" (every pixel), "close" (PSNR of 30 dB or more) or "different".

    Raises BadImage if the picture does not tell how it was drawn, or not from which other one."""
    picture = ctx.read(image)
    found = png_info.read(picture, ctx.models)
    if not found["form"]:
        raise BadImage(
            "the picture does not tell how it was drawn.",
            hint="Verify a file that an app has not stripped of its metadata; png_info shows what is inside.",
        )
    form = found["form"]
    if form["job"] not in JOBS:  # a stranger's file shall not run whatever it names, this job again among it
        raise BadImage(
            f"the picture says that {form['job'][:100]} made it, which draws no pictures here.",
            hint=f"Verify what came from one of {', '.join(JOBS)}.",
        )
    params, given = form["params"], form["inputs"]
    guided = [name for name, by in (("control", "controlnets"), ("reference", "ip_adapter")) if params.get(by)]
    if (form["job"] in FROM_PICTURES or guided) and not given or "reference" in guided and "reference" not in given:
        raise BadImage(
            "the picture that it was made from is not known.",
            hint="Verify pictures that were drawn from words alone, or that have stable-core's own record inside.",
        )
    (child,) = ctx.gather([ctx.submit(form["job"], form["params"], form["inputs"], key="again", fresh=True)])
    record = png_info.record(picture)
    again = child.outputs[min(_index(record), len(child.outputs) - 1)]
    return {
        **compare(picture, ctx.read(again)),
        "job": child.id,
        "source": found["source"],
        "notes": [*found["notes"], *changes(record.get("facts"), again.facts)],
    }


def compare(picture: Any, again: Any) -> dict[str, Any]:
    """Verdict, PSNR in dB (None if identical or of another size) and the largest difference of a sample, 0 to 255."""
    import numpy

    one, other = (numpy.asarray(each.convert("RGBA"), numpy.float64) for each in (picture, again))
    if one.shape != other.shape:
        return {"verdict": "different", "psnr_db": None, "largest_difference": None}
    largest = int(abs(one - other).max())
    if not largest:
        return {"verdict": "identical", "psnr_db": None, "largest_difference": 0}
    psnr = 10 * math.log10(255**2 / ((one - other)[..., :3] ** 2).mean()) if (one - other)[..., :3].any() else None
    verdict = "close" if psnr is None or psnr >= CLOSE_DB else "different"
    return {"verdict": verdict, "psnr_db": psnr and round(psnr, 2), "largest_difference": largest}


def _index(record: dict[str, Any]) -> int:
    """Which of its job's pictures it was; a form of a whole series draws them all."""
    number = str(record.get("artifact", "")).rpartition(".")[2]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0


def changes(before: Any, after: dict[str, Any]) -> list[str]:
    """What is not as it was when the picture was drawn, in words. `before` is what a file says, so maybe anything."""
    then, now = before if isinstance(before, dict) else {}, after
    pairs = [(key, then.get(key), now.get(key)) for key in ("model_hash", "vae_hash", "refiner_hash")]
    told = then.get("determinism") if isinstance(then.get("determinism"), dict) else {}
    pairs += [(str(key), told[key], now.get("determinism", {}).get(key)) for key in list(told)[:20]]
    return [f"{key} was {str(a)[:100]}, is {b}." for key, a, b in pairs if a not in (None, b)]
