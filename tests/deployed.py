"""A machine that a server has deployed to, for tests and benchmarks: `deploy(server, machine, "work")`."""

import os
import subprocess
import sys

from core.remote.records import Records
from tests.serving import ROOT, wait_until

NAME = "far"
DEVICE = "far/cpu"
INSTALL_SECONDS = 300


def command(server, *words, **environment):
    """`server.py deploy WORDS`, to its end: as subprocess.run answers."""
    return subprocess.run(
        [sys.executable, "server.py", "deploy", "--config", str(server.folder / "config.toml"), *words],
        cwd=ROOT, env=os.environ | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=INSTALL_SECONDS,
    )  # fmt: skip


def deploy(server, machine, *plugins, words=(), **environment):
    """Deploy these plugins, logging in with the machine's key."""
    address = f"ssh://{machine.user}@{machine.host}:{machine.port}"
    words = [address, "--name", NAME, "--key", str(machine.key), "--plugins", ",".join(plugins), *words]
    return command(server, *words, **environment)


def state(server):
    """The State of the machine, as the link has told it."""
    return Records(server.folder / "data").state(NAME)


def connected(server, client, *plugins):
    """Wait until it is connected and a worker of each plugin is ready there."""
    wait_until(lambda: state(server).state == "connected", 120)
    wait_until(lambda: {each["plugin"] for each in workers(client) if each["ready"]} >= set(plugins), 120)


def workers(client):
    """Those of the machine that the server has."""
    return [each for each in client.call("queue")["workers"] if each["device"] == DEVICE]
