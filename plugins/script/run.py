"""Runs one script, in a process of its own: job.json, in this folder, says which, and ended.json what became of it."""

import json
import linecache
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import PIL.Image

NAME = "script"


def main() -> dict[str, Any]:
    job = json.loads(Path("job.json").read_bytes())
    told = open(int(sys.argv[1]), "w", buffering=1)  # noqa: SIM115, open until the process ends
    found = {
        "__name__": "__main__", "images": [PIL.Image.open(f"image{number}.png") for number in range(job["images"])],
        "texts": job["texts"], "values": job["values"],
        "progress": lambda step, total: print(json.dumps([step, total]), file=told),
    }  # fmt: skip
    lines = job["code"].splitlines(keepends=True)
    linecache.cache[NAME] = (len(job["code"]), None, lines, NAME)  # so that tracebacks show the lines
    try:
        exec(compile(job["code"], NAME, "exec"), found)
        if "result" not in found:
            return {"error": "the script leaves nothing in result. End it with: result = ...", "line": None}
        return _keep(job["kind"], found["result"])
    except SystemExit as error:
        return {"error": f"the script called exit({error.code!r})", "line": _line(error)}
    except BaseException as error:  # whatever a script raises
        own = error.__traceback__.tb_next if error.__traceback__ else None
        traceback.print_exception(type(error), error, own)
        line = error.lineno if isinstance(error, SyntaxError) and error.filename == NAME else _line(error)
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        return {"error": f"{type(error).__name__}: {text[:500]}", "line": line}


def _line(error: BaseException) -> int | None:
    """The last line of the script that was at work."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == NAME]
    return lines[-1] if lines else None


def _keep(kind: str, result: Any) -> dict[str, Any]:
    one = isinstance(result, str | dict | PIL.Image.Image) or not isinstance(result, Iterable)
    number = 0
    for value in [result] if one else result:
        fits = {"image": isinstance(value, PIL.Image.Image), "text": isinstance(value, str), "json": True}[kind]
        if not fits:
            return {"error": f"result has a {type(value).__name__}, not {kind}", "line": None, "type": True}
        if kind == "image":
            value.save(f"result{number}", "PNG")
        else:
            text = value if kind == "text" else json.dumps(value, allow_nan=False)
            Path(f"result{number}").write_text(text, "utf-8", errors="replace")
        number += 1
    return {"results": number}


if __name__ == "__main__":
    ended = main()
    sys.stdout.flush()
    Path("ended.json").write_text(json.dumps(ended), "utf-8")
