"""What was asked of providers, written down before it is asked: data/remotes/ledger.jsonl, lines that are only added.

Each machine has a label, which is also its name at the provider. So one whose making was never answered, or whose
maker died, is found there and ended."""

import contextlib
import json
import os
import secrets
import time
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import psutil

CLOCK_SECONDS = 60  # by which the clock may have been set meanwhile: what a process began at follows it
What = Literal["asked", "made", "kept", "ended"]


@dataclass
class Entry:
    """A machine by its lines: asked (it may exist), made (it has an id), kept (it is a machine of ours, with a record),
    ended (gone, and that was looked at)."""

    label: str
    provider: str
    name: str
    price: float  # US dollars per hour
    limit: float  # US dollars
    what: What = "asked"
    id: str = ""
    at: float = field(default_factory=time.time)  # when it was asked for: seconds since 1970
    pid: int = 0
    started: float = 0.0  # of that process: a pid is used again
    why: str = ""

    def in_hands(self) -> bool:
        """Whether the process that asked for it still runs, and so sees to it."""
        with contextlib.suppress(psutil.Error):
            return abs(psutil.Process(self.pid).create_time() - self.started) < CLOCK_SECONDS
        return False


KEYS = {each.name for each in fields(Entry)}  # a later version may write more


class Ledger:
    def __init__(self, data: Path):
        self.path = data / "remotes" / "ledger.jsonl"

    def ask(self, provider: str, name: str, price: float, limit: float) -> Entry:
        """A new entry, on the disk before this returns. Raises OSError: then nothing may be asked for."""
        label = f"stable-core-{name}-{secrets.token_hex(4)}"
        started = psutil.Process().create_time()
        entry = Entry(label, provider, name, price, limit, pid=os.getpid(), started=started)
        self._add({"what": "asked", **{key: value for key, value in vars(entry).items() if key != "what"}})
        return entry

    def note(self, entry: Entry, what: What, **more: Any) -> None:
        """`entry` is another one from now on, and so it stands on the disk."""
        for key, value in {"what": what, **more}.items():
            setattr(entry, key, value)
        self._add({"label": entry.label, "what": what, "noted": time.time(), **more})

    def open(self) -> list[Entry]:
        """Those that have not ended, the oldest first."""
        return [entry for entry in self.entries().values() if entry.what != "ended"]

    def entries(self) -> dict[str, Entry]:
        """By label. Half a line, of a machine that went down while it was written, counts as none."""
        found: dict[str, Entry] = {}
        try:
            lines = self.path.read_text("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return found
        for line in lines:
            try:
                said = json.loads(line)
                label = said.pop("label")
                said = {key: value for key, value in said.items() if key in KEYS}
                found[label] = replace(found[label], **said) if label in found else Entry(label, **said)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
        return found

    def _add(self, said: dict[str, Any]) -> None:
        """On the disk when this returns, also if the power fails then."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = not self.path.exists()
        with self.path.open("ab+") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            torn = file.read(1) not in (b"", b"\n")
            file.write(b"\n" * torn + json.dumps(said).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if new and os.name == "posix":  # that there is such a file, too
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
