"""Completion in bash, zsh and fish: commands, jobs, flags, choices and ids, as the server announces them.

While the shell waits, only what is needed is imported: the words come from a file that is a few seconds old."""

import argparse
import contextlib
import hashlib
import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

NAME = "stable-core"
ROOT = Path(__file__).resolve().parents[2]
FRESH_SECONDS = 20  # after which a Tab asks the server again
ANSWER_SECONDS = 1.5  # which it may take; then old words have to do
SHOWN = 50  # ids that are offered, the newest
SEPARATORS = ("|", "||", "&", "&&", ";")
# A shell function that runs the command line of this clone, in whatever folder one is.
FUNCTION = {
    "bash": "{name}() {{ {command} \"$@\"; }}\n",
    "zsh": "{name}() {{ {command} \"$@\"; }}\n",
    "fish": "function {name}; {command} $argv; end\n",
}  # fmt: skip
# The same for `python3 -m clients.cli`, which has two words more before the first that is ours.
MODULE = {
    "bash": """_stable_core_module() {{
    [[ "${{COMP_WORDS[1]-}} ${{COMP_WORDS[2]-}}" == "-m clients.cli" ]] || return 0
    local IFS=$'\\013'
    COMPREPLY=($(IFS="$IFS" COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" COMP_TYPE="$COMP_TYPE" \\
        _ARGCOMPLETE_COMP_WORDBREAKS="$COMP_WORDBREAKS" _ARGCOMPLETE=3 _ARGCOMPLETE_SHELL=bash \\
        _ARGCOMPLETE_SUPPRESS_SPACE=1 {name} 8>&1 9>/dev/null 1>/dev/null 2>&1 </dev/null))
}}
complete -o default -o bashdefault -F _stable_core_module python3 python
""",
    "zsh": """_stable_core_module() {{
    [[ "$words[2] $words[3]" == "-m clients.cli" ]] || {{ _python; return }}
    local IFS=$'\\013'
    local completions=($(IFS="$IFS" COMP_LINE="$BUFFER" COMP_POINT="$CURSOR" _ARGCOMPLETE=3 _ARGCOMPLETE_SHELL=zsh \\
        _ARGCOMPLETE_SUPPRESS_SPACE=1 {name} 8>&1 9>/dev/null 1>/dev/null 2>&1 </dev/null))
    _describe "{name}" completions
}}
autoload -U _python
compdef _stable_core_module python3 python
""",
    "fish": """function __stable_core_module
    set -lx _ARGCOMPLETE 3
    set -lx _ARGCOMPLETE_DFS \\t
    set -lx _ARGCOMPLETE_IFS \\n
    set -lx _ARGCOMPLETE_SUPPRESS_SPACE 1
    set -lx _ARGCOMPLETE_SHELL fish
    set -lx COMP_LINE (commandline -p)
    set -lx COMP_POINT (string length (commandline -cp))
    {name} 8>&1 9>/dev/null 1>/dev/null 2>&1
end
for python in python3 python
    complete --command $python -f -n 'string match -q -- "* -m clients.cli *" (commandline -p)' \\
        -a '(__stable_core_module)'
end
""",
}


def add(command: Any) -> None:
    text = "Print what makes a shell complete these commands, for its start file."
    command("completion", print_code, text).add_argument("shell", choices=("bash", "zsh", "fish"))


def print_code(client: None, flags: argparse.Namespace) -> int:
    import argcomplete

    start = f"import runpy, sys; sys.path[0] = {str(ROOT)!r}; runpy.run_module('clients.cli', run_name='__main__')"
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(start)}"
    names = {"name": NAME, "command": command}
    print(FUNCTION[flags.shell].format(**names), end="")
    print(argcomplete.shellcode([NAME], shell=flags.shell))
    print(MODULE[flags.shell].format(**names), end="")
    return 0


def complete() -> None:
    """Answer the shell, as argcomplete's protocol wants it, and end."""
    import argcomplete
    from argcomplete.lexers import split_line

    *_, words, _ = split_line(os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]))
    separators = [index for index, word in enumerate(words) if word in SEPARATORS]
    first = separators[-1] + 1 if separators else int(os.environ["_ARGCOMPLETE"]) - 1
    if separators and words[first + 1 : first + 3] == ["-m", "clients.cli"]:
        first += 2
    server = Server(words[first:])
    parser, at = parser_for(server, words, first)
    os.environ["_ARGCOMPLETE"] = str(at + 1)
    argcomplete.autocomplete(parser, always_complete_options=False)


def parser_for(server: "Server", words: list[str], first: int) -> tuple[argparse.ArgumentParser, int]:
    """The parser of the word that is typed, and the place of the word that stands before those it knows."""
    tree = server.tree()
    places = [index for index in range(first + 1, len(words)) if not words[index].startswith("-")]
    places = [index for index in places if words[index - 1] not in ("--url", "--token")]
    command = words[places[0]] if places else ""
    before = {"run": 2, "batch": 3}.get(command, 0)  # words until the job's flags begin
    if before and len(places) >= before and words[places[1]] in tree["jobs"]:
        key = "batch" if command == "batch" else "run"
        return rebuilt(server, tree["jobs"][words[places[1]]][key], tree), places[before - 1]
    parser = rebuilt(server, tree["options"], tree)
    commands = parser.add_subparsers()
    for name, about in tree["commands"].items():
        rebuilt(server, about["actions"], tree, commands.add_parser(name, help=about["help"]))
    return parser, first


class Server:
    """What the completion knows of the server that the line is for."""

    def __init__(self, words: list[str]):
        given = {name: words[words.index(name) + 1] for name in ("--url", "--token") if name in words[:-1]}
        self._url, self._token = given.get("--url"), given.get("--token")

    def tree(self) -> dict[str, Any]:
        """Commands, and jobs with their flags: from the file; from the server, if that is old."""
        file = self._file("tree")
        if found := read(file, FRESH_SECONDS):
            return found
        from clients.cli import describing

        plugins = self.ask("plugins", {})
        if plugins is None and (found := read(file, float("inf"))):
            return found
        tree = describing.tree((plugins or {}).get("plugins", []))
        write(file, tree)
        return tree

    def choices(self, name: str) -> list[str]:
        """The entries of a list that the server keeps."""
        file = self._file(f"list {name}")
        if (found := read(file, FRESH_SECONDS)) is None:
            answer = self.ask("choices", {"list": name, "limit": 1000})
            found = answer["choices"] if answer else []
            write(file, found)
        return found

    def ids(self, what: str) -> dict[str, str]:
        """The newest jobs or artifacts, or sessions: ids with what they are."""
        rows = (self.ask(what, {"limit": SHOWN}) or {}).get(what, [])
        return {row["id"]: told(row) for row in rows}

    def ask(self, event: str, fields: dict[str, Any]) -> dict[str, Any] | None:
        """The answer of an event's REST twin; None if there is none in time."""
        from urllib.parse import urlsplit

        import requests

        from clients.python.stable_core import LOCAL, find_token

        parts = urlsplit(self._url or os.environ.get("STABLE_CORE_URL") or "http://127.0.0.1:7777")
        session = requests.Session()
        session.trust_env = parts.hostname not in LOCAL
        headers = {"Authorization": f"Bearer {self._token or find_token(parts)}"}
        address = f"{parts.scheme}://{parts.netloc}/api/v1/{event}"
        with contextlib.suppress(requests.RequestException, ValueError):
            answer = session.get(address, params=fields, headers=headers, timeout=ANSWER_SECONDS)
            return answer.json() if answer.ok else None
        return None

    def _file(self, what: str) -> Path:
        import platformdirs

        about = [str(ROOT), self._url or os.environ.get("STABLE_CORE_URL"), what]
        name = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
        return platformdirs.user_cache_path("stable-core") / f"completion-{name}.json"


def told(row: dict[str, Any]) -> str:
    """A job, an artifact or a session in a few words."""
    facts = row.get("facts") or {}
    words = [row.get("state"), row.get("kind"), row.get("name"), (row.get("params") or facts).get("prompt")]
    return " ".join(" ".join(str(word).split())[:60] for word in words if word)


def read(file: Path, seconds: float) -> Any:
    """What is in a file that is not older than that; None if there is none."""
    with contextlib.suppress(OSError, ValueError):
        if time.time() - file.stat().st_mtime < seconds:
            return json.loads(file.read_text("utf-8"))
    return None


def write(file: Path, content: Any) -> None:
    with contextlib.suppress(OSError):  # without it, each Tab asks
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(content), "utf-8")
        part.replace(file)


def rebuilt(
    server: Server, actions: list[dict[str, Any]], tree: dict[str, Any], parser: argparse.ArgumentParser | None = None
) -> argparse.ArgumentParser:
    """A parser that knows the words, but not what they do. `describing` has taken it apart."""
    parser = parser or argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for about in actions:
        if "-h" in about["flags"] and any("-h" in action.option_strings for action in parser._actions):
            continue
        options: dict[str, Any] = {"help": about["help"], "default": argparse.SUPPRESS}
        if about["nargs"] == 0:
            options["action"] = "store_true"
        elif about["nargs"] is not None:
            options["nargs"] = about["nargs"]
        action = parser.add_argument(*(about["flags"] or [about["dest"]]), **options)
        if completer := completer_of(server, about, tree):
            action.completer = completer
    return parser


def completer_of(server: Server, about: dict[str, Any], tree: dict[str, Any]) -> Any:
    """What may be typed there; None for files, and for what nobody can know."""
    if about["offered"]:
        return lambda **_: about["offered"]
    if about["list"]:
        return lambda **_: server.choices(about["list"])
    if about["dest"] == "job" and not about["flags"]:
        return lambda **_: {name: each["help"] for name, each in tree["jobs"].items()}
    if about["dest"] == "list":
        return lambda **_: tree["lists"]
    if about["metavar"] == "JOB" or about["flags"] == ["--job"]:
        return lambda **_: server.ids("jobs")
    if about["metavar"] == "ARTIFACT":
        return lambda **_: server.ids("artifacts")
    if about["metavar"] == "SESSION" or about["flags"] == ["--session"]:
        return lambda **_: server.ids("sessions")
    return None if about["metavar"] in ("FILE", "FILE.json", "PATH", "FOLDER") or not about["flags"] else lambda **_: []
