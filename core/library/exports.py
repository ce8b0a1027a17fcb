"""Results where people look for them: copies of pictures, sounds and films under `outputs/`, never hard links."""

import re
import shutil
import time
from pathlib import Path
from typing import Any

from core.types import KINDS

EXPORTED = {"image", "mask", "audio", "video"}


def export(outputs: Path, job: dict[str, Any], artifacts: list[dict[str, Any]], blob: Any) -> list[Path]:
    """Copy a job's artifacts to outputs/DATE/TIME-JOB-SEED-PROMPT.png; returns the files. An existing file is kept."""
    files = []
    for artifact in artifacts:
        if artifact["kind"] not in EXPORTED:
            continue
        finished = time.localtime(job["finished"])
        prompt = re.sub(r"[^\w]+", "-", str(job["params"].get("prompt", ""))).strip("-")[:40]
        parts = [
            time.strftime("%H%M%S", finished),
            job["name"].split(".")[1],
            artifact["facts"].get("seed"),
            prompt,
            job["id"][-6:],
        ]
        if len(artifacts) > 1:
            parts.append(artifact["idx"])
        name = re.sub(r"[^\w.-]+", "-", "-".join(str(part) for part in parts if part not in (None, "")))[:150]
        path = outputs / time.strftime("%Y-%m-%d", finished) / f"{name}{KINDS[artifact['kind']].suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            shutil.copyfile(blob(artifact["sha256"]), path)
        files.append(path)
    return files
