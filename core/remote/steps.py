"""What makes a bare machine one that workers run on: look at it, copy what is missing, install, say where it all is.

Each step does only what is still to be done, so whoever was interrupted does it all again and loses nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from core.library.models import Models
from core.ops.config import Config
from core.remote.records import Remote


@dataclass(frozen=True)
class Sources:
    """What is copied from here: this checkout's core/, plugins' folders by name, models by kind and name."""

    plugins: dict[str, Path]
    models: Models
    torch_backend: str = "auto"


@dataclass(frozen=True)
class Step:
    """What is being done: `name` is connect, look, copy, install or ready; `text` is for people. Bytes if it copies."""

    name: str
    text: str
    done_bytes: int = 0
    total_bytes: int = 0


@dataclass(frozen=True)
class Place:
    """Where a plugin is there, and the Python of its environment: absolute paths of the other machine."""

    folder: str
    python: str


@dataclass(frozen=True)
class Ready:
    """A machine that workers can be started on. Paths are absolute ones of that machine."""

    folder: str  # the record's, made absolute; in it are code/, models/, run/, logs/ and cache/
    python: str  # of code/.venv, which core.remote.host runs under
    plugins: dict[str, Place]
    code: str  # a hash of all code there: another one than a host was started with means to start it anew
    facts: dict[str, Any] = field(default_factory=dict)  # what preflight found; empty if nothing was to be done


Tell = Callable[[Step], None]


def sources_of(config: Config, record: Remote) -> Sources:
    """Where the record's plugins and models are here. Raises NotFound or InvalidParams: no such plugin, or one that
    runs in a sandbox only."""
    raise NotImplementedError


async def bring_up(connection: asyncssh.SSHClientConnection, record: Remote, sources: Sources, tell: Tell) -> Ready:
    """All steps; a fraction of a second if there is nothing to do. `tell` is called at each step, and while it copies
    or installs as it goes on. Raises CoreErrors that say what is wrong with the machine and what to do; cancelling it
    leaves what the next call goes on with."""
    raise NotImplementedError
