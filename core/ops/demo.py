"""The first picture: what `server.py --demo` does with the server it has started."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from core.ops.config import ROOT

PLUGIN, SEED, STEPS = "stable_diffusion", 12, 20
CANCEL_SECONDS = 4


def run(server: Any, prompt: str, out: Path, stopped: threading.Event) -> int:
    """Install the plugin that draws, then submit `prompt` through the command line, an ordinary client in a process of
    its own; the picture goes to `out`. Returns 0 if it is there."""
    info = server.catalogue.plugins.get(PLUGIN)
    if not info:
        print(f"The demo needs the plugin {PLUGIN}, which is not among the plugins' folders.", file=sys.stderr)
        return 1
    server.plugins.load(info, lambda line: print(line, file=sys.stderr, flush=True))
    if stopped.is_set():
        return 1
    if info.status != "ready":
        print(f"{PLUGIN}: {info.error}", file=sys.stderr)
        return 1
    server.scheduler.paused = False  # whatever was said before, the demo is to draw now
    sys.stdout.flush()
    job = ["run", f"{PLUGIN}.txt2img", f"--prompt={prompt}", f"--seed={SEED}", f"--steps={STEPS}", "--fresh"]
    client = subprocess.Popen(
        [sys.executable, "-m", "clients.cli", *job, "--priority=interactive", f"--out={out.resolve()}"],
        cwd=ROOT, env=os.environ | {"STABLE_CORE_URL": server.address, "STABLE_CORE_TOKEN": server.token},
    )  # fmt: skip
    patience = CANCEL_SECONDS
    while client.poll() is None:  # never blocks: the server runs in this process
        server.sio.sleep(0.05)
        patience -= 0.05 * stopped.is_set()  # Ctrl-C reached the client, too: it cancels its job, which takes a moment
        if patience < 0:
            client.kill()
    return 0 if client.returncode == 0 else 1
