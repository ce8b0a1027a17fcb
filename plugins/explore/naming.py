"""Where pictures of a prompt are, and what they are called."""

import hashlib
import re

FOLDER, SCRATCH = "explore", "explore/scratch"
STRENGTH = {"stable-core": "strength", "original": "strenght"}


def folder_of(prompt: str, negative_prompt: str = "") -> str:
    """The folder of a prompt: the md5 of what `echo $PROMPT` prints in a shell, so each run of blanks counts as one.

    What is to be kept away from belongs to it: the original has both in one text, `prompt|negative`."""
    text = f"{prompt}|{negative_prompt}" if negative_prompt.strip() else prompt
    words = [word for word in re.split(r"[ \t\n]+", text) if word]
    return f"{FOLDER}/{hashlib.md5((' '.join(words) + chr(10)).encode(), usedforsecurity=False).hexdigest()}"


def stem_of(
    started: str, number: int, scale: float, steps: int, seed: int, strength: float | None = None,
    names: str = "stable-core",
) -> str:  # fmt: skip
    """`started` is when the program began. The original has the second in which a picture was saved, and nothing that
    tells two pictures of one second apart."""
    parts = [started if names == "original" else f"{started}-{number:03}", f"scale-{scale:g}", f"steps-{steps}"]
    parts += [] if strength is None else [f"{STRENGTH[names]}-{strength:g}"]
    return "_".join([*parts, f"seed-{seed}"])


def joined(prompt: str, add: str) -> str:
    """A prompt with words added; a comma is put between where none is given."""
    if not add.strip() or not prompt.strip():
        return prompt + add
    return prompt + add if add[0] in ", \n" else f"{prompt}, {add}"
