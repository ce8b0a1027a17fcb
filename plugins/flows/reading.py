"""What a flow file says: checked as a whole, and all that is wrong with it told at once, each with its place."""

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pydantic

from core.plugin import InvalidParams, Params

from . import forms, templates

VERSION = 2
MAX_STEPS, MAX_DEPTH = 500, 6
MAX_PARAMS, MAX_ENUM, MAX_CONDITIONS = 200, 1_000, 1_000
ARTIFACT = re.compile(r"[0-7][0-9a-hjkmnp-tv-z]{25}(\.\d+)?")  # an id; of a job, without the number
ID = re.compile(r"[^\x00-\x1f/\[\]{}#]{1,100}")
FLOW = {"version", "name", "description", "params", "inputs", "jobs", "outputs", "gives", "canvas"}
LOOPS = ("for_each", "repeat")
STEP = {"id", "job", "jobs", "params", "inputs", *LOOPS, "as", "until", "when", "may_fail", "hold", "fresh"}
OLD = {"priority", "session", "client_ref", "embed_metadata"}  # what a submission may say, and the program decides here
REFERENCE = {"job", "last", "index", "review", "else"}
COMPARISONS = {
    "is": lambda a, b: a == b, "is_not": lambda a, b: a != b, "in": lambda a, b: a in b,
    "contains": lambda a, b: b in a, "above": lambda a, b: a > b, "below": lambda a, b: a < b,
    "at_least": lambda a, b: a >= b, "at_most": lambda a, b: a <= b,
}  # fmt: skip
FLAGS = ("list", "optional")  # of an input
REVIEWS = ("picked", "rejected")
ENDS = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class Port:
    kind: str = "image"
    list: bool = False
    optional: bool = False
    help: str = ""


@dataclass(frozen=True)
class Loop:
    """`source` is what it goes over, as the file has it; in a `chain` each turn may take what the last one made."""

    source: Any
    name: str
    chain: bool
    until: Any = None


@dataclass(frozen=True)
class Step:
    """A job, or a block of steps; perhaps in a loop."""

    id: str
    place: str = ""  # in the file
    job: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, list[Any]] = field(default_factory=dict)
    steps: tuple["Step", ...] = ()
    loop: Loop | None = None
    when: Any = None
    may_fail: bool = False
    hold: bool = False
    fresh: bool = False

    @property
    def inner(self) -> tuple["Step", ...]:
        """What one turn of the loop does."""
        return self.steps or (replace(self, loop=None),)

    def family(self) -> Iterator["Step"]:
        """All that are jobs."""
        if self.steps:
            for step in self.steps:
                yield from step.family()
        else:
            yield self


@dataclass(frozen=True)
class Flow:
    name: str
    help: str
    params: type[Params]
    inputs: dict[str, Port]
    steps: tuple[Step, ...]
    outputs: list[Any]
    gives: str
    seeds: tuple[str, ...]  # the parameters where -1 stands for chance
    old: bool  # of version 1, which has no names in braces

    def jobs(self) -> dict[str, Step]:
        return {step.id: step for top in self.steps for step in top.family()}


def read(data: Any, place: str = "flow") -> Flow:
    """The flow in a file. Raises InvalidParams with all that is wrong; `place` is what its places begin with."""
    reader = Reader()
    try:
        flow = reader.flow(data)
    except RecursionError as error:
        raise InvalidParams("this flow is nested too deeply.", field=place or None) from error
    if reader.problems:
        errors = [{"field": ".".join([place, *at] if place else at), "message": text} for at, text in reader.problems]
        told = "; ".join(f"{error['field']}: {error['message']}" for error in errors[:20])
        more = f"; and {len(errors) - 20} more" if len(errors) > 20 else ""
        hint = "docs/flows.md tells what a flow may say."
        raise InvalidParams(
            f"this flow cannot be run: {told}{more}.", field=errors[0]["field"], errors=errors, hint=hint
        )
    return flow


class Reader:
    def __init__(self) -> None:
        self.problems: list[tuple[list[str], str]] = []
        self._steps = self._conditions = 0
        self._ids: dict[str, bool] = {}  # of all steps, and whether a loop that chains is around
        self._conditional: set[str] = set()  # whose end somebody asks for
        self._old = False

    def _wrong(self, place: list[str], text: str) -> None:
        self.problems.append((place, text))

    def _is(self, kind: type, value: Any, place: list[str], what: str) -> bool:
        if isinstance(value, kind) and not (kind is not bool and isinstance(value, bool)):
            return True
        self._wrong(place, f"it has to be {what}, not {_short(value)}")
        return False

    def _words(self, found: dict[str, Any], known: Iterable[str], place: list[str]) -> None:
        for word in found.keys() - known:
            near = difflib.get_close_matches(word, known, n=1)
            meant = f"did you mean {near[0]}" if near else f"known are {', '.join(sorted(known))}"
            self._wrong([*place, word[:100]], f"there is no such word here; {meant}")

    def flow(self, data: Any) -> Flow | None:
        data = {"jobs": data} if isinstance(data, list) else data
        if not self._is(dict, data, [], 'an object with "jobs"'):
            return None
        version = data.get("version", 1)
        if version not in (1, VERSION) or isinstance(version, bool):
            return self._wrong(["version"], f"it is 1 or {VERSION}, not {_short(version)}")
        self._old = version == 1
        if self._old and (later := data.keys() & {"params", "inputs", "outputs", "gives"}):
            self._wrong(["version"], f'{", ".join(sorted(later))}: flows have that from "version": {VERSION} on')
        if not self._old:
            self._words(data, FLOW, [])
        texts = {key: data.get(key, "") for key in ("name", "description")}
        for key, text in texts.items():
            self._is(str, text, [key], "a text")
        params, inputs = self._params(data.get("params", {})), self._ports(data.get("inputs", {}))
        for name in params.keys() & inputs.keys():
            self._wrong(["inputs", name], "a parameter has that name, too")
        scope = dict.fromkeys([*params, *inputs], "value")
        steps = self._block(data.get("jobs"), ["jobs"], scope, set(), 1)
        for name in (params.keys() | inputs.keys()) & self._ids.keys():
            self._wrong(["jobs"], f"one has the id {name}, which a parameter or input has, too")
        outputs = data.get("outputs")
        if outputs is None:
            outputs = [{"job": each} for each in self._leaves(steps)]
        outputs = [each if not isinstance(each, str) or "{" in each else {"job": each} for each in listed(outputs)]
        for number, each in enumerate(outputs):
            self._reference(each, ["outputs", str(number)], scope, set())
        self._choice(data, "gives", tuple(forms.KINDS), [])
        made = self._class(params)
        if self.problems:
            return None
        steps = tuple(map(self._forgiving, steps))
        seeds = tuple(name for name in params if forms.is_seed(name, params[name]))
        told = texts["description"] or texts["name"] or "A flow."
        return Flow(texts["name"], told, made, inputs, steps, outputs, data.get("gives", "image"), seeds, self._old)

    def _forgiving(self, step: Step) -> Step:
        """Steps about whose end the flow asks may fail."""
        may = step.may_fail or step.id in self._conditional
        return replace(step, may_fail=may, steps=tuple(map(self._forgiving, step.steps)))

    def _params(self, found: Any) -> dict[str, dict[str, Any]]:
        if not self._is(dict, found, ["params"], "an object: a JSON Schema by name"):
            return {}
        if len(found) > MAX_PARAMS:
            self._wrong(["params"], f"a flow has at most {MAX_PARAMS} parameters")
            return {}
        good = {}
        for name, schema in found.items():
            place = ["params", name[:100]]
            if problem := forms.wrong_name(name):
                self._wrong(place, problem)
            elif self._is(dict, schema, place, 'a JSON Schema, such as {"type": "integer", "default": 4}'):
                self._words(schema, forms.WORDS, place)
                if self._typed(schema, place):
                    good[name] = schema
        return good

    def _typed(self, schema: dict[str, Any], place: list[str]) -> bool:
        kinds = [*forms.TYPES, "array"]
        if "enum" in schema:
            simple = isinstance(schema["enum"], list) and all(isinstance(e, str | int | float) for e in schema["enum"])
            good = bool(simple and 0 < len(schema["enum"]) <= MAX_ENUM)
            if not good:
                self._wrong([*place, "enum"], f"it is a list of 1 to {MAX_ENUM:,} texts or numbers")
            return good
        if (kind := schema.get("type")) is not None and kind not in kinds:
            self._wrong([*place, "type"], f"it is one of {', '.join(kinds)}, not {_short(kind)}")
            return False
        if "items" in schema:
            place = [*place, "items"]
            return self._is(dict, schema["items"], place, "a JSON Schema") and self._typed(schema["items"], place)
        return True

    def _class(self, params: dict[str, dict[str, Any]]) -> type[Params]:
        """One by one, to tell which is wrong."""
        for name, schema in params.items():
            try:
                alone = forms.params_class({name: schema})
                alone.model_json_schema()
                alone(**({name: schema["default"]} if "default" in schema else {}))
            except pydantic.ValidationError as error:
                if any(each["type"] != "missing" for each in error.errors()):
                    self._wrong(["params", name, "default"], f"{error.errors()[0]['msg']}")
            except Exception as error:  # whatever pydantic says of bounds that do not fit the type
                self._wrong(["params", name], f"it makes no sense: {str(error)[:200]}")
        return Params if self.problems else forms.params_class(params)

    def _ports(self, found: Any) -> dict[str, Port]:
        if not self._is(dict, found, ["inputs"], 'an object: {"image": {"kind": "image"}}'):
            return {}
        ports = {}
        for name, about in found.items():
            place = ["inputs", name[:100]]
            about = {"kind": about} if isinstance(about, str) else about
            if problem := forms.wrong_name(name):
                self._wrong(place, problem)
            elif self._is(dict, about, place, 'a kind, or an object with a "kind"'):
                self._words(about, ("kind", "help", *FLAGS), place)
                good = [self._is(bool, about.get(word, False), [*place, word], "true or false") for word in FLAGS]
                good.append(self._is(str, about.get("help", ""), [*place, "help"], "a text"))
                good.append(self._choice(about, "kind", tuple(forms.KINDS), place))
                if all(good):
                    ports[name] = Port(**{key: about[key] for key in ("kind", "help", *FLAGS) if key in about})
        return ports

    def _block(self, found: Any, place: list[str], scope: dict[str, str], chain: set[str], depth: int) -> list[Step]:
        """`scope`: what may be named, and whether it is a "value" or a "job"; what the block makes is added. `chain`:
        what of the turn before may be taken, in loops that go on with it."""
        if depth > MAX_DEPTH:
            self._wrong(place, f"blocks are at most {MAX_DEPTH} deep")
            return []
        if not self._is(list, found, place, "a list of jobs"):
            return []
        if not found:
            self._wrong(place, "there is no job in it")
        chain, steps = chain | {str(each.get("id")) for each in found if isinstance(each, dict)} if chain else chain, []
        for number, each in enumerate(found):
            self._steps += 1
            if self._steps > MAX_STEPS:
                self._wrong(place, f"a flow has at most {MAX_STEPS} steps")
                break
            at = [*place, str(number)]
            if self._is(dict, each, at, "an object with a job") and (step := self._step(each, at, scope, chain, depth)):
                steps.append(step)
                scope |= dict.fromkeys((inner.id for inner in step.family()), "job")
        return steps

    def _step(
        self, each: dict[str, Any], place: list[str], scope: dict[str, str], chain: set[str], depth: int
    ) -> Step | None:
        if not self._old:
            self._words(each, STEP, place)
        elif later := each.keys() & {*LOOPS, "jobs", "when", "until", "as", "may_fail"}:
            self._wrong(place, f'{", ".join(sorted(later))}: flows have that from "version": {VERSION} on')
        id = each.get("id") or f"job {self._steps}"
        if not self._is(str, id, [*place, "id"], "a text"):
            return None
        if not ID.fullmatch(id):
            self._wrong([*place, "id"], "an id has 1 to 100 characters, and none of / [ ] { } #")
        if id in self._ids:
            self._wrong([*place, "id"], f"two jobs are called {_short(id)}")
        self._ids[id] = False
        flags = {word: each.get(word, False) for word in ("may_fail", "hold", "fresh")}
        for word, value in flags.items():
            self._is(bool, value, [*place, word], "true or false")
        loop, inside, chain = self._loop(each, id, place, scope, chain)
        self._ids[id] = bool(chain)
        if "when" in each:
            self._condition(each["when"], [*place, "when"], inside, chain)
        if "jobs" in each and not self._old:
            self._words({word: 0 for word in each if word in {"job", "params", "inputs", "hold", "fresh"}}, (), place)
            steps = self._block(each["jobs"], [*place, "jobs"], inside, chain, depth + 1)
            step = Step(
                id, ".".join(place), steps=tuple(steps), loop=loop, when=each.get("when"), may_fail=flags["may_fail"]
            )
        else:
            if not isinstance(each.get("job"), str) or not each["job"].strip():
                self._wrong([*place, "job"], f"it is the name of a job, such as txt2img, not {_short(each.get('job'))}")
            params = each.get("params") or {}
            if self._is(dict, params, [*place, "params"], "an object: values by name"):
                self._named(params, [*place, "params"], inside)
                if isinstance(seed := params.get("seed"), dict):
                    self._words(seed, ("from",), [*place, "params", "seed"])
            inputs = self._inputs(each.get("inputs") or {}, [*place, "inputs"], inside, chain)
            job = str(each.get("job"))
            step = Step(id, ".".join(place), job, params, inputs, (), loop, each.get("when"), **flags)
        if loop and loop.until is not None:
            own = inside | dict.fromkeys((one.id for one in step.family()), "job")
            self._condition(loop.until, [*place, "until"], own, chain)
        return step

    def _loop(
        self, each: dict[str, Any], id: str, place: list[str], scope: dict[str, str], chain: set[str]
    ) -> tuple[Loop | None, dict[str, str], set[str]]:
        """The loop of a step, what may be named inside it, and which ids it may take from the turn before."""
        kinds = [word for word in LOOPS if word in each]
        if not kinds:
            for word in {"as", "until"} & each.keys():
                self._wrong([*place, word], f"it is for {' and '.join(LOOPS)}")
            return None, dict(scope), chain
        if len(kinds) == 2:
            self._wrong(place, "say one of for_each and repeat; a block can have the other around it")
        name, source, at = each.get("as", "item"), each[kinds[0]], [*place, kinds[0]]
        if not isinstance(name, str) or not forms.NAME.fullmatch(name):
            self._wrong([*place, "as"], f"it is a name of letters, digits and _, not {_short(name)}")
            name = "item"
        names = {name: "value", f"{name}_number": "value"}
        if isinstance(source, dict) and source.keys() & {"zip", "product"}:
            for word, lists in source.items():
                if word not in ("zip", "product") or len(source) > 1:
                    self._wrong(at, "say one of zip and product, and nothing else")
                elif self._is(dict, lists, [*at, word], "an object: lists by name"):
                    for key, values in lists.items():
                        self._list(values, [*at, word, key], scope)
                        if not forms.NAME.fullmatch(key):
                            self._wrong([*at, word, key[:100]], "a name has letters, digits and _")
                    names |= dict.fromkeys(lists, "value")
        elif isinstance(source, dict):
            self._reference(source, at, scope, chain)
        else:
            self._list(source, at, scope)
        if kinds[0] == "for_each" and "until" in each:
            self._wrong([*place, "until"], "it is for repeat: what for_each makes does not come one after the other")
        chains = kinds[0] == "repeat"
        loop = Loop(source, name, chains, each.get("until") if chains else None)
        return loop, scope | names, chain | {id} if chains else chain

    def _list(self, source: Any, place: list[str], scope: dict[str, str]) -> None:
        """What a loop may go over: a list, a number, a text with names in it."""
        if isinstance(source, bool) or not isinstance(source, list | int | str):
            self._wrong(place, f"it is a list, a number, {{name}} or a job's results, not {_short(source)}")
        self._named(source, place, scope)

    def _named(self, value: Any, place: list[str], scope: dict[str, str]) -> None:
        """Names in braces are there."""
        for path in [] if self._old else dict.fromkeys(templates.paths(value)):
            name = path.split(".")[0]
            if name not in scope:
                near = difflib.get_close_matches(name, scope, n=1)
                meant = f"did you mean {{{near[0]}}}" if near else "write {{" + name + "}} if it is meant as it stands"
                self._wrong(place, f"nothing that comes before is called {{{name}}}; {meant}")

    def _inputs(self, found: Any, place: list[str], scope: dict[str, str], chain: set[str]) -> dict[str, list[Any]]:
        if not self._is(dict, found, place, "an object: references by name"):
            return {}
        given = {name: listed(each) for name, each in found.items() if each is not None}
        for name, items in given.items():
            for item in items:
                self._reference(item, [*place, name[:100]], scope, chain)
        return given

    def _reference(self, item: Any, place: list[str], scope: dict[str, str], chain: set[str]) -> None:
        if isinstance(item, str):
            return self._named(item, place, scope)
        if not isinstance(item, dict) or ("job" in item) == ("last" in item):
            return self._wrong(
                place, f'it is {{name}}, a text, an id, {{"job": id}} or {{"last": id}}, not {_short(item)}'
            )
        self._words(item, REFERENCE, place)
        id = item.get("job", item.get("last"))
        if not isinstance(id, str):
            return self._wrong(place, f"a job is named by its id, not by {_short(id)}")
        inside = "last" in item and (id in chain)
        if inside and "else" not in item:
            self._wrong(place, f'the first turn has no last one: say {{"last": "{id}", "else": ...}}')
        if not inside and scope.get(id) != "job" and not ("job" in item and ARTIFACT.fullmatch(id)):
            near = difflib.get_close_matches(
                id, [name for name, what in scope.items() if what == "job"] + [*chain], n=1
            )
            meant = f"did you mean {near[0]}" if near else "a job takes results of those before it"
            self._wrong(place, f"no job that comes before is called {_short(id)}; {meant}")
        if "last" in item and not inside and scope.get(id) == "job" and not self._ids.get(id):
            self._wrong(place, f'{_short(id)} is not repeated: say {{"job": "{id}"}}')
        if not isinstance(index := item.get("index", 0), int) or isinstance(index, bool):
            self._wrong([*place, "index"], f"it is a number, not {_short(index)}")
        self._choice(item, "review", REVIEWS, place)
        if item.get("else") is not None:
            self._reference(item["else"], [*place, "else"], scope, chain)

    def _condition(self, found: Any, place: list[str], scope: dict[str, str], chain: set[str], depth: int = 0) -> None:
        self._conditions += 1
        if self._conditions == MAX_CONDITIONS:
            self._wrong(place, f"a flow has fewer than {MAX_CONDITIONS:,} conditions")
        if isinstance(found, bool | str):
            return self._named(found, place, scope)
        words = {"all", "any", "not", "value", "review", "ended"}
        if depth > MAX_DEPTH or not isinstance(found, dict) or len(kinds := words & found.keys()) != 1:
            text = f"it is {{name}}, or an object with one of {', '.join(sorted(words))}"
            return self._wrong(place, f"{text}, not {_short(found)}")
        (kind,) = kinds
        if kind in ("all", "any"):
            self._words(found, (kind,), place)
            if self._is(list, found[kind], [*place, kind], "a list of conditions"):
                for number, each in enumerate(found[kind]):
                    self._condition(each, [*place, kind, str(number)], scope, chain, depth + 1)
        elif kind == "not":
            self._words(found, (kind,), place)
            self._condition(found[kind], [*place, kind], scope, chain, depth + 1)
        elif kind == "value":
            self._words(found, ("value", *COMPARISONS), place)
            if len(found) < 2:
                self._wrong(place, f"say with what it is compared: {', '.join(COMPARISONS)}")
            self._named(found, place, scope)
        elif kind == "review":
            self._words(found, ("review", "is", "count"), place)
            self._reference(found["review"], [*place, "review"], scope, chain)
            self._choice(found, "is", REVIEWS, place)
            self._choice(found, "count", ("any", "all"), place)
        else:
            self._words(found, ("ended", "is"), place)
            self._choice(found, "is", ENDS, place)
            if scope.get(str(found["ended"])) != "job":
                self._wrong([*place, "ended"], f"no job that comes before is called {_short(found['ended'])}")
            self._conditional.add(str(found["ended"]))

    def _choice(self, found: dict[str, Any], word: str, allowed: tuple[str, ...], place: list[str]) -> bool:
        value = found.get(word, allowed[0])
        if not isinstance(value, str) or value not in allowed:
            self._wrong([*place, word], f"it is {' or '.join(allowed)}, not {_short(value)}")
            return False
        return True

    def _leaves(self, steps: list[Step]) -> list[str]:
        """The jobs whose results no other one takes, in their order."""
        jobs = [job for step in steps for job in step.family()]
        taken = {name for step in steps for name in _taken(step)}
        return [job.id for job in jobs if job.id not in taken] or [job.id for job in jobs[-1:]]


def _taken(step: Step) -> Iterator[str]:
    """The ids of the jobs that a step takes something of."""
    for each in [*step.inputs.values(), [step.loop.source] if step.loop else []]:
        for item in each:
            while isinstance(item, dict):
                name = item.get("job", item.get("last"))
                if isinstance(name, str) and name != step.id:
                    yield name
                item = item.get("else")
    yield from (path.split(".")[0] for path in templates.paths(step.params))
    for inner in step.steps:
        yield from _taken(inner)


def is_id(value: Any) -> bool:
    """Whether it is an artifact's id."""
    return isinstance(value, str) and bool(ARTIFACT.fullmatch(value))


def listed(found: Any) -> list[Any]:
    return [] if found is None else found if isinstance(found, list) else [found]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
