"""The server's part of a Ray cluster: joins one, or starts its own, and has core/remote/slots.py keep workers there.

A child of the server, in the Ray environment (environments.RAY). It reads the settings of a link as one line of JSON
from stdin and ends when that closes, and with it a cluster of its own."""

import asyncio
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
import threading
import uuid
from pathlib import Path
from typing import Any

from core.errors import Conflict, CoreError, InvalidParams
from core.remote.node import TOKEN
from core.remote.records import RAY, Records, State, changed

REACH_SECONDS = 5
STORE_BYTES = 200_000_000  # of memory, in a cluster of our own: what goes through it is short-lived
LONG = 40  # bytes of a folder in which Ray's sockets, with names of up to 60, find room
GUIDE = "docs/cluster.md says how to start one, and what its machines have in common: Ray, Python, and a token."
HEAD_SECONDS = "20"  # without the head, after which this process ends and tries again


def main() -> None:
    settings = json.loads(sys.stdin.buffer.readline())
    records, address = Records(Path(settings["data"])), settings["config"]["ray"]["address"]
    threading.Thread(target=_end_with_stdin, args=(_own_place(records.of(RAY)),), daemon=True).start()
    told = changed(State(), state="connecting", step=f"joining the Ray cluster ({address})")
    records.write_state(RAY, told)
    try:
        join(address, records.of(RAY))
    except CoreError as error:
        records.write_state(RAY, changed(told, state="failed", step="", error=error.wire()))
        print(f"{error} {error.extra['hint'] or ''}".rstrip(), flush=True)
        os._exit(1)  # the thread that reads stdin cannot be ended otherwise
    from core.remote.slots import Slots

    asyncio.run(Slots(settings).run())


def _end_with_stdin(place: Path) -> None:
    while sys.stdin.buffer.read1(65536):
        pass
    shutil.rmtree(place, ignore_errors=True)
    os._exit(0)


def join(address: str, folder: Path) -> None:
    """`address` as in RaySettings; `folder` is of this server. Raises InvalidParams or Conflict."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", HEAD_SECONDS)
    if token := "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ or TOKEN.exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    more: dict[str, Any] = {"address": address}
    if address == "local":
        more |= _own(folder)
    elif address != "auto":
        _reach(address)
    import ray  # reads the environment

    try:
        ray.init(namespace=_namespace(folder), log_to_driver=False, logging_level="warning", **more)
    except Exception as error:  # Ray raises whatever it likes
        text = str(error).strip().partition("\n")[0]
        hint = GUIDE if token or address == "local" else f"There is no token in {TOKEN}. {GUIDE}"
        raise Conflict(f"the Ray cluster {address!r} cannot be joined: {text}", hint=hint) from error


def _namespace(folder: Path) -> str:
    """Under which the actors of this server are found, and no others."""
    file = folder / "namespace"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.write_text(f"stable-core-{uuid.uuid4().hex}", "utf-8")
    return file.read_text("utf-8")


def _reach(address: str) -> None:
    """Ray itself would try for a minute and say little."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        text = f"ray.address must be auto, local or HOST:PORT, got {address!r}."
        raise InvalidParams(text, hint="The head node's port is 6379 if nothing else was said.")
    try:
        socket.create_connection((host, int(port)), REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        text = f"nobody answers at {address}, which should be the head of a Ray cluster: {error}."
        raise Conflict(text, hint=GUIDE) from error


def _own(folder: Path) -> dict[str, Any]:
    """Options of a cluster of this machine alone, which nobody else can join."""
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    os.environ.pop("RAY_ADDRESS", None)
    place = _own_place(folder)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True, mode=0o700)
    os.environ["TMPDIR"] = str(place)
    os.environ.pop("PYTHONPATH", None)  # what it leads to was not made for Ray's processes
    more = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    return more | {"_temp_dir": str(place), "_node_ip_address": "127.0.0.1"}


def _own_place(folder: Path) -> Path:
    """Where such a cluster has its sockets and logs."""
    place = folder.absolute() / "own"
    if len(os.fsencode(place)) <= LONG:
        return place
    return Path(tempfile.gettempdir(), f"scray-own-{_namespace(folder)[-12:]}")


if __name__ == "__main__":
    main()
