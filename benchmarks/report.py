"""How results are shown and kept: a table, JSON lines, and a file that also says on which machine and when."""

import datetime
import json
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import psutil

RESULTS = Path(__file__).with_name("results")
PACKAGES = ("python-socketio", "python-engineio", "eventlet", "pydantic")


def line(measurement):
    """One row of the table, as plain text."""
    value = f"{measurement.value:,.4g}" if measurement.value < 1000 else f"{measurement.value:,.0f}"
    verdict = {None: "", True: "ok", False: "MISSED"}[measurement.ok]
    goal = "" if measurement.goal is None else str(measurement.goal)
    name = f"{measurement.benchmark:<9} {measurement.metric:<52}"
    return f"{name} {value:>9} {measurement.unit:<9} {goal:<8} {verdict}".rstrip()


def machine():
    """What a reader needs to judge the numbers, as (name, text)."""
    facts = [
        ("date", datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
        ("commit", output("git", "rev-parse", "--short", "HEAD") or "unknown"),
        ("CPU", f"{cpu()}, {psutil.cpu_count()} cores"),
        ("memory", f"{psutil.virtual_memory().total / 1e9:.0f} GB"),
        ("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("Python", platform.python_version()),
        ("packages", ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)),
    ]
    if gpus := output("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"):
        facts.append(("GPU", gpus.replace("\n", "; ")))
    return facts


def cpu():
    info = Path("/proc/cpuinfo")
    names = [text for text in info.read_text().splitlines() if text.startswith("model name")] if info.exists() else []
    return names[0].split(":", 1)[1].strip() if names else platform.processor() or platform.machine()


def output(*command):
    """What a command prints, empty if there is no such command or it fails."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=20, cwd=RESULTS.parent, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def save(kind, measurements):
    """Write a table for people, with the same as JSON lines below it; returns the path."""
    facts = machine()
    lines = [f"# Benchmarks on {kind}", "", "| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in facts)]
    lines += ["", "```", *map(line, measurements), "```", "", "The same as JSON lines:", "", "```json"]
    lines += [*(json.dumps(each.row()) for each in measurements), "```", ""]
    date = facts[0][1].split()[0]
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{date}-{kind}.md"
    path.write_text("\n".join(lines), "utf-8")
    return path
