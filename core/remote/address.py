"""What people type or paste to name a machine: ssh://user@host:port, user@host -p 22, a whole ssh command."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Address:
    host: str
    port: int = 22
    user: str | None = None
    key: Path | None = None


def parse(words: list[str]) -> Address:
    """Raises InvalidParams, which says what is meant to stand there."""
    raise NotImplementedError
