"""The command line of server.py, and what it prints at the start."""

import argparse
from pathlib import Path
from typing import Any

from core.api import VERSION
from core.config import ROOT, Config


def arguments() -> tuple[argparse.Namespace, dict[str, Any]]:
    """(flags of this command, settings): there is a flag for each setting of Config that is not a list or table."""
    parser = argparse.ArgumentParser(prog="server.py", description="stable-core: a job server for AI art.")
    parser.add_argument("--demo", action="store_true", help="draw one picture with the built-in model, then stop")
    parser.add_argument("--prompt", default="a red circle on a blue background", help="what the demo draws")
    parser.add_argument("--out", type=Path, default=Path("demo.png"), help="where the demo writes the picture")
    parser.add_argument("--config", type=Path, help="settings file; default: config.toml beside server.py")
    own = {action.dest for action in parser._actions}
    settings = parser.add_argument_group("settings, each also a key of config.toml")
    for name, field in Config.model_fields.items():
        if not isinstance(field.default, list | dict):
            text = f"{field.description} Default: {field.default}".replace("%", "%%")
            settings.add_argument("--" + name.replace("_", "-"), metavar="X", help=text)
    flags = parser.parse_args()
    given = {name: value for name, value in vars(flags).items() if name not in own and value is not None}
    if flags.demo:
        given = {"port": 0, "data": ROOT / "data" / "demo"} | given  # a server that runs is not disturbed
    return flags, given


def greet(server: Any) -> None:
    """Version, address, devices, outputs; then, as they load, the plugins and those that are refused."""
    print(f"stable-core {VERSION}  {server.address}/?token={server.token}", flush=True)
    print(f"devices   {', '.join(server.pool.devices)}")
    print(f"outputs   {server.config.outputs}")
    if server.unfinished:
        print(f"queue     {server.unfinished} unfinished {'job goes' if server.unfinished == 1 else 'jobs go'} on")
    server.load_plugins(lambda line: print(f"          {line}", flush=True))
    for info in server.catalogue.plugins.values():
        jobs = ", ".join(job["name"] for job in info.jobs)
        print(f"plugin    {info.name}: {jobs}" if info.status == "ready" else f"refused   {info.name}: {info.error}")
    print("Ctrl-C stops.", flush=True)
