"""What a plugin's code announces, read from its annotations. `python -m core.ops.describe FOLDER FILE` writes JSON.

This runs plugin code: in the worker, and in a child process of the server under the plugin's own Python. A third
argument tells the child about models, as JSON: [folder, shipped ones]."""

import importlib.util
import inspect
import json
import sys
import types
from collections import abc
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from core.errors import InvalidParams, PluginError, TypeMismatch, UnknownJob
from core.library.converting import unfit
from core.library.models import Models
from core.plugin import Context, Params, Plugin
from core.types import KINDS, Kind, Text


def load_plugin(folder: Path) -> type[Plugin]:
    """Import a plugin's folder as a package and return its one Plugin class, else raise PluginError."""
    name = f"stable_core_plugin_{folder.name}"
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    classes = [
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Plugin) and each.__module__.startswith(name)
    ]
    if len(classes) != 1:
        raise PluginError(f"{folder.name}/__init__.py must define one subclass of Plugin, it defines {len(classes)}.")
    return classes[0]


def announce(plugin: type[Plugin], models: Models) -> list[str]:
    """Give the class the jobs that its hook `announce` makes of the models there are; returns its notes for people."""
    if not hasattr(plugin, "announce"):
        return []
    functions, notes = plugin.announce(models)
    for name, function in functions.items():
        if not hasattr(getattr(plugin, name, function), "__job__"):
            raise InvalidParams(f"{plugin.__name__}.announce makes a job {name}, and that is the plugin's {name}.")
        setattr(plugin, name, function)
    return [str(note) for note in notes]


def function_of(plugin: Plugin, name: str) -> Callable:
    """The method of a job; the model that makes it one may have come a moment ago. Raises UnknownJob."""
    announce(type(plugin), plugin.models)
    if function := getattr(type(plugin), name, None):
        return function
    raise UnknownJob(f"{name} is not there any more.", hint="Were its files moved or deleted?")


def port(annotation: Any) -> dict[str, Any]:
    """{"kind", "list", "optional"} of an input's or output's annotation, and "help" if it is `Annotated` with a text;
    raises TypeMismatch for other types.

    A generator of Images counts as a list of them."""
    if get_origin(annotation) is Annotated:
        kinds = [each for each in annotation.__metadata__ if isinstance(each, Kind)]
        found = {"kind": kinds[0].name, "list": False, "optional": False} if kinds else port(annotation.__origin__)
        told = [each for each in annotation.__metadata__ if isinstance(each, str)]
        return found | ({"help": told[0]} if told else {})
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType) and len(args) == 2 and type(None) in args:
        return port(args[0] if args[1] is type(None) else args[1]) | {"optional": True}
    if origin in (list, abc.Iterator, abc.Iterable, abc.Generator):
        return port(args[0]) | {"list": True}
    if annotation is str:
        return port(Text)
    raise TypeMismatch(f"{annotation!r} cannot flow between jobs. Use one of {', '.join(KINDS)}, lists or | None.")


def signature(function: Callable) -> tuple[dict[str, dict[str, Any]], dict[str, Any], str | None, str | None, Any]:
    """(inputs, output, name of the Params argument, name of the Context argument, Params class) of a job method."""
    hints = get_type_hints(function, include_extras=True)
    if "return" not in hints:
        raise TypeMismatch(f"job {function.__name__}: say what it returns, for example `-> Image`.")
    output = port(hints.pop("return"))
    if output["optional"]:
        raise TypeMismatch(f"job {function.__name__}: an output cannot be None. Return a list, which may be empty.")
    inputs, params_name, context_name, params_class = {}, None, None, Params
    for name in list(inspect.signature(function).parameters)[1:]:
        if name not in hints:
            raise TypeMismatch(f"job {function.__name__}: argument {name} needs an annotation.")
        if inspect.isclass(hints[name]) and issubclass(hints[name], Params):
            params_name, params_class = name, hints[name]
        elif hints[name] is Context:
            context_name = name
        else:
            inputs[name] = port(hints[name])
    return inputs, output, params_name, context_name, params_class


def describe(plugin: type[Plugin]) -> list[dict[str, Any]]:
    """The announced jobs of a plugin class, as JSON: what clients render forms from and submit is checked against."""
    jobs = []
    for name in dict.fromkeys(name for base in reversed(plugin.__mro__) for name in vars(base)):  # as they are written
        function = getattr(plugin, name, None)
        if not inspect.isfunction(function) or not (options := getattr(function, "__job__", None)):
            continue
        inputs, output, _, context_name, params_class = signature(function)
        if options["light"] and (options["program"] or output["kind"] not in ("text", "json")):
            raise InvalidParams(f"job {name}: a light job returns Text or Json, and is no program.")
        if options["reuse"] and not options["converts"] and (options["light"] or options["program"]):
            raise InvalidParams(f"job {name}: reuse is for jobs that run on a device; those of a program are reused.")
        if options["program"] and not context_name:
            raise InvalidParams(f"job {name}: a program needs an argument `ctx: Context`, to submit jobs with.")
        schema = params_class.model_json_schema()
        if options["affinity"] and options["affinity"] not in schema.get("properties", {}):
            raise InvalidParams(f"job {name}: affinity names {options['affinity']}, which is not a parameter.")
        help = inspect.cleandoc(function.__doc__ or "")
        about = {"name": name, "help": help, "inputs": inputs, "output": output, "params": schema}
        if options["converts"] and (problem := unfit(about | options)):
            raise InvalidParams(f"job {name} cannot be a converter: {problem}.")
        jobs.append(about | options | {"plans": plugin.plan is not Plugin.plan})
    if not jobs and not hasattr(plugin, "announce"):
        raise InvalidParams(f"{plugin.__name__} announces no job. Mark a method with @job().")
    return jobs


def settings_class(plugin: type[Plugin]) -> type[Params]:
    """What a plugin annotates its `settings` with: the class of what the admin may set. Raises TypeMismatch."""
    owner = next(base for base in plugin.__mro__ if "settings" in inspect.get_annotations(base))
    found = inspect.get_annotations(owner)["settings"]
    found = get_type_hints(owner)["settings"] if isinstance(found, str) else found
    if not (inspect.isclass(found) and issubclass(found, Params)):
        raise TypeMismatch(f"{plugin.__name__}: annotate settings with a subclass of Params, not {found!r}.")
    return found


if __name__ == "__main__":
    found, (folder, shipped) = load_plugin(Path(sys.argv[1])), json.loads(sys.argv[3])
    notes = announce(found, Models(Path(folder), shipped))
    schema = settings_class(found).model_json_schema()
    Path(sys.argv[2]).write_text(json.dumps({"jobs": describe(found), "settings": schema, "notes": notes}), "utf-8")
