"""Writes a plugin from the templates: all of it appears at once, under a name that was free, or nothing does."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2

from core.errors import Conflict
from core.ops import environments
from core.ops.bootstrap import ROOT
from core.ops.wizard.answers import Answers, class_name

TEMPLATES = Path(__file__).parent / "templates"
FROM = "https://github.com/OWNER/stable-core"  # where a CI clones stable-core from, unless this is a clone of something
HIDDEN = ".wizard-"  # servers see no dotted names
LEFT_SECONDS = 3600
WHEREVER = {"core.hooksPath": os.devnull, "commit.gpgSign": "false", "core.autocrlf": "false"}  # no hooks, no questions


def write(answers: Answers, say: Callable[[str], None], lock: bool = True, git: bool = True) -> list[Path]:
    """The files of the new plugin. Raises InstallError if what it needs cannot be locked, Conflict if its folder has
    come meanwhile, and OSError; nothing is there then."""
    remove_leftovers(answers.into)
    with tempfile.TemporaryDirectory(prefix=HIDDEN, dir=answers.into) as staging:
        folder = Path(staging, answers.name)
        for path, text in rendered(answers):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8", newline="\n")
        if lock and packages(answers):
            say(f"Locking {', '.join(packages(answers))} for all systems.")
            environments.lock(folder)
        files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        if git:
            say(begin_repository(folder, answers))
        if answers.folder.exists():
            raise Conflict(f"{answers.folder} has come meanwhile, and nothing is overwritten.")
        folder.rename(answers.folder)
    return [answers.folder / path for path in files]


def remove_leftovers(into: Path) -> None:
    """Of wizards that were killed."""
    for folder in into.glob(f"{HIDDEN}*"):
        if time.time() - folder.stat().st_mtime > LEFT_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def packages(answers: Answers) -> list[str]:
    return [*answers.kind.packages, *answers.packages]


def rendered(answers: Answers) -> Iterator[tuple[Path, str]]:
    """The files of a plugin, but for the lock: where they are in its folder, and their text."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    templates = jinja2.Environment(
        loader=loader, trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    templates.filters |= {"toml": toml, "docstring": docstring}
    about: dict[str, Any] = vars(answers) | {
        "class_name": class_name(answers.name), "packages": packages(answers), "core_url": core_url(),
        "run": answers.kind.run.format(job=answers.job),
    }  # fmt: skip
    own = f"kinds/{answers.kind.name}"
    places = {f"{own}/__init__.py.jinja": "__init__.py", f"{own}/test.py.jinja": f"tests/test_{answers.name}.py"}
    for name in templates.list_templates():
        if name.startswith("common/"):
            places[name] = name.removeprefix("common/").removesuffix(".jinja")
    for name, place in places.items():
        yield Path(place), templates.get_template(name).render(about)
    ours = (ROOT / "LICENSE").read_text("utf-8")
    if answers.licence == "MIT" and ours.startswith("MIT License"):
        holder = answers.author or f"the authors of {answers.title}"
        yield Path("LICENSE"), re.sub(r"(Copyright \(c\) \d+).*", lambda found: f"{found[1]} {holder}", ours, count=1)


def toml(text: str) -> str:
    """A text in TOML's notation, which is JSON's."""
    return json.dumps(text, ensure_ascii=False)


def docstring(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def core_url() -> str:
    """Where this clone of stable-core came from, for others: without anybody's password."""
    address = urlsplit(said(ROOT, "remote", "get-url", "origin"))
    public = f"https://{address.hostname}{address.path}"
    return public if address.scheme == "https" and re.fullmatch(r"[\w.:/~-]+", public) else FROM


def begin_repository(folder: Path, answers: Answers) -> str:
    """A git repository of the folder with all its files in a first commit; returns what to say about it."""
    if not shutil.which("git"):
        return "This machine has no git, so the folder is no repository yet."
    try:
        run(folder, "init", "--quiet", "--template=")
        run(folder, "symbolic-ref", "HEAD", "refs/heads/main")
        run(folder, "add", "--all", "--force")  # whatever this person has git ignore elsewhere
        run(folder, "commit", "--quiet", "--message", f"Begin {answers.title}")
    except subprocess.CalledProcessError as error:  # mostly, git does not know who this is
        return f"Nothing is committed yet, as git says: {''.join(error.stderr.strip().splitlines()[-1:])}"
    return "Committed to a git repository of its own."


def run(folder: Path, *words: str) -> str:
    """What git says. Raises CalledProcessError."""
    settings = [word for name, value in WHEREVER.items() for word in ("-c", f"{name}={value}")]
    elsewhere = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", *settings, *words]
    options = {"cwd": folder, "env": elsewhere, "stdin": subprocess.DEVNULL, "capture_output": True}
    return subprocess.run(command, check=True, timeout=60, encoding="utf-8", errors="replace", **options).stdout


def said(folder: Path, *words: str) -> str:
    """What git says; nothing if it cannot."""
    try:
        return run(folder, *words).strip()
    except (OSError, subprocess.SubprocessError):
        return ""
