"""What is known of other machines: a folder for each in data/remotes, with a record and a state.

Commands write the record: how it is reached, and what runs there. The process that holds the connection writes the
state. Both are replaced whole, so whoever reads them needs no lock."""

import re
import time
import uuid
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core.errors import Conflict, NotFound
from core.jobs import Priority
from core.library.near import meant_or_known

STEPS_LOCK = "steps.lock"  # in a machine's folder: held while something is copied or installed there
RAY = "ray"  # called so are the devices of a Ray cluster (ray/0), and its state among those of machines


def _free(name: str) -> str:
    if name == RAY:
        raise ValueError(f"{RAY} is what the Ray cluster is called; choose another name")
    return name


NAME = r"^[a-z][a-z0-9-]{0,29}$"
RemoteName = Annotated[str, Field(pattern=NAME, examples=["gpu1"]), AfterValidator(_free)]


class Rule(BaseModel):
    """Which jobs run on a machine. A job fits if its name (plugin.job, or job) is one of `jobs`, in which * stands for
    anything, and its priority one of `priorities`; empty lists fit all.

    `when`: "prefer" it to the devices here; only when these are all "busy"; or nowhere else but here ("only")."""

    model_config = ConfigDict(extra="forbid")
    jobs: list[str] = []
    priorities: list[Priority] = []
    when: Literal["prefer", "busy", "only"] = "prefer"


class Rented(BaseModel):
    """A machine that a provider made for us, and what it may cost, in US dollars."""

    provider: Literal["runpod", "vast"]
    id: str
    price_per_hour: float
    spend_limit: float
    created: float = Field(description="Seconds since 1970.")
    ended: str = Field("", description="Why there is no such machine any more; empty: there is.")
    ended_at: float | None = Field(None, description="Seconds since 1970; when that was found out.")


class Remote(BaseModel):
    """The record of a machine that is reached over SSH."""

    name: RemoteName
    host: str = Field(max_length=253)
    port: int = Field(22, ge=1, le=65535)
    user: str
    host_key: str | None = Field(None, description='Of its sshd, pinned at the first contact: "ssh-ed25519 AAAA...".')
    folder: str = Field("", description="Where everything is kept there; made absolute at the first contact.")
    plugins: list[str] = []
    models: list[str] = Field([], description='Of the user\'s models, by kind/name with *: ["checkpoint/dream*"].')
    devices: list[str] = Field(["auto"], description="As in the settings: cuda:0 ...")
    torch_backend: str = Field(
        "auto", pattern=r"^[a-z0-9.]{1,20}$", description="As in the settings, of the PyTorch there."
    )
    rule: Rule = Rule()
    idle_minutes: float = Field(30, ge=0, le=1e6, description="Without a job for so long, it stops itself; 0: never.")
    rented: Rented | None = None
    on: bool = Field(False, description="Whether the server is to keep a connection to it.")


class State(BaseModel):
    """How a machine is, as told by whoever holds the connection to it."""

    state: Literal["connecting", "preparing", "connected", "lost", "failed", "off"] = "off"
    step: str = Field("", description="What is being done just now, for people.")
    error: dict[str, Any] | None = Field(None, description="Why it is lost or failed, as errors are sent to clients.")
    since: float = Field(0, description="Of this state: seconds since 1970.")
    seen: float = Field(0, description="When the machine was last heard of: seconds since 1970.")
    round_trip_seconds: float | None = None
    devices: dict[str, dict[str, Any]] = Field(
        {}, description="By device without the machine's name: title, free_bytes, total_bytes (None: nobody says)."
    )
    workers: list[dict[str, Any]] = Field([], description="plugin, device, pid there.")


class Records:
    """The machines of one data folder."""

    def __init__(self, data: Path):
        self.folder = data / "remotes"

    def names(self) -> list[str]:
        found = [path.parent.name for path in self.folder.glob("*/record.json")]
        return sorted(name for name in found if re.fullmatch(NAME, name) and name != RAY)

    def of(self, name: str) -> Path:
        """The folder of one machine: record.json, state.json, key, key.pub, steps.lock."""
        return self.folder / name

    def read(self, name: str) -> Remote:
        """Raises NotFound, and Conflict if its record makes no sense."""
        path = self.of(name) / "record.json"
        try:
            if not re.fullmatch(NAME, name):  # a path, say
                raise FileNotFoundError(name)
            record = Remote.model_validate_json(path.read_text("utf-8"))
            if record.name != name:
                raise ValueError(f"it is the record of {record.name}")
        except FileNotFoundError:
            text = f"there is no machine {name[:100]!r}.{meant_or_known(name, self.names())}"
            then = "deploy list" if self.names() else "deploy ssh://user@host:port"
            raise NotFound(text, hint=f"Next: python3 server.py {then}") from None
        except (OSError, ValueError) as error:
            text = f"{path} cannot be read: {' '.join(str(error)[:300].split())}."
            hint = f"Mend it, or forget the machine: python3 server.py deploy destroy {name} --forget"
            raise Conflict(text, hint=hint) from error
        return record

    def write(self, record: Remote) -> None:
        self._replace(self.of(record.name) / "record.json", record)

    def state(self, name: str) -> State:
        return self.told(name) or State()

    def told(self, name: str) -> State | None:
        """None: nothing, or what cannot be read; it is written anew soon."""
        try:
            return State.model_validate_json((self.of(name) / "state.json").read_text("utf-8"))
        except (OSError, ValueError):
            return None

    def write_state(self, name: str, state: State) -> None:
        self._replace(self.of(name) / "state.json", state)

    def _replace(self, path: Path, value: BaseModel) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        new.write_text(value.model_dump_json(indent=1), "utf-8")
        new.replace(path)


def device_of(remote: str, device: str) -> str:
    """What the server calls a machine's device: gpu1/cuda:0."""
    return f"{remote}/{device}"


def changed(state: State, /, **columns: Any) -> State:
    """`state` with `columns`; `since` is now if it is another state than before."""
    new = state.model_copy(update=columns)
    return new if new.state == state.state else new.model_copy(update={"since": time.time()})
