"""What a machine must have before anything is copied to it: looked at by one script there, judged here."""

import re
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
from pydantic import BaseModel, Field, ValidationError

from core.errors import Conflict
from core.ops.bootstrap import size
from core.remote.connection import run_json

SCRIPT = Path(__file__).parent / "scripts" / "facts.py"
# Whatever Python there is: the script is for all since 3.6. Machines with conda may have none in the PATH.
FIND = "for p in python3 python /opt/conda/bin/python /venv/main/bin/python; do "
FIND += 'command -v "$p" >/dev/null 2>&1 && exec "$p" - "$0"; done; echo "there is no python3" >&2; exit 127'
OLDEST, TESTED = (3, 10), (3, 13)  # newest one that is tested
CLOCK_SECONDS, CLOCK_WRONG_SECONDS = 60, 86_400  # certificates of package indexes are for a time
SPARE_BYTES = 1_000_000_000  # for results, logs and what is on its way
PYTHON_HINT = (
    "Install one there (Debian, Ubuntu: apt-get install python3 python3-venv; without administrator: "
    "https://docs.astral.sh/uv, then: uv python install 3.12), or rent a machine with a newer image."
)


@dataclass(frozen=True)
class Verdict:
    """What was found out about one thing (system, python, disk, driver, time); it is `ok`, or why not and what to do.
    A `warning` does not hinder."""

    about: str
    text: str
    ok: bool = True
    warning: bool = False
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.text} {self.hint}".rstrip()


class _Python(BaseModel):
    path: str
    version: tuple[int, int, int]
    venv: bool


class _Card(BaseModel):
    name: str
    total_bytes: int


class _Nvidia(BaseModel):
    error: str = ""
    driver: str = ""
    cuda: tuple[int, int] | None = None
    cards: list[_Card] = []


class Facts(BaseModel):
    """As core/remote/scripts/facts.py prints them; another machine may print anything."""

    began: float
    time: float
    home: str
    folder: str = Field(pattern=r"^/")
    root: bool
    system: str
    machine: str
    libc: tuple[str, str]
    free_bytes: int
    total_bytes: int
    writable: bool
    pythons: list[_Python]
    nvidia: _Nvidia
    amd: int
    installed: bool
    environments: list[str]


async def look(connection: asyncssh.SSHClientConnection, folder: str) -> dict[str, Any]:
    """The facts, and ahead_seconds: of its clock before ours. Raises CoreErrors if the machine can run no script of
    ours."""
    started = time.time()
    try:  # through a shell that all systems have: the user's own may be another one
        answer = await run_json(connection, ["sh", "-c", FIND, folder], SCRIPT.read_text("utf-8"))
        facts = Facts.model_validate(answer).model_dump()
    except Conflict as error:
        said = str(error).rpartition("saying: ")[2].strip().splitlines()[-1:]
        text = f"the other machine cannot say what it is: {''.join(said)}."
        raise Conflict(text, hint=f"It needs Python. {PYTHON_HINT}") from error
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise Conflict(f"the other machine says nonsense about itself: {where}: {problem['msg']}.") from error
    facts["ahead_seconds"] = round((facts["began"] + facts["time"]) / 2 - (started + time.time()) / 2, 1)
    return facts


def judge(
    facts: dict[str, Any], needed_bytes: int, torch_backend: str = "auto", cuda: tuple[int, int] | None = None
) -> list[Verdict]:
    """What of it suffices. `needed_bytes` are still to be copied or installed; `cuda` is the version that the plugins'
    build of PyTorch is for, None if there is none."""
    return [_system(facts), _python(facts), _disk(facts, needed_bytes), _time(facts), _card(facts, torch_backend, cuda)]


def check(verdicts: Iterable[Verdict]) -> None:
    """Raises Conflict naming all that is wrong, with what to do about it."""
    wrong = [each for each in verdicts if not each.ok]
    if wrong:
        errors = [{"field": each.about, "message": str(each)} for each in wrong] if len(wrong) > 1 else None
        text = "; ".join(each.text.rstrip(".") for each in wrong)
        raise Conflict(
            f"the other machine will not do: {text}.", hint=" ".join(each.hint for each in wrong), errors=errors
        )


def python_for(facts: dict[str, Any]) -> str | None:
    """The interpreter there to install with: of our own version, else the newest that is tested, else any that will
    do."""
    fit = [each for each in facts["pythons"] if tuple(each["version"]) >= OLDEST and each["venv"]]

    def rank(each: dict[str, Any]) -> tuple[bool, bool, tuple[int, ...]]:
        version = tuple(each["version"][:2])
        return (version == sys.version_info[:2], version <= TESTED, tuple(each["version"]))

    return max(fit, key=rank)["path"] if fit else None


def _system(facts: dict[str, Any]) -> Verdict:
    system, machine = facts["system"], facts["machine"]
    libc = " ".join(facts["libc"]).strip()
    text = f"{system} {machine}" + (f", {libc}" if libc else "")
    if system not in ("Linux", "Darwin"):
        return Verdict("system", f"its system is {system}", ok=False, hint="Workers over SSH run on Linux and macOS.")
    if system == "Linux" and facts["libc"][0] != "glibc":
        hint = "PyTorch has no packages for others, as that of Alpine: choose an image of Debian or Ubuntu."
        return Verdict("system", f"{text or system}: its C library is not glibc", warning=True, hint=hint)
    return Verdict("system", text)


def _python(facts: dict[str, Any]) -> Verdict:
    if path := python_for(facts):
        version = next(each["version"] for each in facts["pythons"] if each["path"] == path)
        return Verdict("python", f"Python {'.'.join(map(str, version))} ({path})")
    found = sorted({".".join(map(str, each["version"])) for each in facts["pythons"]})
    new = [each for each in facts["pythons"] if tuple(each["version"]) >= OLDEST]
    if new:
        path, (major, minor, _) = new[0]["path"], new[0]["version"]
        text = f"{path} came without its modules venv and ensurepip, which make the environment"
        way = "apt-get install" if facts["root"] else "sudo apt-get install"
        return Verdict(
            "python", text, ok=False, hint=f"Debian, Ubuntu: {way} python{major}.{minor}-venv. {PYTHON_HINT}"
        )
    text = f"it has Python {', '.join(found) or 'older than 3.6'}, and 3.10 or newer is needed"
    return Verdict("python", text, ok=False, hint=PYTHON_HINT)


def _disk(facts: dict[str, Any], needed_bytes: int) -> Verdict:
    folder, free = facts["folder"], facts["free_bytes"]
    if not facts["writable"]:
        text = f"{folder} cannot be written there"
        return Verdict("disk", text, ok=False, hint="Choose another folder with --folder, or log in as its owner.")
    text = f"{size(free)} of {size(facts['total_bytes'])} free in {folder}"
    if free < needed_bytes:
        short = f"{folder} has {size(free)} free, and {size(needed_bytes)} are needed"
        hint = "Free some space there, rent a larger disk, or choose fewer plugins and models (--plugins, --models)."
        return Verdict("disk", short, ok=False, hint=hint)
    if free < needed_bytes + SPARE_BYTES:
        return Verdict("disk", f"{text}, {size(needed_bytes)} are needed", warning=True, hint="That is close.")
    return Verdict("disk", f"{text}, {size(needed_bytes)} needed")


def _time(facts: dict[str, Any]) -> Verdict:
    ahead = facts["ahead_seconds"]
    text = f"its clock is {abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
    if abs(ahead) > CLOCK_WRONG_SECONDS:
        hint = "Packages are fetched over HTTPS, which needs the right time: set one of the two clocks."
        return Verdict("time", text, ok=False, hint=hint)
    if abs(ahead) > CLOCK_SECONDS:
        return Verdict("time", text, warning=True, hint="Set one of them: times in logs will not match.")
    return Verdict("time", "its clock is right")


def _card(facts: dict[str, Any], backend: str, cuda: tuple[int, int] | None) -> Verdict:
    nvidia, amd = facts["nvidia"], facts["amd"]
    if error := nvidia.get("error"):
        text = f"it has an NVIDIA card whose driver does not answer ({error[:200]})"
        return Verdict(
            "driver", text, ok=False, hint="Install or restart its driver; if it is rented, take another one."
        )
    if cards := nvidia.get("cards"):
        names, known = ", ".join(f"{card['name']} ({size(card['total_bytes'])})" for card in cards), nvidia["cuda"]
        if cuda and known and known[0] < cuda[0]:
            older = "cu128" if tuple(known) >= (12, 8) else "cu126"
            hint = f"Take a machine with a newer driver, or an older build: --torch-backend {older}."
            text = f"its driver {nvidia['driver']} is for CUDA {known[0]}.{known[1]}, and PyTorch here for {cuda[0]}"
            return Verdict("driver", text, ok=False, hint=hint)
        return Verdict(
            "driver", f"{names}, driver {nvidia['driver']}" + (f", CUDA {known[0]}.{known[1]}" if known else "")
        )
    if amd:
        text, hint = f"{amd} AMD card{'s' * (amd > 1)}", "Say --torch-backend rocm6.4, or its processors are used."
        return Verdict(
            "driver", text, warning=not backend.startswith("rocm"), hint=hint * (not backend.startswith("rocm"))
        )
    if (facts["system"], facts["machine"]) == ("Darwin", "arm64"):
        return Verdict("driver", "Apple silicon")
    fewer = "Its processors are used." + " With --torch-backend cpu there is far less to fetch." * (backend == "auto")
    return Verdict("driver", "it has no GPU that we know.", warning=True, hint=fewer)


def cuda_of(lock: Path, torch_backend: str) -> tuple[int, int] | None:
    """The version of CUDA that a plugin's build of PyTorch is for, as its lock file or the build's name says."""
    if torch_backend != "auto":
        match = re.fullmatch(r"cu(\d+)(\d)", torch_backend)
    else:
        pattern = r"^nvidia-cuda-runtime(?:-cu\d+)?==(\d+)\.(\d+)"
        match = lock.exists() and re.search(pattern, lock.read_text("utf-8"), re.MULTILINE)
    return (int(match[1]), int(match[2])) if match else None
