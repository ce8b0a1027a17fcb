"""Pictures in a terminal: sixels or kitty's graphics where it can show them, half blocks elsewhere."""

import contextlib
import io
import logging
import os
import sys
from typing import Any

import PIL.Image
from rich.console import Console
from rich.measure import Measurement

TERMINAL = "CONIN$" if os.name == "nt" else "/dev/tty"
MARGIN = 6  # rows for what is told of a picture
PREVIEW_ROWS = 12


def ready(console: Console) -> bool:
    """Whether there can be pictures. Asks the terminal what it can, which must not happen while something is drawn."""
    library = _library()
    if library:  # measuring asks for the size of a cell, once
        Measurement.get(console, console.options, library.Image(PIL.Image.new("RGB", (1, 1))))
    return library is not None


def show(console: Console, content: bytes) -> bool:
    """Print a picture as large as fits; False where there is no terminal, or for bytes that are no picture."""
    library = _library() if console.is_terminal else None
    picture = _opened(content)
    if not library or not picture:
        return False
    console.print(library.Image(picture, "auto", "auto"), height=max(4, console.height - MARGIN))
    return True


def blocks(content: bytes) -> Any:
    """A small picture of half blocks, two pixels a cell, which can be drawn again and again; "" for no picture."""
    library, picture = _library(), _opened(content)
    if not library or not picture:
        return ""
    return library.HalfcellImage(
        picture, max(1, round(2 * PREVIEW_ROWS * picture.width / picture.height)), PREVIEW_ROWS
    )


def _opened(content: bytes) -> PIL.Image.Image | None:
    with contextlib.suppress(OSError, ValueError):
        picture = PIL.Image.open(io.BytesIO(content))
        picture.load()
        return picture
    return None


def _library() -> Any:
    """textual_image.renderable. While it is imported it asks the terminal what it can, and reads the answer from stdin,
    which may be a pipe that has been read: then the terminal takes its place."""
    if not sys.__stdin__ or not sys.__stdin__.isatty():
        try:
            sys.__stdin__ = open(TERMINAL)  # noqa: SIM115 - for as long as we run
        except OSError:
            return None
    # Where a terminal does not tell the size of its cells, it warns with a traceback, and takes 10x20 pixels.
    logging.getLogger("textual_image").addHandler(logging.NullHandler())
    import textual_image.renderable

    return textual_image.renderable
