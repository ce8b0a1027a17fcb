"""How samplers, guidances and conditionings of your own get in: files in extensions/, see README.md. No torch here.

What a file offers is read from its text without running it. So names and options are known where the plugin is
described, whatever the file imports, and a broken one costs nobody else anything. It is run when a job asks for it."""

import ast
import hashlib
import importlib
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydantic

from core.plugin import InvalidParams, Params, param

__all__ = ["sampler", "guidance", "conditioning", "param"]  # for extensions
FOLDER = Path(__file__).resolve().parent / "extensions"
NAME = re.compile(r"\w[\w +-]{0,49}")  # may stand in an infotext
TYPES = (bool, int, float, str)  # of options

Mark = Callable[[Callable], Callable]


def sampler(name: str, second_order: bool = False, **options: Any) -> Mark:
    """Mark a function as k-diffusion has them: (model, x, sigmas, and of callback, disable, noise_sampler, eta,
    s_churn, s_tmin, s_tmax, s_noise those that it wants) to the latents at the end. `second_order`: it asks the model
    twice in each step. Its noise comes from noise_sampler(sigma, sigma_next), or a picture would not be the same twice.
    """
    return lambda function: function


def guidance(name: str, **options: Any) -> Mark:
    """Mark a function from a guidance.Evaluation to the estimate (1, C, h, w) that the sampler goes on with."""
    return lambda function: function


def conditioning(name: str, **options: Any) -> Mark:
    """Mark a function from a conditioning.Condition and its text, that of a prompt or a part of one, to the Condition
    that counts instead. The tensors that it gets are not its own: it makes new ones."""
    return lambda function: function


KINDS = {mark.__name__: mark for mark in (sampler, guidance, conditioning)}


@dataclass(frozen=True, eq=False)
class Extension:
    """What a file offers. `options` are type, default and hints, by the names that its function knows them by."""

    kind: str
    name: str
    path: Path
    function: str
    second_order: bool = False
    options: dict[str, tuple[type, Any, dict[str, Any]]] = field(default_factory=dict)

    def key(self, option: str) -> str:
        """What an option is called among those of a job."""
        return f"{re.sub(r'[^a-z0-9]+', '_', self.name.lower())}_{option}"

    def fields(self, order: int) -> dict[str, Any]:
        """The options as pydantic takes them, in a form from the place `order` on."""
        place = {"group": "extensions", "advanced": True, "visible_if": {self.kind: self.name}}
        return {
            self.key(option): (cls, param(default, **place | {"order": order + k} | hints))
            for k, (option, (cls, default, hints)) in enumerate(self.options.items())
        }

    def values(self, params: Params) -> dict[str, Any]:
        """The options for its function."""
        return {option: getattr(params, self.key(option)) for option in self.options}

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()[:10]

    def load(self) -> Callable:
        """Its function. Raises InvalidParams if the file cannot be run."""
        try:
            return getattr(importlib.import_module(f".extensions.{self.path.stem}", __package__), self.function)
        except (Exception, SystemExit) as error:
            raise self.wrong(f"{type(error).__name__}: {error}") from error

    def ask(self, params: Params, *given: Any) -> Any:
        """What its function makes of what it is given. Raises InvalidParams if it fails."""
        function = self.load()
        try:
            return function(*given, **self.values(params))
        except Exception as error:
            raise self.wrong(f"{type(error).__name__}: {error}") from error

    def wrong(self, why: str) -> InvalidParams:
        return InvalidParams(
            f"{self.kind} {self.name!r} does not work: extensions/{self.path.name}: {why}.",
            field=self.kind,
            hint="Choose another one, or mend the file.",
        )


def read(folder: Path, taken: dict[str, Collection[str]]) -> tuple[dict[tuple[str, str], Extension], list[str]]:
    """What the files offer, by kind and name, but for names that are `taken` of each kind; and notes on what is not
    offered."""
    found: dict[tuple[str, str], Extension] = {}
    notes = []
    for path in sorted(folder.glob("*.py")):
        try:
            for extension in _offered(path):
                others = [*taken[extension.kind], *(name for kind, name in found if kind == extension.kind)]
                if _plain(extension.name) in map(_plain, others):
                    raise ValueError(f"there is another {extension.kind} {extension.name!r}")
                options = {key for each in found.values() for key in each.fields(0)}
                if shared := sorted(options & extension.fields(0).keys()):
                    raise ValueError(f"another extension has the option {shared[0]!r}")
                found[extension.kind, extension.name] = extension
        except Exception as error:  # Python raises nearly anything for a text that is no program
            notes.append(f"extensions/{path.name} is not offered: {error}.")
    return found, notes


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9+]", "", name.lower())


def _offered(path: Path) -> Iterator[Extension]:
    for node in ast.parse(path.read_bytes(), path.name).body:
        for mark in getattr(node, "decorator_list", []):
            if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id in KINDS:
                yield _extension(path, node.name, mark)


def _extension(path: Path, function: str, mark: ast.Call) -> Extension:
    kind, given = mark.func.id, {keyword.arg: keyword.value for keyword in mark.keywords}
    name = _literal(mark.args[0]) if len(mark.args) == 1 else None
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise ValueError(f"line {mark.lineno}: {kind} wants one name, of letters, digits, blanks, + and -")
    second_order = kind == "sampler" and "second_order" in given and bool(_literal(given.pop("second_order")))
    options = {option: _option(option, value) for option, value in given.items()}
    extension = Extension(kind, name, path, function, second_order, options)
    checked = pydantic.create_model("Options", __base__=Params, **extension.fields(0))
    checked(**{extension.key(option): default for option, (_, default, _) in options.items()}).model_json_schema()
    return extension


def _option(name: str, node: ast.expr) -> tuple[type, Any, dict[str, Any]]:
    where = f"line {node.lineno}: {name}"
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "param"):
        raise ValueError(f"{where} must be param(default, help=...)")
    default = _literal(node.args[0]) if len(node.args) == 1 else None
    hints = {keyword.arg: _literal(keyword.value) for keyword in node.keywords}
    if type(default) not in TYPES:
        raise ValueError(f"{where} must begin with a default: a number, a text, True or False")
    if type(default) in (int, float) and not {"ge", "le"} <= hints.keys():
        raise ValueError(f"{where} needs bounds, ge=... and le=...")
    return type(default), default, hints


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        text = f"line {node.lineno}: names and options must be written out, as they are read without running the file"
        raise ValueError(text) from error
