"""Machines for rent: what is offered, and how one is made, looked at and ended, in the same words for each provider."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from core.errors import Unauthorized

NAMES = ("runpod", "vast")
TITLES = {"runpod": "RunPod", "vast": "vast.ai"}
CONSOLES = {"runpod": "https://console.runpod.io/pods", "vast": "https://cloud.vast.ai/instances/"}
VARIABLES = {"runpod": "RUNPOD_API_KEY", "vast": "VAST_API_KEY"}
Stage = Literal["scheduling", "pulling", "running", "lost", "ended"]  # lost: its provider does not hear from it


@dataclass(frozen=True)
class Wish:
    """What is to be rented. `gpu` is a card's name as people say it; `region` a country (two letters) or, at RunPod, a
    data center; `image` None: one of the provider's that has Python and an sshd."""

    gpu: str
    max_price: float  # US dollars per hour, for all of it
    spend_limit: float  # US dollars in all
    disk_gb: int = 60
    image: str | None = None
    region: str | None = None

    @property
    def seconds(self) -> int:
        """After which spend_limit is reached even at the highest price; a dearer one ends earlier (spending.py)."""
        return int(self.spend_limit / self.max_price * 3600)


@dataclass(frozen=True)
class Offer:
    """Something that can be rented now. `id` is the provider's, price in US dollars per hour."""

    id: str
    gpu: str
    price: float
    memory_gb: float
    where: str = ""
    note: str = ""


@dataclass(frozen=True)
class Machine:
    """One that was made for us. Once it is "running" it has an address; `text` is what the provider says of it."""

    id: str
    label: str
    stage: Stage
    text: str = ""
    host: str = ""
    port: int = 22
    price: float | None = None


class Provider(Protocol):
    """Each call raises CoreErrors: unauthorized (the key), not_found (nothing like that is left), conflict (refused, or
    an answer that nobody understands), timeout (no answer, or errors of the provider's own, after some tries)."""

    name: str
    user: str  # to log in as

    def search(self, wish: Wish) -> list[Offer]:
        """All offers of that card, the cheapest first, also those over max_price."""

    def create(self, offer: Offer, wish: Wish, label: str, public_key: str) -> Machine:
        """Never tried again, as it costs: after any error but not_found and unauthorized it may have been made all the
        same, which `find` tells."""

    def get(self, identity: str) -> Machine | None: ...

    def find(self, label: str) -> Machine | None: ...

    def destroy(self, identity: str) -> None:
        """For good. Nothing happens if it is gone."""


def of(name: str, data: Path) -> Provider:
    """Raises Unauthorized if there is no key."""
    from core.remote.providers.runpod import RunPod
    from core.remote.providers.vast import Vast

    return {"runpod": RunPod, "vast": Vast}[name](key_of(name, data))


def key_of(name: str, data: Path) -> str:
    """From the environment, else from a file that only its owner may read. Raises Unauthorized."""
    variable, path = VARIABLES[name], data / "remotes" / f"{name}.key"
    if key := os.environ.get(variable, "").strip():
        return _checked(key, variable)
    try:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            text = f"others may read {path}, which holds your {TITLES[name]} key."
            raise Unauthorized(text, hint=f"Type: chmod 600 {path}")
        if key := path.read_text("utf-8").strip():
            return _checked(key, str(path))
    except (OSError, UnicodeDecodeError):
        pass
    hint = f"Set {variable}, or write the key into {path} (chmod 600). docs/providers.md says where to get one."
    raise Unauthorized(f"there is no API key for {TITLES[name]}.", hint=hint)


def _checked(key: str, source: str) -> str:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise Unauthorized(f"what is in {source} cannot be an API key: it has spaces or strange characters.")
    return key
