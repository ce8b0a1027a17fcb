"""What samplers, schedules, guidances and files are called: here, in A1111, in ComfyUI and in k-diffusion. No torch."""

import difflib
import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from . import extending

BUILT_IN = (
    "Euler",
    "Euler a",
    "Heun",
    "LMS",
    "DPM2",
    "DPM2 a",
    "DPM fast",
    "DPM adaptive",
    "DPM++ 2S a",
    "DPM++ SDE",
    "DPM++ 2M",
    "DPM++ 2M SDE",
    "DPM++ 2M SDE Heun",
    "DPM++ 3M SDE",
    "DDIM",
    "PLMS",
    "UniPC",
    "LCM",
    "Restart",
)
CLASSIFIER_FREE, NONE = "classifier-free", "none"  # the guidance and the conditioning that are built in
EXTENSIONS, NOTES = extending.read(
    extending.FOLDER, {"sampler": BUILT_IN, "guidance": [CLASSIFIER_FREE], "conditioning": [NONE]}
)


def _names(kind: str) -> tuple[str, ...]:
    return tuple(name for of, name in EXTENSIONS if of == kind)


SAMPLERS = (*BUILT_IN, *_names("sampler"))
GUIDANCES = (CLASSIFIER_FREE, *_names("guidance"))
CONDITIONINGS = (NONE, *_names("conditioning"))
SCHEDULES = ("automatic", "karras", "exponential", "polyexponential", "sgm uniform", "simple", "beta", "ddim")

# Two evaluations a step: A1111 counts prompt editing in evaluations, so over twice the steps.
SECOND_ORDER = frozenset({"Heun", "DPM2", "DPM2 a", "DPM++ 2S a", "DPM++ SDE", "Restart"}) | {
    name for (_, name), extension in EXTENSIONS.items() if extension.second_order
}
# Their fresh noise comes from A1111's "eta noise seed delta" (ENSD).
USES_ENSD = frozenset({"Euler a", "DPM2 a", "DPM fast", "DPM adaptive", "DPM++ 2S a"})

_WITH = (" Karras", " Exponential", " SGM Uniform")  # as A1111 had schedules in the names of samplers
_COMFYUI = (
    "euler", "euler_ancestral", "heun", "lms", "dpm_2", "dpm_2_ancestral", "dpm_fast", "dpm_adaptive",
    "dpmpp_2s_ancestral", "dpmpp_sde", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde", "ddim",
    "uni_pc", "lcm",
)  # fmt: skip
# Spellings of A1111 and ComfyUI that are accepted wherever a sampler or a schedule is asked for.
SPELLINGS = (
    *(name + schedule for name in SAMPLERS for schedule in _WITH),
    *(name + schedule for name in _COMFYUI for schedule in ("", "_karras", "_exponential", "_sgm_uniform")),
)
SCHEDULE_SPELLINGS = (
    "Automatic", "Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform", "Simple", "Beta", "DDIM",
    "normal", "sgm_uniform", "ddim_uniform",
)  # fmt: skip

OTHER_SAMPLERS = {"dpmad": "DPM adaptive", "pndm": "PLMS"}  # spelled as `_key` spells them
OTHER_SCHEDULES = {
    "k": "karras",  # InvokeAI
    "ka": "karras",  # old A1111, as in k_dpmpp_2m_ka
    "exp": "exponential",
    "uniform": "automatic",
    "normal": "automatic",  # ComfyUI
    "ddimuniform": "ddim",
}


def canonical(name: str) -> tuple[str, str | None]:
    """Our names for a sampler of A1111, ComfyUI or k-diffusion, and for the schedule if it is part of the name.

    "DPM++ 2M Karras" and "k_dpmpp_2m_ka" are ("DPM++ 2M", "karras"), "euler_ancestral" is ("Euler a", None).
    Case, blanks, hyphens and underscores do not matter. Raises ValueError, which tells what is like it."""
    words = _words(name)
    for last in (0, 1, 2):  # words that name the schedule; none first, as DDIM is both
        end = len(words) - last
        sampler, schedule = _SAMPLERS.get(_key(words[:end])), _SCHEDULES.get(_key(words[end:]))
        if sampler and (schedule or not last):
            return sampler, schedule
    raise ValueError(_unknown("sampler", name, SAMPLERS))


def canonical_schedule(name: str) -> str:
    """Our name for a schedule ("scheduler", "schedule type") of A1111 or ComfyUI. Raises ValueError."""
    if schedule := _SCHEDULES.get(_key(_words(name))):
        return schedule
    raise ValueError(_unknown("schedule", name, SCHEDULES))


def entry_named(name: str, entries: Iterable[str]) -> str:
    """The one of `entries` in models/KIND that A1111 calls so: without its folder, and mostly without its ending. The
    name itself if it is there, or if not just one fits."""
    alike = [entry for entry in entries if name in (PurePosixPath(entry).name, PurePosixPath(entry).stem)]
    return alike[0] if name not in entries and len(alike) == 1 else name


def _words(name: str) -> list[str]:
    words = re.sub(r"[\s_-]+", " ", name.lower().replace("++", "pp")).split()
    words = words[1:] if words[:1] in (["k"], ["sample"]) else words  # k-diffusion's names
    return [word for word in words if word != "gpu"]  # ComfyUI's names for where the noise is made


def _key(words: list[str]) -> str:
    return "".join("a" if word == "ancestral" else word for word in words)


_SAMPLERS = {_key(_words(name)): name for name in SAMPLERS} | OTHER_SAMPLERS
_SCHEDULES = {_key(_words(name)): name for name in SCHEDULES} | OTHER_SCHEDULES


def _unknown(kind: str, name: str, names: tuple[str, ...]) -> str:
    known = {_key(_words(known)): known for known in names}
    near = [known[key] for key in difflib.get_close_matches(_key(_words(name)), known, n=3, cutoff=0.5)]
    return f"there is no {kind} {name!r}. " + (f"Near are {', '.join(near)}." if near else f"Use {', '.join(names)}.")
