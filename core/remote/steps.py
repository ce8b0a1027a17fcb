"""What makes a bare machine one that workers run on: look at it, copy what is missing, install, say where it all is.

Each step does only what is still to be done, so whoever was interrupted does it all again and loses nothing."""

import asyncio
import contextlib
import fnmatch
import hashlib
import os
import re
import shlex
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from core.errors import Conflict, Internal, InvalidParams, NotFound
from core.library import apps
from core.library.models import Models
from core.library.near import meant_or_known
from core.ops import bootstrap, discovery, environments
from core.ops.bootstrap import size
from core.ops.config import ROOT, Config
from core.ops.packages.registry import Registry
from core.remote import preflight, sync
from core.remote.connection import run_json, started, text_of
from core.remote.records import STEPS_LOCK, Records, Remote
from core.remote.sync import Item

OWN_FILES = ["requirements.txt", "requirements.lock", "worker-requirements.txt", "worker-requirements.lock", "LICENSE"]
OWNED = ["code", "models"]
SERVER_BYTES = bootstrap.SIZES["requirements.lock"][1] * bootstrap.MEGABYTE
TRY_SECONDS = 300  # PyTorch is large, and was never read there before
TRY_CARD = """import json
try:
    import torch
    torch.zeros(1, device="cuda")
    print(json.dumps({"ok": True}))
except Exception as error:
    print(json.dumps({"ok": False, "error": str(error).splitlines()[0] if str(error) else type(error).__name__}))"""


@dataclass(frozen=True)
class Sources:
    """What is copied from here: this checkout's core/, plugins' folders by name, models by kind and name.

    `folder` is the machine's one here, in data/remotes."""

    plugins: dict[str, Path]
    models: dict[str, Path]
    folder: Path


@dataclass(frozen=True)
class Step:
    """What is being done: `name` is look, copy, install or ready; `text` is for people. Bytes if it copies."""

    name: str
    text: str
    done_bytes: int = 0
    total_bytes: int = 0
    warning: bool = False


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


def sources_of(config: Config, record: Remote, strict: bool = False) -> Sources:
    """Where the record's plugins and models are here. Raises NotFound or InvalidParams: no such plugin, or one that
    runs in a sandbox only; if `strict`, also a pattern of models that none fits, as may be when they were deleted."""
    registry = Registry(config.packages)
    places, disabled = registry.places(config.plugins), registry.read().disabled
    plugins = {}
    for name in record.plugins:
        if name not in places:
            raise NotFound(f"there is no plugin {name[:100]!r}.{meant_or_known(name, places)}", field="plugins")
        folder = places[name][1]
        info = discovery.PluginInfo(name, folder)
        discovery.read_manifest(info)
        if info.status == "refused":
            raise InvalidParams(f"the plugin {name} is refused: {info.error}", field="plugins")
        if why := _needs_sandbox(info.manifest, config):
            text = f"the plugin {name} cannot run on another machine: {why}, and there is none there."
            raise InvalidParams(text, field="plugins", hint="Leave it out of --plugins; its jobs run here.")
        if name in disabled:
            text = f"the plugin {name} is disabled."
            raise InvalidParams(text, field="plugins", hint=f"python3 server.py plugins enable {name}")
        try:
            environments.recipe_of(folder)
        except bootstrap.InstallError as error:
            raise InvalidParams(f"the plugin {name} has no environment: {error}", field="plugins") from error
        plugins[name] = folder
    return Sources(plugins, _models(config, record.models, strict), Records(config.data).of(record.name))


def _needs_sandbox(manifest: dict[str, Any], config: Config) -> str:
    if config.sandbox == "on":
        return 'all plugins run in a sandbox, as sandbox = "on" says'
    if manifest.get("runs_code"):
        return "it runs code that is sent to it, in a sandbox only"
    return "it asks for a sandbox" if manifest.get("sandbox") and config.sandbox == "auto" else ""


def needs_torch(folder: Path) -> bool:
    """Whether PyTorch is in a plugin's environment."""
    lock = environments.recipe_of(folder).lock
    return lock.is_file() and bool(re.search(r"^torch==", lock.read_text("utf-8"), re.MULTILINE))


def _models(config: Config, patterns: list[str], strict: bool) -> dict[str, Path]:
    """The user's own models that fit, by kind/name. What plugins ship is copied with them."""
    models = Models(config.models, apps.folders(config.extra_model_paths))
    kinds = {each["kind"] for each in models.shipped}
    with contextlib.suppress(OSError):
        kinds |= {each.name for each in models.folder.iterdir() if each.is_dir() and not each.name.startswith(".")}
    known = {f"{kind}/{name}": path for kind in sorted(kinds) for name, path in models.entries(kind).items()}
    found = {}
    for pattern in patterns:
        fitting = [name for name in known if fnmatch.fnmatchcase(name, pattern)]
        if strict and not fitting:
            text = f"no model fits {pattern[:100]!r}.{meant_or_known(pattern, list(known)[:20])}"
            raise NotFound(text, field="models", hint='Patterns are of kind/name: "checkpoint/dream*".')
        found |= {name: known[name] for name in fitting}
    return found


def items_of(sources: Sources) -> list[Item]:
    """All files that belong there. Raises InvalidParams where a link leads out of a plugin's folder."""
    items = [Item(ROOT / name, f"code/{name}") for name in OWN_FILES]
    items += _inside(ROOT / "core", "code/core")
    for name, folder in sources.plugins.items():
        items += _inside(folder, f"code/plugins/{name}")
        if (share := environments.environment_settings(folder).get("share")) and share not in sources.plugins:
            other, recipe = environments.beside(folder, share), environments.recipe_of(folder)
            override = recipe.requirements.with_name(f"{recipe.requirements.stem}-override.txt")
            named = [other / "plugin.toml", recipe.requirements, recipe.lock, override]
            found = [each for each in named if each.is_file() and each.is_relative_to(other)]
            items += [Item(each, f"code/plugins/{share}/{each.relative_to(other).as_posix()}") for each in found]
    for name, path in sources.models.items():
        items += _of_model(name, path)
    return list({item.target: item for item in items}.values())


def _inside(folder: Path, target: str) -> Iterator[Item]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
        if Path(place) == folder:
            folders[:] = [name for name in folders if name != "tests"]
        for path in (Path(place, name) for name in [*folders, *sorted(names)] if not name.startswith(".")):
            if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
                text = f"{path} is a link that leads out of {folder}, and is not followed."
                raise InvalidParams(text, hint="Put the file itself there.")
            if path.is_file() and path.suffix != ".pyc":
                yield Item(path, f"{target}/{path.relative_to(folder).as_posix()}")


def _of_model(name: str, path: Path) -> Iterator[Item]:
    """Links are followed, as people keep models where there is room."""
    if not path.is_dir():
        yield Item(path, f"models/{name}")
        beside = path.with_suffix(".yaml")  # says how the weights are to be used
        if path.suffix != ".yaml" and beside.is_file():
            yield Item(beside, f"models/{Path(name).with_suffix('.yaml').as_posix()}")
        return
    for place, folders, names in os.walk(path, followlinks=True):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for file in (Path(place, each) for each in sorted(names) if not each.startswith(".")):
            if file.is_file():
                yield Item(file, f"models/{name}/{file.relative_to(path).as_posix()}")


async def bring_up(connection: asyncssh.SSHClientConnection, record: Remote, sources: Sources, tell: Tell) -> Ready:
    """All steps; a fraction of a second if there is nothing to do. `tell` is called at each step, and while it copies
    or installs as it goes on. Raises CoreErrors that say what is wrong with the machine and what to do, asyncssh.Error
    when the connection ends, OSError of files here; cancelling it leaves what the next call goes on with."""
    async with _alone(sources.folder / STEPS_LOCK, tell):
        items = await asyncio.to_thread(items_of, sources)
        here = asyncio.get_running_loop()

        def hashing(text: str, *_: int) -> None:
            here.call_soon_threadsafe(tell, Step("copy", text))

        hashes = sync.Hashes(sources.folder.parent / "hashes.json")
        try:
            wanted = await asyncio.to_thread(hashes.of, items, hashing)
        finally:
            hashes.stop()
        return await _quick(connection, record, wanted) or await _whole(
            connection, record, sources, items, wanted, tell
        )


async def _quick(
    connection: asyncssh.SSHClientConnection, record: Remote, wanted: dict[str, tuple[int, str]]
) -> Ready | None:
    """If everything is there already, where it is."""
    if not record.folder.startswith("/"):
        return None
    python = f"{record.folder}/code/.venv/bin/python"
    try:
        async with sync.receiver(connection, python, record.folder) as there:
            plan = await there.plan(wanted, OWNED)
    except Internal:  # no such Python
        return None
    return None if plan.offsets else _ready(record.folder, plan, record)


def _ready(folder: str, plan: sync.Plan, record: Remote, facts: dict[str, Any] | None = None) -> Ready | None:
    if not isinstance(plan.mark, dict) or plan.mark.get("of") != _stamp(plan, record):
        return None
    if facts and not facts["installed"]:
        return None
    try:
        places = {name: Place(str(each["folder"]), str(each["python"])) for name, each in plan.mark["plugins"].items()}
    except (LookupError, TypeError, AttributeError):
        return None
    return Ready(folder, f"{folder}/code/.venv/bin/python", places, plan.code, facts or {})


def _stamp(plan: sync.Plan, record: Remote) -> str:
    """Of all that what is installed there depends on."""
    return hashlib.sha256(f"{plan.code} {sorted(record.plugins)} {record.torch_backend}".encode()).hexdigest()[:16]


async def _whole(
    connection: asyncssh.SSHClientConnection, record: Remote, sources: Sources, items: list[Item],
    wanted: dict[str, tuple[int, str]], tell: Tell,
) -> Ready:  # fmt: skip
    tell(Step("look", f"looking at {record.host}"))
    facts = await preflight.look(connection, record.folder or f"~/.stable-core/{record.name}")
    folder, locks = facts["folder"], [environments.recipe_of(each) for each in sources.plugins.values()]
    cuda = max(
        (found for recipe in locks if (found := preflight.cuda_of(recipe.lock, record.torch_backend))), default=None
    )
    preflight.check(preflight.judge(facts, 0, record.torch_backend, cuda))
    python = preflight.python_for(facts)
    async with sync.receiver(connection, python, folder) as there:
        plan = await there.plan(wanted, OWNED)
        needed = plan.missing_bytes + _install_bytes(locks, facts, record)
        verdicts = preflight.judge(facts, needed, record.torch_backend, cuda)
        for each in verdicts:
            tell(Step("look", str(each), warning=each.warning))
        preflight.check(verdicts)
        if plan.offsets:
            total = plan.missing_bytes
            show = lambda name, done, total: tell(Step("copy", name, done, total))  # noqa: E731
            await sync.copy(connection, python, folder, items, plan, show)
            tell(Step("copy", f"copied {size(total)} in {len(plan.offsets)} files"))
        ready = _ready(folder, plan, record, facts)
        if ready is None:
            places = {name: await _install(connection, python, folder, name, record, tell) for name in sources.plugins}
            if not places:
                await _install(connection, python, folder, "", record, tell)
            if facts["nvidia"].get("cards"):
                await _try_cards(connection, sources, places, record, tell)
            mark = {"of": _stamp(plan, record), "plugins": {name: asdict(each) for name, each in places.items()}}
            await there.mark(mark)
            ready = Ready(folder, f"{folder}/code/.venv/bin/python", places, plan.code, facts)
    tell(Step("ready", "installed"))
    return ready


@contextlib.asynccontextmanager
async def _alone(path: Path, tell: Tell) -> AsyncIterator[None]:
    """One of the command and the connection's process of the server at a time; the lock ends with its process."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a+") as file:
        if not bootstrap.try_lock(file):
            tell(Step("look", "another process prepares this machine; waiting for it"))
            while not bootstrap.try_lock(file):
                await asyncio.sleep(0.2)
        yield


def _install_bytes(recipes: Iterable[environments.Recipe], facts: dict[str, Any], record: Remote) -> int:
    """On disk, roughly: what several environments share is there once, so the largest counts."""
    there = {name.rpartition("-")[0] for name in facts["environments"]}
    amounts = [environments.size_in_bytes(each.download) for each in recipes if each.name not in there]
    largest = max(amounts, default=0) / (10 if record.torch_backend == "cpu" else 1)
    return int(largest * environments.UNPACKED) + (0 if facts["installed"] else SERVER_BYTES)


async def _install(
    connection: asyncssh.SSHClientConnection, python: str, folder: str, name: str, record: Remote, tell: Tell
) -> Place:
    """Make the environment of a plugin there. Raises Conflict with the way out, as it is said when installing here."""
    code, target = f"{folder}/code", f"{folder}/code/plugins/{name}"
    tell(Step("install", f"installing {name or 'the server'}"))
    words = [python, "-m", "core.ops.environments", "install", target, "--torch-backend", record.torch_backend]
    said: deque[str] = deque(maxlen=30)
    command = shlex.join(["sh", "-c", 'cd "$0" && exec "$@"', code, *words])
    async with started(connection, command, stdin=asyncssh.DEVNULL, errors="replace") as process:

        async def hear() -> None:
            async for line in process.stderr:
                said.append(line.rstrip())
                if line.strip():
                    tell(Step("install", line.strip()))

        printed, _, _ = await asyncio.gather(text_of(process.stdout), hear(), process.wait_closed())
        if process.exit_status != 0 or not printed.strip():
            text = re.sub(r"(?s).*stable-core: ", "", "\n".join(said)) or "it said nothing"
            raise Conflict(f"installing {name} on the other machine failed: {text}")
    return Place(target, printed.strip().splitlines()[-1])


async def _try_cards(
    connection: asyncssh.SSHClientConnection, sources: Sources, places: dict[str, Place], record: Remote, tell: Tell
) -> None:
    """Whether PyTorch there can use the cards, once for each environment that has it. Raises Conflict."""
    with_torch = {places[name].python for name, folder in sources.plugins.items() if needs_torch(folder)}
    for python in sorted(with_torch) if record.torch_backend != "cpu" else []:
        tell(Step("install", "trying whether PyTorch can use the cards"))
        answer = await run_json(connection, [python, "-c", TRY_CARD], seconds=TRY_SECONDS)
        if not answer["ok"]:
            hint = "Its driver may be too old for this build: take another machine, or say --torch-backend cu126."
            raise Conflict(f"PyTorch on the other machine cannot use its cards: {answer['error']}.", hint=hint)
