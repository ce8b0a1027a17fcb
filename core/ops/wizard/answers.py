"""What the wizard has to know to write a plugin: what may be answered, and what follows where nothing is."""

import json
import keyword
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.requirements import InvalidRequirement, Requirement
from rich.cells import cell_len

from core.errors import InvalidParams
from core.library.naming import RESERVED
from core.library.near import did_you_mean
from core.ops.bootstrap import ROOT
from core.ops.wizard.kinds import KINDS, Kind
from core.plugin import Plugin

LONGEST_NAME = 32  # the templates' lines have room for that
LONGEST_TEXT = 100  # columns of a terminal
TAKEN = {*dir(Plugin), "models", "settings", "folder", "announce", "job", "param", "list"}  # words of a plugin's class
JOB = re.compile(r"@job\([^()]*\)\s+def (\w+)\(")


@dataclass
class Answers:
    """Each is checked by the function of this module with its name. `into` is where the plugin's folder comes to be."""

    into: Path
    kind: Kind = KINDS["text-to-image"]
    title: str = ""
    name: str = ""
    job: str = ""
    description: str = ""
    packages: list[str] = field(default_factory=list)
    author: str = ""
    licence: str = "MIT"

    @property
    def folder(self) -> Path:
        return self.into / self.name


def kind(text: str, answers: Answers) -> Kind:
    """By its name or its number in the menu."""
    name = text.strip().lower().replace("_", "-").replace(" ", "-")
    if name.isdecimal() and 1 <= int(name) <= len(KINDS):
        name = [*KINDS][int(name) - 1]
    if name not in KINDS:
        near = did_you_mean(name, KINDS)
        raise InvalidParams(f"there is no kind {text[:100]!r}.{near} Kinds are {', '.join(KINDS)}.")
    return KINDS[name]


def title(text: str, answers: Answers) -> str:
    if not re.search(r"\w", text):
        raise InvalidParams("a title has a letter at least, for example: Neon Waves")
    return _line("title", text, LONGEST_TEXT // 2)


def name(text: str, answers: Answers) -> str:
    _identifier("name", text)
    if RESERVED.fullmatch(text):
        raise InvalidParams(f"name: Windows has no folders called {text!r}. Take another one.")
    for folder in {answers.into / text: None, ROOT / "plugins" / text: None}:
        if folder.exists() or folder.is_symlink():
            raise InvalidParams(f"name: there is {folder} already, and nothing is overwritten. Take another one.")
    return text


def job(text: str, answers: Answers) -> str:
    _identifier("job", text)
    others = announced(ROOT / "plugins") | announced(answers.into)
    for each in answers.kind.jobs:
        if other := others.get(text + each):
            raise InvalidParams(
                f"job: {other} announces {text + each} already, and people would always have to say whose they mean. "
                "Take another one."
            )
    return text


def description(text: str, answers: Answers) -> str:
    """With a full stop, as it is a sentence."""
    text = _line("description", text, LONGEST_TEXT - 1)
    return text if text.endswith((".", "!", "?", "…", "。")) else f"{text}."


def packages(text: str, answers: Answers) -> list[str]:
    """As in requirements.txt, with commas between. What uv makes of them is seen when they are locked."""
    found = [part.strip() for part in re.split(r",(?!\s*[<>=!~]|[^\[]*\])", text) if part.strip()]
    for part in found:
        if not _requirement(part):
            raise InvalidParams(f"packages: {part[:100]!r} is no package. Write for example: scipy, opencv-python>=4")
    return [] if found == ["none"] else found


def _requirement(text: str) -> bool:
    """Addresses are left to uv, which takes more than the standard."""
    if not re.fullmatch(r"[A-Za-z0-9][^\x00-\x1f\x7f]*", text):
        return False
    try:
        return "://" in text or bool(Requirement(text))
    except InvalidRequirement:
        return False


def author(text: str, answers: Answers) -> str:
    return _line("author", text, LONGEST_TEXT) if text else ""


def licence(text: str, answers: Answers) -> str:
    try:
        return canonicalize_license_expression(text[:100])
    except InvalidLicenseExpression:
        raise InvalidParams(
            f"licence: {text[:100]!r} is none. Say MIT, Apache-2.0 or another one of spdx.org/licenses, "
            "or LicenseRef- and a name for any other."
        ) from None


def name_of(title: str) -> str:
    """What a folder is called for a title: neon_waves of "Neon Waves!". It may be none, or a bad one."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:LONGEST_NAME].strip("_")


def free(field: str, wanted: str, answers: Answers) -> str | None:
    """A name or job like the wanted one that can be had, such as neon_waves_2; None where a number does not help."""
    if (check := {"name": name, "job": job}.get(field)) is None or not wanted:
        return None
    for end in (f"_{number}" for number in range(2, 100)):
        try:
            return check(wanted[: LONGEST_NAME - len(end)] + end, answers)
        except InvalidParams:
            continue
    return None


def class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_")) + "Plugin"


def announced(folder: Path) -> dict[str, str]:
    """Which plugin of a folder announces a job, as far as a look at the code tells."""
    return {
        job: manifest.parent.name
        for manifest in folder.glob("[!.]*/plugin.toml")
        for path in manifest.parent.rglob("*.py")
        for job in JOB.findall(path.read_text("utf-8", "replace"))
    }


def _identifier(field: str, text: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", text) or len(text) > LONGEST_NAME:
        raise InvalidParams(
            f"{field}: {text[:100]!r} has to be at most {LONGEST_NAME} small letters a-z, digits and _, "
            "with a letter first, for example neon_waves."
        )
    if keyword.iskeyword(text) or text in TAKEN:
        raise InvalidParams(f"{field}: {text!r} means something else in a plugin's code. Take another one.")


def _line(field: str, text: str, longest: int) -> str:
    text = text.strip()
    if not text.isprintable() or not text or cell_len(json.dumps(text, ensure_ascii=False)) > longest + 2:
        raise InvalidParams(f"{field} has to be one line of at most {longest} characters, got {text[:120]!r}.")
    return text
