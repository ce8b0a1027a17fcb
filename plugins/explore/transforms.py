"""Transforms: how strictly and how far a picture is redrawn, step by step. Those that there are, and the user's own."""

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from core.plugin import InvalidParams, Params, param

NAME = re.compile(r"\w[\w-]{0,59}")
LOOPS = 3
MOST_STEPS, MOST_LOOPS = 100, 1_000
RENAMED = {
    "scale": "cfg_scale", "strength": "denoising_strength", "merge_steps": "multi_step", "merge_loops": "loop_to_loop",
    "save_intermediates": "save_middle",
}  # fmt: skip


class Step(Params):
    cfg_scale: float = param(7, ge=0, le=30, step=0.5, help="How strictly the prompt is followed.")
    denoising_strength: float = param(0.5, ge=0, le=1, step=0.05, help="How far the picture is redrawn: 1 wholly.")
    add: str = param("", max_length=10_000, help="Words that are added to the prompt in this step.")


class Transform(Params):
    program: list[Step] = param(..., min_length=1, max_length=MOST_STEPS, help="The steps, in order.")
    multi_step: bool = param(False, help="Each step begins with the result of the one before, not with the picture.")
    loop_to_loop: bool = param(False, help="Each loop begins with the last result of the loop before.")
    save_middle: bool = param(False, help="Of several steps, the results of all are kept, not only of the last.")
    loops: int = param(LOOPS, ge=1, le=MOST_LOOPS, help="How often, each time with another seed.")
    about: str = param("", max_length=500, help="What it is for.")


@dataclass(frozen=True)
class Table:
    scales: tuple[float, ...]
    strengths: tuple[float, ...]
    more: Mapping[str, Any]
    about: str


MULTI, VIDEO = {"multi_step": True}, {"multi_step": True, "loop_to_loop": True, "save_middle": True}
TEST = {"multi_step": True, "save_middle": True}
TABLES = {
    "normal": Table((6, 7, 10), (0.35, 0.45, 0.3), {}, "Small changes: the usual one."),
    "shake": Table((10, 5, 9, 6, 8, 7), (0.3, 0.35, 0.4, 0.45, 0.5, 0.55), {}, "Six ways, ever further away."),
    "focus": Table((12, 10, 8), (0.7, 0.7, 0.7), {}, "Nearer to the prompt, away from the picture."),
    "unstuck": Table((5, 6, 7), (0.8, 0.8, 0.8), {}, "Far away, where all results look alike."),
    "unfocus": Table((3, 3.5, 4), (0.8, 0.85, 0.9), {}, "Far away from picture and prompt."),
    "beast": Table((6, 6, 6), (0.35, 0.35, 0.35), MULTI, "The same small change three times over."),
    "god": Table((6, 9, 11), (0.35, 0.35, 0.35), MULTI, "Three changes, each stricter."),
    "enhance": Table((6, 6, 7, 7, 9), (0.2, 0.2, 0.3, 0.5, 0.2), MULTI, "Five changes that add detail."),
    "finalize": Table((8, 11, 15), (0.3, 0.2, 0.1), MULTI, "Ever stricter, ever smaller changes: the last touch."),
    "snake": Table((6, 8, 6, 8), (0.35, 0.3, 0.35, 0.3), MULTI, "Loose and strict by turns."),
    "loop-test": Table((8,) * 10, (0.3,) * 10, TEST, "Ten equal changes, all kept: shows where a model drifts to."),
    "loop-test-smooth": Table((5,) * 10, (0.5,) * 10, TEST, "Ten equal changes, looser and larger, all kept."),
    "video": Table((6, 8, 10), (0.5, 0.4, 0.4), VIDEO | {"loops": 10}, "Thirty pictures, each from the last."),
    "video-shake": Table((6, 6.5, 7), (0.35, 0.4, 0.6), VIDEO | {"loops": 20}, "Sixty pictures, ever further."),
}  # fmt: skip
LATER = {  # what became another at HEAD
    "focus": Table((7, 8, 9), (0.7, 0.7, 0.7), {}, TABLES["focus"].about),
    "shake": Table(TABLES["shake"].scales, TABLES["shake"].strengths, {"loops": 2}, TABLES["shake"].about),
}  # fmt: skip


def shipped(version: str) -> dict[str, Transform]:
    """By name, those that come with the plugin: of the `seed` or the `head` of the original."""
    tables = TABLES | (LATER if version == "head" else {})
    return {name: _of_table(table) for name, table in tables.items()}


def _of_table(table: Table) -> Transform:
    """Its scales and strengths go together one by one; they are not crossed."""
    pairs = zip(table.scales, table.strengths, strict=True)
    program = [{"cfg_scale": scale, "denoising_strength": strength} for scale, strength in pairs]
    return Transform(program=program, about=table.about, **table.more)


def parsed(data: Any, where: str) -> Transform:
    """A transform from JSON, in these words or in the original's. Raises InvalidParams, which says where."""
    if not isinstance(data, dict):
        raise InvalidParams(f'{where}: a transform is an object such as {{"program": [{{"cfg_scale": 6}}]}}.')
    try:
        return Transform(**_renamed(data))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidParams(
            f"{where}: {place}: {first['msg']}.", hint="Its form is in plugins/explore/README.md."
        ) from error


def _renamed(value: Any) -> Any:
    if isinstance(value, dict):
        return {RENAMED.get(key, key): _renamed(each) for key, each in value.items()}
    return [_renamed(each) for each in value] if isinstance(value, list) else value


def files(folder: Path) -> dict[str, Path]:
    """By name, in `folder`, which is the user's of all models."""
    return {path.stem: path for path in sorted((folder / "transform").glob("[!.]*.json")) if path.is_file()}


def own(folder: Path) -> tuple[dict[str, Transform], list[str]]:
    """Those in models/transform/NAME.json by name, and what is wrong with those that cannot be read."""
    found, problems = {}, []
    for name, path in files(folder).items():
        try:
            found[name] = parsed(json.loads(path.read_text("utf-8")), path.name)
        except (OSError, ValueError, RecursionError) as error:
            problems.append(f"{path.name} is no JSON: {error}")
        except InvalidParams as error:
            problems.append(str(error))
    return found, problems


def named(name: str, version: str, folder: Path) -> Transform:
    """The user's own one of that name, else a shipped one. Raises InvalidParams, which names those that there are."""
    found, problems = own(folder)
    all_of_them = shipped(version) | found
    if name in all_of_them:
        return all_of_them[name]
    broken = [problem for problem in problems if problem.startswith(f"{name}.json")]
    near = difflib.get_close_matches(name, all_of_them, n=1, cutoff=0.5)
    mean = f" Did you mean {near[0]}?" if near else ""
    text = broken[0] if broken else f"there is no transform {name!r}.{mean}"
    raise InvalidParams(text, field="transform", hint=f"There are {', '.join(all_of_them)}.")


def save(folder: Path, name: str, transform: Transform) -> None:
    """As models/transform/NAME.json, in whole or not at all."""
    if not NAME.fullmatch(name):
        hint = "A name has letters, digits, - and _, 60 at most."
        raise InvalidParams(f"a transform cannot be called {name[:100]!r}.", field="name", hint=hint)
    target = folder / "transform"
    target.mkdir(parents=True, exist_ok=True)
    written = target / f".{name}.json"
    written.write_text(json.dumps(transform.model_dump(), indent=2, ensure_ascii=False) + "\n", "utf-8")
    written.replace(target / f"{name}.json")


def delete(folder: Path, name: str) -> None:
    path = files(folder).get(name)
    if path is None:
        shipped_too = " It comes with the plugin." if name in TABLES else ""
        raise InvalidParams(f"you have no transform {name!r} of your own.{shipped_too}", field="name")
    path.unlink(missing_ok=True)
