"""Python code as a job: pictures, texts and JSON values in, pictures, texts or JSON values out.

The server has this plugin with allow_code only, offers it to the admin alone, and runs it in a sandbox only."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from core.plugin import Context, Image, InvalidParams, Json, Params, Plugin, Text, TypeMismatch, job, param

RUN = Path(__file__).with_name("run.py")
LINES = 2_000  # of what a script prints; the rest is not told
LOOK_SECONDS = 0.05
CODE = "Python code. It finds images, texts and values, which are lists, and leaves one thing or several in result."


class ImagesCode(Params):
    code: str = param(
        "result = images", max_length=100_000, widget="textarea", help=CODE,
        examples=["result = [image.rotate(90, expand=True) for image in images]"],
    )  # fmt: skip


class TextsCode(Params):
    code: str = param(
        "result = texts", max_length=100_000, widget="textarea", help=CODE,
        examples=["result = [f'a picture of {word}' for text in texts for word in text.split()]"],
    )  # fmt: skip


class JsonCode(Params):
    code: str = param(
        "result = values", max_length=100_000, widget="textarea", help=CODE,
        examples=["result = [{'width': image.width, 'height': image.height} for image in images]"],
    )  # fmt: skip


class Script(Plugin):
    @job()
    def python_images(
        self, images: list[Image] | None, texts: list[Text] | None, values: list[Json] | None, params: ImagesCode,
        ctx: Context,
    ) -> list[Image]:  # fmt: skip
        """Make pictures with Python code of your own."""
        import PIL.Image

        return [PIL.Image.open(path) for path in run("image", params.code, images, texts, values, ctx)]

    @job()
    def python_texts(
        self, images: list[Image] | None, texts: list[Text] | None, values: list[Json] | None, params: TextsCode,
        ctx: Context,
    ) -> list[Text]:  # fmt: skip
        """Make texts with Python code of your own."""
        return [path.read_text("utf-8") for path in run("text", params.code, images, texts, values, ctx)]

    @job()
    def python_json(
        self, images: list[Image] | None, texts: list[Text] | None, values: list[Json] | None, params: JsonCode,
        ctx: Context,
    ) -> list[Json]:  # fmt: skip
        """Make JSON values with Python code of your own."""
        return [json.loads(path.read_bytes()) for path in run("json", params.code, images, texts, values, ctx)]


def run(kind: str, code: str, images: list, texts: list[str], values: list[Any], ctx: Context) -> list[Path]:
    """The files of what `code` has left in `result`, by a fresh interpreter: nothing of a script stays for the next.

    Raises InvalidParams with the line that failed, TypeMismatch if a result is not of that kind."""
    for number, image in enumerate(images or []):
        image.save(ctx.scratch / f"image{number}.png")
    about = {"kind": kind, "code": code, "images": len(images or []), "texts": texts or [], "values": values or []}
    (ctx.scratch / "job.json").write_text(json.dumps(about), "utf-8")
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, str(RUN), str(write)], cwd=ctx.scratch, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, pass_fds=[write], start_new_session=True,
    )  # fmt: skip
    os.close(write)
    listeners = [
        threading.Thread(target=_tell, args=(process.stdout, ctx)),
        threading.Thread(target=_progress, args=(read, ctx)),
    ]
    for listener in listeners:
        listener.start()
    try:
        while not _ended(process):
            ctx.raise_if_cancelled()
    finally:
        with contextlib.suppress(ProcessLookupError):  # also what it has started, which may hold our pipes
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for listener in listeners:
            listener.join()
    said = ctx.scratch / "ended.json"
    ended = json.loads(said.read_bytes()) if said.exists() else {"error": "the script ended its process", "line": None}
    if "error" in ended:
        where = f"line {ended['line']}: " if ended["line"] else ""
        error = TypeMismatch if ended.get("type") else InvalidParams
        raise error(f"{where}{ended['error']}", field="code", hint="The job's log has all that it printed.")
    return [ctx.scratch / f"result{number}" for number in range(ended["results"])]


def _tell(lines: Any, ctx: Context) -> None:
    """What the script prints goes into the job's log."""
    for number, line in enumerate(lines):
        if number < LINES:
            ctx.log(line.decode("utf-8", "replace").rstrip("\n"))
        elif number == LINES:
            ctx.log(f"... the script prints more than {LINES:,} lines; the rest is left out.")


def _progress(read: int, ctx: Context) -> None:
    with open(read, "rb") as lines:
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, InvalidParams):
                step, total = json.loads(line)
                ctx.progress(float(step), float(total), "script")


def _ended(process: subprocess.Popen) -> bool:
    try:
        process.wait(LOOK_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True
