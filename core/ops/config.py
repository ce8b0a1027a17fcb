"""The settings of a server: defaults here, `config.toml` over them, command-line flags over that."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import AfterValidator, Field

from core.errors import InvalidParams
from core.library.apps import ExtraModels
from core.library.naming import DEFAULT, PLACEHOLDERS, check_pattern
from core.ops.devices import check as check_devices
from core.remote.ray_settings import RaySettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
Folder = Annotated[Path, AfterValidator(Path.absolute)]  # workers, links and commands have another current folder
Person = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,50}$")]


class Config(pydantic.BaseModel):
    """Every setting is a key of config.toml and a flag of server.py."""

    model_config = pydantic.ConfigDict(extra="forbid")
    _file: Path = pydantic.PrivateAttr(ROOT / "config.toml")

    host: str = Field(
        "127.0.0.1", description="Address to listen on. Others than loopback show the server to a network."
    )
    port: int = Field(7777, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    data: Folder = Field(ROOT / "data", description="Folder of the queue, the stored results and the logs.")
    outputs: Folder = Field(ROOT / "outputs", description="Folder where people find the pictures.")
    filename_pattern: Annotated[str, AfterValidator(check_pattern)] = Field(
        DEFAULT, description=f"What results are called there: {', '.join(f'{{{name}}}' for name in PLACEHOLDERS)}."
    )
    export_format: Literal["png", "jpeg", "webp"] = Field(
        "png", description="What pictures are there; masks, sounds and films stay what they are."
    )
    export_quality: int = Field(80, ge=1, le=100, description="Of jpeg and webp: 100 is best and largest.")
    models: Folder = Field(ROOT / "models", description="Folder of model files, a subfolder for each kind.")
    extra_model_paths: list[ExtraModels] = Field(
        [], description='Folders of other apps, read in place: [{"app": "a1111", "path": "/home/me/stable-diffusion"}].'
    )
    plugins: list[Folder] = Field([ROOT / "plugins"], description="Folders that hold plugins.")
    packages: Folder = Field(ROOT / "packages", description="Folder of the plugins that were installed.")
    plugin_indexes: list[str] = Field(
        [], description='Lists that plugins are found in by name: git or .json addresses, ["https://.../plugins.git"].'
    )
    install_over_api: bool = Field(
        False,
        description="Whether the admin may install plugins over the API, and not only at this machine's command line: "
        "then whoever has the admin's token can run code here.",
    )
    environments: Folder = Field(ROOT / ".envs", description="Folder of the plugins' Python environments.")
    torch_backend: str = Field(
        "auto",
        description="PyTorch build of the plugins: auto (the tested one, from PyPI), cpu, or one of PyTorch's own: "
        "cu126, cu128, cu130 (NVIDIA), rocm6.4 (AMD), xpu (Intel) ...",
    )
    sandbox: Literal["off", "auto", "on"] = Field(
        "auto",
        description="Plugins that run in a sandbox made by bubblewrap: none, those that ask for one (auto), or all.",
    )
    allow_code: bool = Field(False, description="Whether the admin may run Python code as a job, in a sandbox.")
    devices: Annotated[list[str], AfterValidator(check_devices)] = Field(
        ["auto"], description="Devices to use: auto, or cuda:0, xpu:0, mps, cpu; cpu:0 and cpu:1 are two workers."
    )
    pool: Literal["local", "ray"] = Field("local", description="Where workers run: here, or on a Ray cluster.")
    ray: RaySettings = Field(
        RaySettings(), description='That cluster: {"address": "head:6379", "num_gpus": 0.5}; see docs/cluster.md.'
    )
    async_mode: Literal["eventlet", "threading"] = Field(
        "eventlet", description="How the server waits for many sockets."
    )
    web: Literal["auto", "off"] = Field(
        "auto",
        description="The page at /: auto has npm build the full one at the first start, off leaves the plain one.",
    )
    bridges: Literal["auto", "on", "off"] = Field(
        "auto", description="The APIs of A1111, OpenAI and MCP: auto is on where host is loopback."
    )
    durability: Literal["process", "power"] = Field(
        "process", description="What acknowledged work survives: kill -9 (process) or a power cut (power, slower)."
    )
    on_start: Literal["run", "pause", "last"] = Field("run", description="Whether the queue runs after a start.")
    max_queued: int = Field(200_000, ge=1, description="Unfinished jobs that one owner may have.")
    max_message_bytes: int = Field(
        16_000_000, ge=100_000, description="Largest socket message; larger data is uploaded."
    )
    max_upload_bytes: int = Field(512_000_000, ge=1000, description="Largest upload.")
    cancel_grace_seconds: float = Field(
        5, ge=0, description="Time a job has to stop by itself before its worker is killed."
    )
    heartbeat_seconds: float = Field(30, gt=0, description="A worker that is silent for longer is killed.")
    remote_grace_seconds: float = Field(
        120, gt=0, description="So long a worker on another machine may be cut off before its jobs run elsewhere."
    )
    stall_seconds: float = Field(600, gt=0, description="A job without progress for longer fails.")
    reserve_bytes: int = Field(0, ge=0, description="Memory of each device that is left to other programs.")
    attempts: int = Field(3, ge=1, description="Times that a job may kill its worker before it fails.")
    events_kept: int = Field(100_000, ge=100, description="Events that a client can catch up on.")
    retention_days: float = Field(0, ge=0, description="Results older than that are deleted; 0 keeps them.")
    retention_bytes: int = Field(0, ge=0, description="The oldest results over that size go; 0 keeps them.")
    retention_count: int = Field(0, ge=0, description="The oldest results over that number go; 0 keeps them.")
    tokens: dict[Person, Annotated[str, Field(min_length=16)]] = Field(
        {}, description='More people, by name, with own jobs and results: {"bot": "a long random token"}.'
    )
    plugin_settings: dict[str, dict[str, Any]] = Field(
        {}, description='What plugins let you set, by plugin: {"stable_diffusion": {"dtype": "bfloat16"}}.'
    )
    overrides: dict[str, dict[str, dict[str, Any]]] = Field(
        {}, description='Own defaults and bounds: {"plugin.job": {"steps": {"default": 30, "maximum": 50}}}.'
    )

    @property
    def file(self) -> Path:
        """Where it is from, and where changes go; it need not be there."""
        return self._file


def load(path: Path | None, flags: dict[str, Any]) -> Config:
    """The settings in `path` (config.toml beside server.py if None) with `flags` over them.

    Raises InvalidParams naming every bad setting."""
    source = path or ROOT / "config.toml"
    try:
        values = tomllib.loads(source.read_text("utf-8")) if path or source.exists() else {}
        config = Config(**values | flags)
        config._file = source
        return config
    except pydantic.ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}, got {item['input']!r}." for item in error.errors()]
        raise InvalidParams(f"bad settings in {source} or flags:\n  " + "\n  ".join(lines)) from error
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InvalidParams(f"cannot read the settings in {source}: {error}.") from error
