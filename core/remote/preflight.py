"""What a machine must have before anything is copied to it: looked at by one script there, judged here."""

from dataclasses import dataclass
from typing import Any

import asyncssh


@dataclass(frozen=True)
class Verdict:
    """What was found out about one thing (python, disk, driver, time, system); it is `ok`, or why not and what to do.
    A `warning` does not hinder."""

    about: str
    text: str
    ok: bool = True
    warning: bool = False
    hint: str = ""


async def look(connection: asyncssh.SSHClientConnection, folder: str) -> dict[str, Any]:
    """The facts, as core/remote/scripts/facts.py prints them: home, system, machine, libc, time, pythons, disk, cards,
    folder (absolute). Raises CoreErrors if the machine can run no script of ours."""
    raise NotImplementedError


def judge(facts: dict[str, Any], needed_bytes: int, clock_difference_seconds: float) -> list[Verdict]:
    """What of it suffices."""
    raise NotImplementedError


def check(verdicts: list[Verdict]) -> None:
    """Raises Conflict naming all that is wrong, with what to do about it."""
    raise NotImplementedError
