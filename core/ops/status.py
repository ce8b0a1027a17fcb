"""What the server that runs here is doing: devices, their memory and workers, other machines, the queue."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from core.errors import Conflict, CoreError, NotFound
from core.ops import config, processes
from core.ops.config import Config
from core.ops.start import ADDRESS
from core.ops.tokens import read_token


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="server.py status", description=__doc__, allow_abbrev=False)
    parser.add_argument("--config", type=Path, help="settings file; default: config.toml beside server.py")
    parser.add_argument("--data", type=Path, help="the server's data folder, if it is not that of the settings")
    parser.add_argument("--json", action="store_true", help="as the server tells it, for programs")
    flags = parser.parse_args(words)
    from clients.cli import devices, show
    from clients.python import ServerError

    try:
        told = ask(config.load(flags.config, {"data": flags.data} if flags.data else {}))
    except (CoreError, ServerError, OSError) as error:
        hint = getattr(error, "extra", {}).get("hint") or getattr(error, "hint", None) or ""
        print(f"stable-core: {error} {hint}".rstrip(), file=sys.stderr)
        return 1
    if flags.json:
        print(json.dumps(told, indent=2))
        return 0
    show.out.print(f"stable-core {told['version']}  {told['address']}{'  paused' if told['paused'] else ''}")
    if problem := told.get("problem"):
        show.out.print(show.text(f"{problem['message']} {problem.get('hint', '')}".rstrip(), "red"))
    show.out.print()
    devices.tell(told)
    return 0


def ask(settings: Config) -> dict[str, Any]:
    """What the server of these settings answers to `hello`, `queue` and `devices`. Raises NotFound if none runs."""
    address = settings.data / ADDRESS
    try:
        if settings.data.exists():
            processes.lock(settings.data).close()
    except Conflict:
        from clients.python import Client

        with Client(address.read_text("utf-8").strip(), read_token(), patience=5) as client:
            hello, queue, told = (client.call(event) for event in ("hello", "queue", "devices"))
        about = {"version": hello["version"], "address": client.url, "paused": queue["paused"]}
        about |= {"problem": queue["problem"]} if "problem" in queue else {}
        return about | {key: value for key, value in told.items() if key != "ok"}
    hint = "Start it with python3 server.py, or say another folder with --data."
    raise NotFound(f"no server is running with the data folder {settings.data}.", hint=hint)
