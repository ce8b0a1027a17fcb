"""How much memory of a graphics card models of full size take in each mode, counted without one (accounting.py)."""

import json
import subprocess

from benchmarks.pictures import PLUGIN
from core.ops import environments
from tests.serving import ROOT

KINDS = {"sd1": "SD 1", "xl": "SD XL"}


def measure(scale):
    python = environments.ensure(PLUGIN, ROOT / ".envs")
    command = [str(python), "-W", "ignore", "-m", "benchmarks.accounting"]
    counted = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    for row in map(json.loads, counted.splitlines()):
        name = f"{KINDS[row['kind']]}, {row['side']}x{row['side']}, {row['dtype']}, {row['mode']}"
        yield f"{name}: at most", max(row[stage] for stage in ("text", "unet", "vae")) / 1e9, "GB"
        yield f"{name}: expected by auto", row["estimate"] / 1e9, "GB"
