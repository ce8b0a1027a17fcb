"""Copies files to another machine by their hashes: only what differs, going on where it stopped, whole or not at all.

Files arrive as NAME.part and take their names when their hash is right. What is there and not wanted any more goes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import asyncssh


@dataclass(frozen=True)
class Item:
    """A file here and where it belongs there, relative to the machine's folder, with slashes."""

    source: Path
    target: str


async def copy(
    connection: asyncssh.SSHClientConnection, python: str, folder: str, items: list[Item], owned: list[str],
    tell: Callable[[str, int, int], None],
) -> int:  # fmt: skip
    """Make `folder` there hold these files; returns how many bytes were sent. In the folders `owned` what is no item
    is removed. `tell` gets (file, bytes done, bytes of all). Raises Conflict, Internal or OSError (of files here)."""
    raise NotImplementedError
