"""The command line of server.py, and what it prints. Light at import: the server waits to be patched first."""

import argparse
import importlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from core.ops import bootstrap

if TYPE_CHECKING:
    from server import Server

ADDRESS = "address"  # a file in the data folder
COMMANDS = {  # modules with a `main`
    "plugins": "core.ops.packages.command", "deploy": "core.remote.command", "status": "core.ops.status",
}  # fmt: skip


def patch() -> None:
    """Make waiting cooperative if async_mode says so, which has to be known before anything else is imported. What is
    wrong with the settings is said later. Commands and `--console` are no servers, and end here."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    if module := COMMANDS.get("".join(sys.argv[1:2])):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.exit(importlib.import_module(module).main(sys.argv[2:]))
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--async-mode")
    parser.add_argument("--console", action="store_true")
    parser.add_argument("--config", type=Path, default=bootstrap.ROOT / "config.toml")
    flags, _ = parser.parse_known_args()
    if flags.console:  # a client of the server, which has a process of its own
        from clients.cli import console

        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.exit(console.with_server([word for word in sys.argv[1:] if word != "--console"]))
    try:
        settings = tomllib.loads(flags.config.read_text("utf-8"))
    except (OSError, ValueError):
        settings = {}
    if (flags.async_mode or settings.get("async_mode") or "eventlet") == "eventlet":
        from core.rest import serving

        serving.patch()


def arguments() -> tuple[argparse.Namespace, dict[str, Any]]:
    """(flags of this command, settings): there is a flag for each setting of Config that is not a list or table."""
    from pydantic import BaseModel

    from core.ops.config import Config

    parser = argparse.ArgumentParser(
        prog="server.py", description="stable-core: a job server for AI art.", allow_abbrev=False,
        epilog="server.py plugins --help: install, test, update and switch off plugins. "
        "server.py deploy --help: use the GPU of another machine over SSH. "
        "server.py status: what the server that runs is doing.",
    )  # fmt: skip
    parser.add_argument("--demo", action="store_true", help="draw one picture with the built-in model, then stop")
    parser.add_argument("--prompt", help='what the demo draws; default: "a red circle on a blue background"')
    parser.add_argument("--out", type=Path, help="where the demo writes the picture; default: demo.png")
    parser.add_argument("--console", action="store_true", help="type commands in this terminal while the server runs")
    parser.add_argument(
        "--end-with-stdin", action="store_true", help="stop when stdin closes, as whoever holds it ends"
    )
    parser.add_argument("--config", type=Path, help="settings file; default: config.toml beside server.py")
    own = {action.dest for action in parser._actions}
    settings = parser.add_argument_group("settings, each also a key of config.toml")
    for name, field in Config.model_fields.items():
        if not isinstance(field.default, list | dict | BaseModel):
            text = f"{field.description} Default: {field.default}".replace("%", "%%")
            allowed = "|".join(map(str, get_args(field.annotation))) if get_origin(field.annotation) is Literal else "X"
            alone = {"nargs": "?", "const": "true", "metavar": "true|false"} if field.annotation is bool else {}
            settings.add_argument("--" + name.replace("_", "-"), help=text, **{"metavar": allowed} | alone)
    flags = parser.parse_args()
    if not flags.demo and (flags.prompt is not None or flags.out):
        parser.error(
            "--prompt and --out belong to --demo. A running server draws with: python3 -m clients.cli run txt2img"
        )
    flags.prompt, flags.out = flags.prompt or "a red circle on a blue background", flags.out or Path("demo.png")
    given = {name: value for name, value in vars(flags).items() if name not in own and value is not None}
    if flags.demo:
        given = {"port": 0, "data": bootstrap.ROOT / "data" / "demo"} | given  # a server that runs is not disturbed
    return flags, given


def main(make: "type[Server]") -> int:
    """Run a server until Ctrl-C or SIGTERM, or until the demo is over; returns the exit code."""
    from core.errors import CoreError
    from core.ops import config, demo

    flags, settings = arguments()
    stopped, codes = threading.Event(), []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        server = make(config.load(flags.config, settings))
        server.start()
    except (CoreError, OSError) as error:
        hint = getattr(error, "extra", {}).get("hint") or ""
        print(f"stable-core cannot start: {error} {hint}".rstrip(), file=sys.stderr)
        return 1

    def work() -> None:  # beside this thread, so that Ctrl-C is heard while plugins are installed
        try:
            codes.append(demo.run(server, flags.prompt, flags.out, stopped) if flags.demo else greet(server))
        except Exception:
            codes.append(1)
            raise

    def end_with_stdin() -> None:
        server.run_blocking(_wait_for_end_of_stdin)
        stopped.set()

    if flags.end_with_stdin:
        server.sio.start_background_task(end_with_stdin)
    server.sio.start_background_task(work)
    while not stopped.is_set() and not (codes and (flags.demo or codes[0])):
        time.sleep(0.05)
    deadline = time.monotonic() + demo.CANCEL_SECONDS + 1
    while flags.demo and not codes and time.monotonic() < deadline:  # its client must not outlive us
        time.sleep(0.05)
    if not flags.demo:
        print("Stopping.", flush=True)
    server.stop()
    if flags.demo and stopped.is_set():
        return 130  # as is usual after Ctrl-C
    return codes[0] if codes else 0


def _wait_for_end_of_stdin() -> None:
    while os.read(0, 65536):
        pass
    for number in (1, 2):  # whoever read our output has gone, too
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def greet(server: "Server") -> int:
    """Version, address, devices, outputs; then, as they load, the plugins and those that are refused."""
    from core.api import VERSION
    from core.ops.plugins import said

    (server.config.data / ADDRESS).write_text(server.address)  # for commands, while it holds the lock of that folder
    print(f"stable-core {VERSION}  {server.address}/?token={server.token}", flush=True)
    found, config = ", ".join(server.pool.devices), server.config
    on_ray = f"Ray cluster ({config.ray.address}); for plugins in sandboxes {found}"
    print(f"devices   {on_ray if config.pool == 'ray' else found}")
    print(f"outputs   {server.config.outputs}")
    if server.unfinished:
        print(f"queue     {server.unfinished} unfinished {'job goes' if server.unfinished == 1 else 'jobs go'} on")
    server.sio.start_background_task(server.web.make, lambda line: print(line, flush=True))
    server.plugins.load_all(lambda line: print(f"          {line}", flush=True))
    for info in server.catalogue.plugins.values():
        for line in said(info):
            print(line)
    print("Ctrl-C stops.", flush=True)
    return 0
