"""What a plugin's folder holds, to be seen before any of it runs: `inspect(folder)` reads, and runs nothing."""

import ast
import hashlib
import os
import re
import stat
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import pydantic
from packaging.requirements import InvalidRequirement, Requirement

from core.ops import environments
from core.ops.bootstrap import size
from core.ops.config import tomllib
from core.ops.discovery import API_VERSION, Manifest, printable
from core.ops.packages import findings
from core.ops.packages.findings import KINDS, Finding
from core.ops.packages.sources import NAME

VERSION = r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,40}"
MAX_FILES, MAX_MANIFEST = 20_000, 1_000_000
CODE, MAX_CODE = (".py", ".pyw", ".pyi"), 20_000_000
MACHINE_CODE = {
    b"\x7fELF": "a program or library for Linux", b"MZ": "a program or library for Windows",
    b"\xcf\xfa\xed\xfe": "a program or library for macOS", b"\xca\xfe\xba\xbe": "a program for macOS or Java",
    b"\0asm": "WebAssembly",
}  # fmt: skip
UNREADABLE = {
    suffix: what
    for what, suffixes in (
        ("a pickle", ".pkl .pickle .ckpt .pt .pth .joblib"),
        ("a package of Python", ".whl .egg"),
        ("an archive", ".zip .tar .gz .tgz .bz2 .xz .7z"),
        ("compiled Python", ".pyc .pyo"),
        ("a library", ".so .dll .pyd .dylib"),
        ("a program", ".exe .com .msi"),
        ("a script for the shell", ".sh .bat .cmd .ps1"),
    )
    for suffix in suffixes.split()
}
LICENCES = (  # how their texts begin to be recognised, the most telling first
    ("AGPL", r"GNU AFFERO GENERAL PUBLIC LICENSE"),
    ("LGPL", r"GNU LESSER GENERAL PUBLIC LICENSE"),
    ("GPL", r"GNU GENERAL PUBLIC LICENSE"),
    ("Apache", r"Apache License"),
    ("MPL", r"Mozilla Public License"),
    ("CC", r"Creative Commons|Attribution-NonCommercial"),
    ("OpenRAIL", r"RAIL"),
    ("Unlicense", r"This is free and unencumbered software"),
    ("ISC", r"Permission to use, copy, modify, and(?:/or)? distribute"),
    ("BSD", r"Redistribution and use in source and binary forms"),
    ("MIT", r"Permission is hereby granted, free of charge"),
)


FINE_IN_TESTS = {"programs", "internals", "paths", "secrets", "outside", "network"}


def _plain(text: str) -> str:
    if printable(text) != text:
        raise ValueError("has signs that cannot be printed")
    return text


Text = Annotated[str, pydantic.Field(max_length=1000), pydantic.AfterValidator(_plain)]


class JobSeen(pydantic.BaseModel):
    """A job as it is written; types in the words of the code: "list[Image]"."""

    inputs: dict[Text, Text] = {}
    output: Text
    light: bool = False
    program: bool = False

    def __str__(self) -> str:
        given = ", ".join(f"{name}: {kind}" for name, kind in self.inputs.items())
        return f"({given}) -> {self.output}" + ", light" * self.light + ", a program" * self.program


class Report(pydantic.BaseModel):
    """What was found. With `errors` it cannot be installed; `warnings` are for a person to judge, gravest first."""

    name: str = ""
    version: str = ""
    api: int | None = None
    title: str = ""
    description: str = ""
    licence: str = ""
    author: str = ""
    homepage: str = ""
    hash: str = ""
    size_bytes: int = 0
    files: int = 0
    jobs: dict[str, JobSeen] = {}
    jobs_from: list[str] = []
    models: list[dict[str, Any]] = []
    requirements: list[str] = []
    packages: dict[str, str] = pydantic.Field({}, description="Versions by name, as the lock file has them.")
    locked: bool = pydantic.Field(False, description="Whether the lock file is there and of these requirements.")
    shares: str | None = pydantic.Field(None, description="The plugin whose environment it uses.")
    download: str = ""
    errors: list[str] = []
    warnings: list[Finding] = []

    def lines(self) -> Iterator[str]:
        """For a terminal: a line a thing, aligned."""
        yield f"plugin    {self.name} {self.version}" + f"  {self.title}" * bool(self.title)
        for name, text in (("about", self.description), ("author", self.author), ("homepage", self.homepage)):
            if text:
                yield f"{name:<9} {text}"
        yield f"licence   {self.licence or 'none: nobody may use it without asking its author'}"
        yield f"content   {self.files} files, {size(self.size_bytes)}, hash {self.hash}"
        for name, job in self.jobs.items():
            yield f"job       {name} {job}"
        for kind in self.jobs_from:
            yield f"jobs      one for each model in models/{kind}"
        for model in self.models:
            bytes, licence = model.get("size_bytes"), model.get("licence")
            about = [size(bytes) if bytes else "", licence or "no licence named"]
            how = "comes with it" if model.get("path") else "to be fetched when you ask for it"
            yield f"model     {model['kind']} {model['name']}: {', '.join(filter(None, [*about, how]))}"
        yield f"packages  {self._packages()}"
        for kind, text in KINDS.items():
            found = [finding for finding in self.warnings if finding.kind == kind]
            if found:
                yield f"warning   {text}:"
            for finding in found[:5]:
                yield f"            {finding.where}  {finding.text}"
            if len(found) > 5:
                yield f"            and {len(found) - 5} more"
        for error in self.errors:
            yield f"refused   {error}"

    def _packages(self) -> str:
        if self.shares:
            return f"uses those of the plugin {self.shares}"
        if not self.requirements:
            return "none of its own"
        amount = f"; to fetch: {self.download}" if self.download else ""
        lock = f"{len(self.packages)} in its lock" if self.locked else "not locked: versions are chosen at installation"
        return f"{', '.join(self.requirements)} ({lock}{amount})"


def files(folder: Path) -> dict[str, Path]:
    """What a package consists of, sorted: all files by their path inside, "/" between its parts. Names that begin with
    a dot do not count, nor does __pycache__: the code in it would be run instead of what was looked at."""
    found = {}
    for inside, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        linked = [name for name in folders if Path(inside, name).is_symlink()]
        for name in [*linked, *(name for name in names if not name.startswith("."))]:
            found[Path(inside, name).relative_to(folder).as_posix()] = Path(inside, name)
    return dict(sorted(found.items(), key=lambda item: os.fsencode(item[0])))


def content_hash(folder: Path) -> str:
    """The sha256 of the lines that `sha256sum` prints for the package's files, sorted by path."""
    return _hash(files(folder))


def _hash(found: dict[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, path in found.items():
        inner = hashlib.sha256()
        if stat.S_ISREG(path.lstat().st_mode):  # else it is an error of the report, and reading it may never end
            with path.open("rb") as file:
                while part := file.read(1 << 20):
                    inner.update(part)
        digest.update(f"{inner.hexdigest()}  ".encode() + os.fsencode(name) + b"\n")
    return digest.hexdigest()


def inspect(folder: Path) -> Report:
    """Look at a package. What is wrong is in the report; raises OSError only."""
    report = Report()
    found = files(folder)
    report.files, report.errors = len(found), list(_bad_files(found))
    if report.errors:
        return report
    report.size_bytes = sum(path.stat().st_size for path in found.values())
    report.hash = _hash(found)
    manifest = _manifest(found, report)
    _environment(folder, manifest, found, report)
    _licence(found, report)
    _models(found, report)
    code = [name for name in found if name.endswith(CODE)]
    if sum(found[name].stat().st_size for name in code) > MAX_CODE:
        report.errors.append(f"it has more than {size(MAX_CODE)} of code, which nobody can read.")
        return report
    imported = _imported(found)
    for name, path in found.items():
        report.warnings += _of_file(name, path, name in imported)
    _jobs(found, report)
    if "__init__.py" not in found:
        report.errors.append("there is no __init__.py beside plugin.toml.")
    order = list(KINDS)
    report.warnings.sort(key=lambda finding: order.index(finding.kind))
    return report


def _bad_files(found: dict[str, Path]) -> Iterator[str]:
    if len(found) > MAX_FILES:
        yield f"it has {len(found):,} files, more than {MAX_FILES:,}."
        return
    folded: dict[str, str] = {}
    for name, path in found.items():
        mode = path.lstat().st_mode
        shown = printable(name)
        try:
            name.encode()
            if (
                shown != name
                or "\\" in name
                or any(part.endswith((" ", ".")) or ":" in part for part in name.split("/"))
            ):
                raise ValueError(name)
        except ValueError:  # also surrogates: a name that is no text
            yield f"the name of its file {shown[:200]!r} cannot be had on every system. Rename it."
            continue
        if not stat.S_ISREG(mode):
            what = "a link" if stat.S_ISLNK(mode) else "no plain file"
            yield f"{shown} is {what}. A package has files only."
        same = folded.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if same != name:
            yield f"{same} and {name} are one file on some systems. Rename one."


def _manifest(found: dict[str, Path], report: Report) -> dict[str, Any]:
    try:
        if "plugin.toml" not in found:
            raise ValueError("there is no such file: this is no plugin.")
        if found["plugin.toml"].stat().st_size > MAX_MANIFEST:
            raise ValueError("it is too large.")
        manifest = tomllib.loads(found["plugin.toml"].read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        report.errors.append(f"plugin.toml: {printable(str(error))}")
        return {}
    for key in ("name", "version", "title", "description", "licence", "author", "homepage"):
        value = manifest.get(key, "")
        if not isinstance(value, str) or len(value) > 2000:
            report.errors.append(f"plugin.toml: {key} has to be a text of at most 2,000 signs.")
        else:
            setattr(report, key, printable(" ".join(value.split())))
    if not NAME.fullmatch(report.name):
        report.errors.append("plugin.toml: name has to be 1 to 64 letters, digits, _ and -.")
    if not re.fullmatch(VERSION, report.version):
        report.errors.append('plugin.toml: version has to be like "1.2.0", with letters, digits and .+_- only.')
    api = manifest.get("api")
    report.api = api if isinstance(api, int) and not isinstance(api, bool) else None
    if report.api != API_VERSION:
        newer = report.api is not None and report.api > API_VERSION
        way = "Update stable-core" if newer else "Ask its author for a newer version"
        report.errors.append(
            f"it is written for api = {printable(repr(api))[:50]}, this server has {API_VERSION}. {way}."
        )
    try:
        checked = Manifest.model_validate(manifest)
        report.models = [
            {key: _shown(value) for key, value in model.items() if isinstance(value, str | int)}
            for model in manifest.get("models", [])
        ]
        report.jobs_from = [printable(kind) for kind in checked.jobs_from]
    except pydantic.ValidationError as error:
        for problem in error.errors():
            place = ".".join(map(str, problem["loc"]))
            if place not in ("name", "version", "api"):
                report.errors.append(f"plugin.toml: {printable(place)}: {printable(problem['msg'])}.")
    if report.homepage and not re.match(r"https?://", report.homepage):
        report.errors.append("plugin.toml: homepage has to begin with https://.")
    return manifest


def _shown(value: str | int) -> str | int:
    return printable(value) if isinstance(value, str) else value


def _environment(folder: Path, manifest: dict[str, Any], found: dict[str, Path], report: Report) -> None:
    settings = manifest.get("environment", {})
    if not isinstance(settings, dict):
        return
    report.shares = printable(str(settings["share"])) if "share" in settings else None
    if report.shares is not None and not NAME.fullmatch(report.shares):
        report.errors.append(f"plugin.toml: environment.share is {report.shares!r}, which is no name of a plugin.")
    report.download = printable(str(settings.get("download", "")))[:200]
    named = settings.get("requirements", "requirements.txt")
    if not isinstance(named, str) or (named not in found and "requirements" in settings):
        report.errors.append(f"plugin.toml: environment.requirements is {printable(repr(named))}: no such file in it.")
    if report.shares or not isinstance(named, str) or named not in found or report.errors:
        return
    override = str(PurePosixPath(named).with_suffix("")) + "-override.txt"
    for name in (named, override):
        if name in found:
            report.requirements += _requirements(name, found[name], report)
    lock = PurePosixPath(named).with_suffix(".lock").as_posix()
    if lock in found:
        recipe = environments.Recipe(report.name, found[lock], found[named])
        try:
            report.locked = environments.matches(recipe)
        except ValueError:
            report.errors.append(f"{lock} is no text.")
            return
        pinned = _requirements(lock, found[lock], report)
        report.packages = {each.partition("==")[0]: each.partition("==")[2].split(";")[0].strip() for each in pinned}
        if not report.locked:
            text = "it was made for other requirements: it is not used, and versions are chosen at installation"
            report.warnings.append(Finding("source", lock, text))


def _requirements(name: str, path: Path, report: Report) -> list[str]:
    """The requirements of a file, without options; those that lead elsewhere than to the index are warned of."""
    found, number = [], 0
    try:
        text = path.read_text("utf-8").replace("\\\n", "  ")  # the lock's hashes follow such ends of lines
    except ValueError:
        report.errors.append(f"{name} is no text.")
        return []
    for number, line in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s+)#.*", "", line).strip()
        line = re.sub(r"\s+--hash[= ]\S+", "", line).strip()
        if not line:
            continue
        try:
            parsed = Requirement(line)
            found.append(printable(line))
            elsewhere = parsed.url
        except InvalidRequirement:
            elsewhere = line
        if elsewhere:
            report.warnings.append(Finding("source", f"{name}:{number}", printable(line)[:200]))
    return found


def _licence(found: dict[str, Path], report: Report) -> None:
    texts = [name for name in found if re.match(r"(?i)(licen[cs]e|copying|unlicense)", name)]
    if not report.licence:
        report.warnings.append(Finding("terms", "plugin.toml", "names none"))
    for name in texts:
        with found[name].open("rb") as file:
            text = " ".join(file.read(4000).decode("utf-8", "replace").split())
        seen = next((licence for licence, words in LICENCES if re.search(words, text, re.IGNORECASE)), None)
        if seen and report.licence and seen.lower() not in re.sub(r"[^a-z]", " ", report.licence.lower()):
            text = f"plugin.toml says {report.licence[:60]}, the text is of {seen}"
            report.warnings.append(Finding("terms", name, text))


def _models(found: dict[str, Path], report: Report) -> None:
    for model in report.models:
        label, path = printable(f"{model['kind']} {model['name']}"), model.get("path")
        if path is not None:
            inside = PurePosixPath(path)
            prefix = inside.as_posix().rstrip("/")
            there = any(name == prefix or name.startswith(prefix + "/") for name in found)
            if inside.is_absolute() or ".." in inside.parts or not there:
                report.errors.append(
                    f"plugin.toml: the model {label} is to be at {printable(path)!r}: not in the package."
                )
            continue
        if url := model.get("url") or model.get("file"):
            if url.startswith("http://"):
                report.warnings.append(
                    Finding("models", "plugin.toml", f"{label} would come without encryption: {url}")
                )
            if re.search(r"\.(ckpt|pth?|pkl|bin)($|\?)", url):
                report.warnings.append(Finding("models", "plugin.toml", f"{label} is a file that can run code: {url}"))
        missing = [word for key, word in (("sha256", "hash"), ("licence", "licence")) if not model.get(key)]
        if "hash" in missing and re.fullmatch("[0-9a-f]{40}", model.get("revision", "")):
            missing.remove("hash")  # the commit says what each file is
        if missing:
            report.warnings.append(Finding("models", "plugin.toml", f"{label} names no {' and no '.join(missing)}"))


def _imported(found: dict[str, Path]) -> set[str]:
    """The files whose code runs when the plugin is imported."""
    seen: set[str] = set()
    waiting = {"__init__.py"} & found.keys()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        if found[name].stat().st_size > findings.MAX_SOURCE:
            continue
        for wanted in findings.imports(found[name].read_bytes()):
            up = len(wanted) - len(wanted.lstrip("."))
            parts = [*PurePosixPath(name).parent.parts[: -up or None], *wanted.lstrip(".").split(".")]
            stem = "/".join(filter(None, parts))
            waiting |= ({f"{stem}.py", f"{stem}/__init__.py".lstrip("/")} & found.keys()) - seen
    return seen


def _of_file(name: str, path: Path, imported: bool) -> Iterator[Finding]:
    """What is to be said of one file. Tests may do what they like with this project, as they never run here."""
    suffix = PurePosixPath(name).suffix.lower()
    with path.open("rb") as file:
        head = file.read(4)
        if suffix in CODE:
            data = head + file.read(findings.MAX_SOURCE)
            tests = name.startswith("tests/") and not imported
            found = findings.of_source(name, data, imported)
            yield from (each for each in found if not tests or each.kind not in FINE_IN_TESTS)
    if PurePosixPath(name).name in ("sitecustomize.py", "usercustomize.py"):
        yield Finding("startup", name, "would be run by every Python that sees this folder")
    native = next((text for magic, text in MACHINE_CODE.items() if head.startswith(magic)), None)
    if suffix == ".pth" and not native:
        with path.open("rb") as file:
            if b"import" in file.read(10_000):
                yield Finding("startup", name, "a .pth file with code")
                return
    if what := native or UNREADABLE.get(suffix):
        yield Finding("binary", name, f"{what}, {size(path.stat().st_size)}")


def _jobs(found: dict[str, Path], report: Report) -> None:
    """The jobs as far as they are written down: methods with the decorator `job`."""
    for name, path in found.items():
        if not name.endswith(".py") or name.startswith("tests/") or path.stat().st_size > findings.MAX_SOURCE:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(path.read_bytes())
            methods = (each for kind in ast.walk(tree) if isinstance(kind, ast.ClassDef) for each in kind.body)
            for method in methods:
                if isinstance(method, ast.FunctionDef) and (options := _options(method)) is not None:
                    report.jobs[printable(method.name)] = _job(method, options)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            if name == "__init__.py":
                line = f" line {error.lineno}," if isinstance(error, SyntaxError) else ""
                report.errors.append(f"{name},{line} is no Python: {printable(str(error))[:200]}.")


def _options(function: ast.FunctionDef) -> dict[str, Any] | None:
    """What `@job(...)` of a function says; None without it."""
    for decorator in function.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if getattr(called, "id", getattr(called, "attr", "")) == "job":
            given = decorator.keywords if isinstance(decorator, ast.Call) else []
            return {each.arg: each.value.value for each in given if isinstance(each.value, ast.Constant)}
    return None


def _job(function: ast.FunctionDef, options: dict[str, Any]) -> JobSeen:
    text: Callable[[ast.AST | None], str] = lambda node: printable(ast.unparse(node))[:200] if node else "?"  # noqa: E731
    annotated = [*function.args.args[1:], *function.args.kwonlyargs]
    inputs = {printable(each.arg): text(each.annotation) for each in annotated if each.arg not in ("params", "ctx")}
    light, program = (options.get(key) is True for key in ("light", "program"))
    return JobSeen(inputs=inputs, output=text(function.returns), light=light, program=program)
