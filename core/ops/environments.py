"""The environments of plugins: made by uv from lock files with hashes, one folder each, old ones kept for going back.

An environment's folder is named after all that decides its content, and its stamp is written last: what has a stamp is
complete and never changes; what has none is made anew."""

import argparse
import contextlib
import filecmp
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.ops import bootstrap
from core.ops.bootstrap import ROOT, InstallError

__all__ = ["InstallError", "ensure", "ensure_lock", "lock", "lock_repository", "python_of"]

WORKER = ROOT / "worker-requirements.txt"
NODE = ROOT / "clients" / "web" / "node-requirements.txt"
RAY = ROOT / "core" / "remote" / "ray-requirements.txt"
UNPACKED = 2.0  # bytes on disk for a byte fetched, bytecode included: 5.6 GB for torch's 2.85 GB
COMPILED = f"compiled-{importlib.util.MAGIC_NUMBER.hex()}"  # a file in an environment all of whose byte code we made
Say = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """What an environment is made of."""

    name: str
    lock: Path
    requirements: Path
    backend: str = "auto"
    download: str = ""

    def folder(self, envs_dir: Path) -> Path:
        """Where it belongs; the name changes with the content."""
        source = self.lock if self.backend == "auto" else self.requirements
        parts = [self.backend, platform.machine(), sys.platform, f"{sys.version_info[0]}.{sys.version_info[1]}"]
        parts += [bootstrap.fingerprint(source), bootstrap.fingerprint(WORKER)]
        return envs_dir / f"{self.name}-{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:12]}"


def python_of(plugin_dir: Path, envs_dir: Path, torch_backend: str = "auto") -> Path | None:
    """The interpreter of a plugin's environment if that is complete, else None. Costs milliseconds."""
    recipe = recipe_of(plugin_dir, torch_backend)
    return complete(recipe.folder(envs_dir)) if recipe.lock.exists() and matches(recipe) else None


def ensure(
    plugin_dir: Path, envs_dir: Path, say: Say = bootstrap.say, torch_backend: str = "auto", build: bool = True
) -> Path:
    """The interpreter of a plugin's environment, which is made if need be: minutes and gigabytes with torch.

    `say` gets a line for each long step. `torch_backend` "auto" installs the plugin's lock; another value ("cpu",
    "cu128", "rocm6.3", "xpu") resolves its requirements anew against PyTorch's own index of that name. Without `build`,
    no package may run code to be built: for plugins whose code runs in a sandbox only."""
    recipe = recipe_of(plugin_dir, torch_backend)
    if not recipe.lock.exists():
        say(f"Locking the requirements of {recipe.name}.")
        lock(recipe.lock.parent, build=build)
    if not matches(recipe):
        plugin = "" if recipe.requirements == WORKER else recipe.lock.parent
        way = f"python -m core.ops.environments lock {plugin}"
        if plugin and installed(plugin):
            way = f"python3 server.py plugins lock {recipe.name}"
        raise InstallError(
            f"{recipe.name}: {recipe.lock.name} was made for other requirements than {recipe.requirements.name} and "
            f"{WORKER.name} name now.\nLock them again: {way}"
        )
    return install(recipe, envs_dir, say, build)


def ensure_lock(path: Path, envs_dir: Path, say: Say = bootstrap.say) -> Path:
    """The interpreter of an environment that holds just what the lock file at `path` names."""
    return install(Recipe(path.stem, path, path), envs_dir, say)


def lock(plugin_dir: Path, keep: bool = False, build: bool = True) -> Path:
    """Write a plugin's requirements.lock: exact versions and hashes for all systems, Python 3.10 and newer.

    requirements-override.txt, where there is one, replaces what dependencies ask for. With `keep`, versions in the lock
    that there is stay where they can. `build` as in `ensure`."""
    recipe = recipe_of(plugin_dir)
    if recipe.requirements == WORKER:
        raise InstallError(f"{plugin_dir.name} has no requirements of its own: it uses {recipe.lock.name}.")
    with naming(recipe.name):
        compile_lock(sources(recipe.requirements), recipe.lock, keep=keep, build=build)
    return recipe.lock


def lock_repository() -> list[Path]:
    """Write the lock files of the server, the tests, the bare worker, Node and Ray."""
    server, tests = ROOT / "requirements.lock", ROOT / "requirements-test.lock"
    compile_lock([server.with_suffix(".txt")], server)
    compile_lock([tests.with_suffix(".txt")], tests, "--constraints", str(server))
    alone = [WORKER.with_suffix(".lock"), NODE.with_suffix(".lock"), RAY.with_suffix(".lock")]
    for path in alone:
        compile_lock([path.with_suffix(".txt")], path)
    return [server, tests, *alone]


def recipe_of(plugin_dir: Path, backend: str = "auto") -> Recipe:
    """Read [environment] of plugin.toml; a shared environment is the other plugin's."""
    with naming(plugin_dir.name):
        settings = environment_settings(plugin_dir)
        if other := settings.get("share"):
            plugin_dir = beside(plugin_dir, other)
            if not plugin_dir.is_dir():
                raise InstallError(f"it shares the environment of {other!r}, and there is no such plugin.")
            settings = environment_settings(plugin_dir)
            if "share" in settings:
                raise InstallError(f"it shares the environment of {other!r}, which shares another's. Name that.")
        requirements = plugin_dir / settings.get("requirements", "requirements.txt")
        if requirements.exists() and named(requirements):
            download = settings.get("download", "")
            size_in_bytes(download)
            return Recipe(plugin_dir.name, requirements.with_suffix(".lock"), requirements, backend, download)
        if "requirements" in settings and not requirements.exists():
            raise InstallError(f"its plugin.toml names {requirements.name}, and there is no such file.")
        return Recipe("worker", WORKER.with_suffix(".lock"), WORKER, download="11 MB")


def beside(plugin_dir: Path, other: str) -> Path:
    """The folder of another plugin: in the same folder, installed as this one is, or one of the repository's."""
    places = [plugin_dir.parent / other, installed(plugin_dir).get(other), ROOT / "plugins" / other]
    places += [folder.parent / "plugins" / other for folder in plugin_dir.parents[2:3]]
    return next((place for place in places if place and (place / "plugin.toml").is_file()), plugin_dir.parent / other)


def installed(release: Path) -> dict[str, Path]:
    """All plugins that are installed as this one is, by name: none if it is not."""
    from core.ops.packages.registry import Registry  # this module itself works before anything is installed

    return Registry(release.parents[2]).folders() if len(release.parents) > 2 else {}


def environment_settings(plugin_dir: Path) -> dict[str, Any]:
    return manifest(plugin_dir).get("environment", {})


def manifest(plugin_dir: Path) -> dict[str, Any]:
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib
    path = plugin_dir / "plugin.toml"
    try:
        return tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InstallError(f"{path} is not TOML: {error}") from error


def size_in_bytes(download: str) -> int:
    """The first amount that a text names: 2500000000 for "2.5 GB with CUDA"."""
    match = re.search(r"(\d+\.?\d*) *([kMG]B)", download)
    if download and not match:
        raise InstallError(f'its plugin.toml must say download like "2.5 GB" or "40 MB", not {download!r}.')
    return int(float(match[1]) * bootstrap.UNITS[match[2]]) if match else 0


@contextlib.contextmanager
def naming(plugin: str) -> Iterator[None]:
    """What goes wrong inside becomes an InstallError that begins with the plugin's name."""
    try:
        yield
    except InstallError as error:
        raise InstallError(f"{plugin}: {error}") from error
    except OSError as error:
        raise InstallError(f"{plugin}: {bootstrap.explain(str(error))}") from error


def complete(folder: Path) -> Path | None:
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    return python if (folder / "complete").exists() and python.exists() else None


def install(recipe: Recipe, envs_dir: Path, say: Say, build: bool = True) -> Path:
    envs_dir = envs_dir.resolve()
    folder = recipe.folder(envs_dir)
    if python := complete(folder):
        return python
    with naming(recipe.name), bootstrap.only_one(envs_dir / f"{folder.name}.lock", say) as held:
        if not complete(folder):
            make(recipe, folder, say, held, build)
    python = complete(folder)
    assert python, f"{folder} was just completed"
    return python


def make(recipe: Recipe, folder: Path, say: Say, held: Any, build: bool) -> None:
    lock_file, torch = recipe.lock, []
    if recipe.backend != "auto":
        lock_file, torch = folder.with_name(f"{folder.name}.txt"), ["--torch-backend", recipe.backend]
        say(f"Resolving the requirements of {recipe.name} for torch on {recipe.backend}.")
        compile_lock(sources(recipe.requirements), lock_file, *torch, universal=False, held=held, build=build)
    say(f"Making the environment of {recipe.name} in {folder}.")
    (folder / "complete").unlink(missing_ok=True)
    uv("venv", "--quiet", "--clear", "--python", sys.executable, str(folder), say=say, held=held)
    sync = ["pip", "sync", "--python", str(folder), "--require-hashes", *torch, *wheels(build), str(lock_file)]
    try:  # what is in uv's cache is linked from there, without network and almost without disk
        uv(*sync, "--offline", say=say, held=held)
    except InstallError:
        needed = int(size_in_bytes(recipe.download) * UNPACKED) if recipe.backend != "cpu" else 0  # a tenth of CUDA
        most = "at most " if any(folder.parent.glob("*/complete")) else ""  # what others have is not fetched again
        amount = f" (once; to fetch: {most}{recipe.download}; on disk: {bootstrap.size(needed)})" if needed else ""
        bootstrap.check_space(folder, needed)
        say(f"Installing the packages of {recipe.name}{amount}.")
        with unbuilt(build):
            uv(*sync, say=say, held=held)
    say(f"Compiling {recipe.name} to byte code, for quick starts.")
    compile_bytecode(folder, held)
    (folder / "complete").touch()
    say(f"Installed {recipe.name}.")


def sources(requirements: Path) -> list[Path]:
    override = requirements.with_name(requirements.stem + "-override.txt")
    return [requirements, WORKER] + ([override] if override.exists() else [])


def compile_lock(
    paths: list[Path], output: Path, *options: str, universal: bool = True, held: Any = None, keep: bool = False,
    build: bool = True,
) -> None:  # fmt: skip
    options += wheels(build)
    options += ("--universal", "--python-version", "3.10") if universal else ("--python", sys.executable)
    for path in paths:
        options += ("--overrides", str(path)) if path.stem.endswith("-override") else (str(path),)
    part = output.with_name(output.name + ".part")
    part.unlink(missing_ok=True)  # versions in an existing file are preferred to newer ones
    if keep and output.exists():
        shutil.copy(output, part)
    try:
        plain = ("--generate-hashes", "--no-annotate", "--no-header", "-o", str(part))
        with unbuilt(build):
            uv("pip", "compile", *plain, *options, held=held)
        names = ", ".join(path.name for path in paths)
        header = f"# Made by core.ops.environments from {names}; inputs {digest(paths)}\n"
        output.write_text(header + part.read_text("utf-8"), "utf-8", newline="\n")
    finally:
        part.unlink(missing_ok=True)


def wheels(build: bool) -> tuple[str, ...]:
    return () if build else ("--no-build",)


@contextlib.contextmanager
def unbuilt(build: bool) -> Iterator[None]:
    """Says why a package that is there as source only cannot be had."""
    try:
        yield
    except InstallError as error:
        if build:
            raise
        text = (
            "Its code runs in a sandbox only, so packages that would have to be built, by code of theirs, are refused."
        )
        raise InstallError(f"{error}\n{text}") from error


def compile_bytecode(folder: Path, held: Any) -> None:
    """By our own Python, which is the same one: the environment's would run what its .pth files say, in no sandbox.
    Files that are no code of this version, which some packages have, are left."""
    for brought in [*folder.rglob("__pycache__")]:  # by packages: what it was made of is not known
        shutil.rmtree(brought)
    take_bytecode(folder)
    packages = [str(path) for path in (folder / "Lib", folder / "lib") if path.is_dir()]
    words = [sys.executable, "-I", "-S", "-m", "compileall", "-qq", "-j", "0", *packages[:1]]
    keep = {"pass_fds": [held.fileno()]} if held and sys.platform != "win32" else {}
    subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **keep)
    (folder / COMPILED).touch()


def take_bytecode(folder: Path) -> None:
    """Link the byte code of files that are the same in an environment beside this one, which saves half a minute and
    300 MB where there is torch. It stays when that environment goes. The paths in it are that one's; Python puts its
    own in their place as it reads them. What is out of date nevertheless, compileall makes anew."""
    beside = [file.parent for file in folder.parent.glob(f"*/{COMPILED}")]
    for source in folder.rglob("*.py"):
        for other in (environment / source.relative_to(folder) for environment in beside):
            with contextlib.suppress(OSError):  # not there, or not any longer, or on a disk that has no links
                if same_file(source, other):
                    made = importlib.util.cache_from_source(str(source))
                    os.makedirs(os.path.dirname(made), exist_ok=True)
                    os.link(importlib.util.cache_from_source(str(other)), made)
                    break


def same_file(one: Path, other: Path) -> bool:
    """uv links files from its cache, or copies them with their times."""
    of_one, of_other = one.stat(), other.stat()
    alike = (of_one.st_mtime_ns, of_one.st_size) == (of_other.st_mtime_ns, of_other.st_size)
    return alike and (os.path.samestat(of_one, of_other) or filecmp.cmp(one, other, shallow=False))


def matches(recipe: Recipe) -> bool:
    """Whether the lock was made from the requirements as they are."""
    with recipe.lock.open(encoding="utf-8") as file:
        made_from = re.search(r"inputs (\w+)", file.readline())
    paths = [WORKER] if recipe.requirements == WORKER else sources(recipe.requirements)
    return bool(made_from) and made_from[1] == digest(paths)


def digest(paths: list[Path]) -> str:
    """A hash of requirements, whatever their comments and line endings."""
    return hashlib.sha256("\n".join(line for path in paths for line in named(path)).encode()).hexdigest()[:16]


def named(requirements: Path) -> list[str]:
    """The lines of a requirements file that are more than a comment."""
    lines = (re.sub(r"(^|\s+)#.*", "", line).strip() for line in requirements.read_text("utf-8").splitlines())
    return [line for line in lines if line]


def uv(*arguments: str, say: Say = bootstrap.say, held: Any = None) -> None:
    bootstrap.run([sys.executable, "-m", "uv", "--no-python-downloads", *arguments], say, held)


def main() -> None:
    bootstrap.ensure([ROOT / "requirements.lock"])
    parser = argparse.ArgumentParser(prog="python -m core.ops.environments", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    locking = commands.add_parser("lock", help="write lock files: the plugin's, or without one the repository's own")
    locking.add_argument("plugin", type=Path, nargs="?")
    installing = commands.add_parser("install", help="make a plugin's environment")
    installing.add_argument("plugin", type=Path)
    installing.add_argument("--envs", type=Path, default=ROOT / ".envs", help="folder of environments [.envs]")
    installing.add_argument("--torch-backend", default="auto", help="auto, cpu, cu128, rocm6.3, xpu, ... [auto]")
    arguments = parser.parse_args()
    if arguments.plugin and not arguments.plugin.is_dir():
        parser.error(f"{arguments.plugin} is not a folder")
    try:
        if arguments.command == "install":
            print(ensure(arguments.plugin.resolve(), arguments.envs, torch_backend=arguments.torch_backend))
        else:
            for path in [lock(arguments.plugin.resolve())] if arguments.plugin else lock_repository():
                print("write ", path)
    except InstallError as error:
        sys.exit(f"stable-core: {error}")


if __name__ == "__main__":
    main()
