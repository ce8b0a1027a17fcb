"""`explore`: find a prompt in the terminal, with one key each: draw, look, change something; then explore it."""

import argparse
import io
import sys
from typing import Any

import PIL.Image

from clients.cli import pictures, running, show
from clients.cli.base import Command, Parser, announced, connection_options, report, session_of
from clients.cli.flags import JobParser
from clients.python import Artifact, Client, InvalidParams, ServerError
from core.library import grids

JOB = "explore.explore"
KEYS = "g generate, e edit prompt, c scale, a aspect, s save and explore, q quit"
GUTTER = 8  # pixels between pictures


USAGE = "clients.cli explore [PROMPT [flags]]"


def add(command: Command) -> None:
    help = "Find a prompt in the terminal: draw it, look, change it; then explore it."
    exploring = command("explore", explore, help, usage=USAGE)
    help = "A prompt to begin with, then flags of the job explore: --cfg-scale, --aspect, --count ..."
    exploring.add_argument("words", nargs=argparse.REMAINDER, metavar="...", help=help)


def options() -> Parser:
    parser = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("--tries", type=int, metavar="N", help="How many pictures g draws; default: 3.")
    parser.add_argument("--session", metavar="NAME", help="Session that the jobs belong to.")
    for action in connection_options()._actions:
        parser._add_action(action)
    return parser


def explore(client: Client, flags: argparse.Namespace) -> int:
    about = announced(client, JOB)
    words = flags.words if flags.words[:1] == ["--help"] or not flags.words else ["--prompt", *flags.words]
    given, params, _ = JobParser(about, options(), client.call).read(words)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InvalidParams("explore needs a terminal.", hint="Scripts run the job: run explore --prompt TEXT.")
    client.session = session_of(client, given)
    defaults = {name: each.get("default") for name, each in about["params"]["properties"].items()}
    Explorer(client, defaults | params, max(1, getattr(given, "tries", 3))).serve()
    return 0


class Explorer:
    """`params` are those of the job `explore`, as they are now."""

    def __init__(self, client: Client, params: dict[str, Any], tries: int):
        self._client, self._params, self._tries = client, params, tries
        self._aspects = [each["name"] for each in client.light("explore.aspects")[0]]
        self._keys = {
            "g": self._generate, "e": self._edit, "c": self._scale, "a": self._aspect, "s": self._explore,
        }  # fmt: skip

    def serve(self) -> None:
        """Until q, Ctrl-C or Ctrl-D."""
        self._tell()
        for key in show.keys(KeyboardInterrupt):
            if key == "q":
                return
            if act := self._keys.get(key):
                try:
                    act()
                except ServerError as error:
                    report(error, as_json=False)
                self._tell()

    def _tell(self) -> None:
        shown = {"prompt": "prompt", "negative": "negative_prompt", "scale": "cfg_scale", "aspect": "aspect"}
        show.facts((name, show.value(self._params[each])) for name, each in shown.items() if self._params[each] != "")
        show.out.print(show.text(KEYS, "dim"))

    def _generate(self) -> None:
        made = self._run({"count": self._tries, "scratch": True})
        if made:
            pictures.show(show.out, side_by_side([each.bytes() for each in made]))
        for each in made:
            show.out.print(show.text(f"{each.id}  {show.artifact(each.record)}"), soft_wrap=True)

    def _explore(self) -> None:
        self._run({})  # the job tells in which folder its pictures are

    def _run(self, more: dict[str, Any]) -> list[Artifact]:
        """What the job made; nothing where Ctrl-C has cancelled it. Raises what made it fail."""
        job = self._client.submit(JOB, self._params | more)
        running.follow([job], quiet=False, previews=True)
        if job.state == "failed":
            raise job.error
        return job.outputs if job.state == "done" else []

    def _edit(self) -> None:
        self._params["prompt"] = typed("prompt: ", self._params["prompt"])

    def _scale(self) -> None:
        text = typed("scale: ", f"{self._params['cfg_scale']:g}")
        try:
            scale = float(text)
        except ValueError:
            scale = -1
        if not 0 <= scale <= 30:
            raise InvalidParams(f"the scale must be a number from 0 to 30, got {text!r}.")
        self._params["cfg_scale"] = scale

    def _aspect(self) -> None:
        known = self._aspects
        at = known.index(self._params["aspect"]) if self._params["aspect"] in known else -1
        self._params["aspect"] = known[(at + 1) % len(known)]


def typed(question: str, before: str) -> str:
    """A line that is edited; as it was if that is broken off."""
    from prompt_toolkit import prompt

    try:
        return prompt(question, default=before)
    except (EOFError, KeyboardInterrupt):
        return before


def side_by_side(contents: list[bytes]) -> bytes:
    """Pictures as one PNG."""
    out = io.BytesIO()
    row = grids.grid([PIL.Image.open(io.BytesIO(content)) for content in contents], len(contents), margin=GUTTER)
    row.save(out, "PNG")
    return out.getvalue()
