"""`devices`: what jobs run on, here and on other machines, how full it is, and the workers on it."""

import argparse
from typing import Any

from clients.cli import show
from clients.cli.base import Command, dump, wants_json
from clients.python import Client
from core.remote import words


def add(command: Command) -> None:
    command("devices", devices, "Show the devices that jobs run on, with memory and workers, and other machines.")


def devices(client: Client, flags: argparse.Namespace) -> int:
    found = {key: value for key, value in client.call("devices", {}).items() if key != "ok"}
    if wants_json(flags):
        return dump(found)
    tell(found)
    return 0


def tell(found: dict[str, Any]) -> None:
    """Print what the event `devices` answers."""
    for machine in found["remotes"]:
        line = show.text(machine["name"], "bold").append("  ").append(show.text(machine["state"]))
        about = [machine.get("step"), machine.get("address")]
        about += [words.rule(machine["rule"])] if "rule" in machine else []
        about += [words.cost(rented, rented["spent"])] if (rented := machine.get("rented")) else []
        show.out.print(line.append(show.text("".join(f"  {each}" for each in about if each), "not bold")))
        if error := machine.get("error"):
            said = " ".join(filter(None, (error["message"], error.get("hint"))))
            show.out.print(show.text(f"  {said}", "red"))
    if found["remotes"]:
        show.out.print()
    rows = [row for device in found["devices"] for row in rows_of(device)]
    show.table(rows, ["jobs", "what it is"], "There is no device.")
    if found["queued"]:
        counted = ", ".join(f"{count} of {plugin}" for plugin, count in found["queued"].items())
        show.out.print(show.text(f"\nqueued  {counted}"))


def rows_of(device: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each worker; the device's own columns are in the first."""
    free, total = device["free_bytes"], device["total_bytes"]
    memory = f"{show.size(free)} of {show.size(total)}" if total and free is not None else ""
    head = {"device": device["name"], "free": memory}
    rows = [
        {
            "plugin": worker["plugin"],
            "state": "starting" if not worker["ready"] else "running" if worker["jobs"] else "ready",
            "memory": show.size(worker["memory_bytes"]) if worker["memory_bytes"] else "",
            "model": worker.get("warm"), "jobs": " ".join(worker["jobs"]),
        }
        for worker in device["workers"]
    ]  # fmt: skip
    none = {"plugin": "", "state": device["state"], "memory": "", "model": "", "jobs": ""}
    heads = [head, *({"device": "", "free": ""} for _ in rows[1:])]
    titles = [device["title"], *("" for _ in rows[1:])]
    return [
        first | row | {"what it is": title}
        for first, row, title in zip(heads, rows or [none], titles, strict=True)
    ]  # fmt: skip
