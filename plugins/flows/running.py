"""Runs a flow as a program: walks over its steps, submits what can be, and waits for what the rest depends on.

A walk takes each step for all turns of the loops around it at once, so that thousands of jobs are submitted together.
What needs a value that is not there yet, a result or what a person says, is `Blocked`: the walk goes on without it, and
is done again when that is there."""

import hashlib
import itertools
import json
import math
from collections import ChainMap
from dataclasses import dataclass, field, replace
from typing import Any

from core.library.sweeping import each_once
from core.plugin import Artifact, Child, Context, InvalidParams, TypeMismatch

from . import templates
from .reading import COMPARISONS, Flow, Step, is_id

MORE = "..."  # in params: an object of further ones
MAX_JOBS = 20_000
MAX_TURNS = 100_000  # through steps, with those that submit nothing
MAX_SIZE = 100_000_000  # characters of all that is submitted
MAX_LABEL, MAX_KEY = 60, 400  # characters; the server takes 500 of a key
SEEDS = 2**32
ENDED = ("done", "failed", "cancelled")
READABLE = ("text", "json")


class Blocked(Exception):
    """Something is needed that is not there yet."""


class Nothing(Exception):
    """What is referred to does not exist: its step was left out, or nothing was picked."""


@dataclass
class Made:
    """What a step has made: `last` in the last turn of the loop around it. `blocked`: there may be more."""

    children: list[Child] = field(default_factory=list)
    last: list[Child] = field(default_factory=list)
    blocked: bool = False


@dataclass
class Scope:
    """One turn of a loop, or the whole. `path` begins the keys of its jobs; `turn` counts from 0. `before`: what was
    made in the turn before, where the loop goes on with it; None in the first one."""

    path: str
    turn: int
    values: ChainMap
    made: ChainMap
    before: ChainMap
    own: str = ""  # the step that the loop is of

    def key(self, step: Step) -> str:
        key = self.path if self.own == step.id else f"{self.path}/{step.id}" if self.path else step.id
        return key if len(key) <= MAX_KEY else f"{key[: MAX_KEY - 20]}#{_hash(key)[:16]}"


class Running:
    """`values` are the parameters and the inputs by name; inputs are Artifacts, lists of them, or None."""

    def __init__(self, flow: Flow, values: dict[str, Any], ctx: Context):
        self._flow, self._ctx, self._steps = flow, ctx, flow.jobs()
        self._children: dict[str, Child] = {}  # by key
        self._by_id: dict[str, Child] = {}  # the same, by id
        self._forgiven: set[str] = set()  # the keys of those that may fail
        self._answers: dict[str, dict[str, str]] = {}  # what a person said of artifacts, by the gate's key
        self._together: dict[str, list[Artifact]] = {}  # results that are reviewed with an artifact
        self._read: dict[str, Any] = {}
        self._values = dict(values)
        for name in flow.seeds:  # one for the whole run
            if self._values[name] == -1:
                self._values[name] = ctx.seed(name)

    def outputs(self) -> list[Artifact]:
        """Go on until there is something to wait for, or return the results."""
        while True:
            self._waits: dict[str, Child] = {}
            self._gates: dict[str, list[Artifact]] = {}
            self._turns = self._size = 0
            top = Scope("", 0, ChainMap(self._values), ChainMap({}), ChainMap({}))
            self._block(self._flow.steps, [top])
            found = self._outputs(top)
            ended = [child for key, child in self._children.items() if key not in self._forgiven]
            self._ctx.gather([child for child in ended if child.state in ENDED])  # raises if one has failed
            if self._waits:
                self._gather({*self._waits})
            elif self._gates:
                key, artifacts = next(iter(self._gates.items()))
                said = self._ctx.review(artifacts, key=key)
                self._answers[key] = {each.id: state for each, state in zip(artifacts, said, strict=True)}
            elif unfinished := {child.id for child in self._children.values() if child.state not in ENDED}:
                self._gather(unfinished)
            else:
                return found

    def _gather(self, ids: set[str]) -> None:
        """Leave until these children have ended; if they have, note what they made."""
        keys = [key for key, child in self._children.items() if child.id in ids]
        children = self._ctx.gather([self._children[key] for key in keys], allow_failed=True)
        self._children |= zip(keys, children, strict=True)
        self._by_id |= {child.id: child for child in children}

    def _outputs(self, top: Scope) -> list[Artifact]:
        found: list[Artifact] = []
        for each in self._flow.outputs:
            try:
                found += self._artifacts(each, top)
            except (Nothing, Blocked):
                continue
        alike = {"image", "mask"} if self._flow.gives in ("image", "mask") else {self._flow.gives}
        if strange := [each for each in found if each.kind not in alike]:
            text = f"this flow makes {strange[0].kind}, and says that it gives {self._flow.gives}."
            raise TypeMismatch(text, field="gives", hint=f'Say "gives": "{strange[0].kind}", or choose its outputs.')
        return found

    # The walk

    def _block(self, steps: tuple[Step, ...], scopes: list[Scope]) -> None:
        for step in steps:
            self._go_round(len(scopes))
            if step.loop:
                self._loop(step, scopes)
            elif step.steps:
                self._block(step.steps, [scope for scope in scopes if self._enters(step, scope)])
            else:
                self._submit(step, scopes)

    def _enters(self, step: Step, scope: Scope) -> bool:
        """Whether the condition of a block holds; if not, its steps have made nothing."""
        try:
            holds, blocked = step.when is None or self._holds(step.when, scope), False
        except (Blocked, Nothing) as error:
            holds, blocked = False, isinstance(error, Blocked)
        if not holds:
            scope.made |= {each.id: Made(blocked=blocked) for each in step.family()}
        return holds

    def _submit(self, step: Step, scopes: list[Scope]) -> None:
        requests = []
        for scope in scopes:
            scope.made[step.id] = Made()
            try:
                if step.when is None or self._holds(step.when, scope):
                    requests.append((scope, self._request(step, scope)))
            except Blocked:
                scope.made[step.id] = Made(blocked=True)
            except Nothing:
                pass
        try:
            self._ask([request for _, request in requests])
        except Exception as error:
            error.args = (f"{step.id}: {error}",)
            raise
        for scope, request in requests:
            child = self._children[request["key"]]
            scope.made[step.id] = Made([child], [child])
            if step.may_fail:
                self._forgiven.add(request["key"])

    def _ask(self, requests: list[dict[str, Any]]) -> None:
        new = [request for request in requests if request["key"] not in self._children]
        self._check_count(len(self._children) + len(new))
        for request, child in zip(new, self._ctx.submit_all(new) if new else [], strict=True):
            self._children[request["key"]] = self._by_id[child.id] = child

    def _check_count(self, count: int) -> None:
        if count > MAX_JOBS:
            raise InvalidParams(
                f"this flow asks for {count:,} jobs, the limit is {MAX_JOBS:,}.",
                hint="Run it in parts, or make lists shorter.",
            )

    def _go_round(self, count: int) -> None:
        self._turns += count
        if self._turns > MAX_TURNS:
            text = f"this flow goes through its steps over {MAX_TURNS:,} times: its loops are in each other."
            raise InvalidParams(text, hint="Make lists shorter, or take one of the loops away.")

    def _weigh(self, request: dict[str, Any]) -> None:
        self._size += _size(request, MAX_SIZE)
        if self._size > MAX_SIZE:
            text = f"what this flow submits has over {MAX_SIZE:,} characters: long texts are in it again and again."
            raise InvalidParams(text, hint="Make texts or lists shorter.")

    def _loop(self, step: Step, scopes: list[Scope]) -> None:
        inner, turns = replace(step, loop=None), []
        for scope in scopes:
            try:
                items, blocked = self._items(step, scope), False
            except (Blocked, Nothing) as error:
                items, blocked = [], isinstance(error, Blocked)
            self._go_round(len(items))
            turns.append(([self._turn(step, scope, k, item) for k, item in enumerate(items)], blocked))
        if not step.loop.chain:
            self._block((inner,), [turn for each, _ in turns for turn in each])
        else:
            turns = self._chain(inner, step, turns)
        for scope, (each, blocked) in zip(scopes, turns, strict=True):
            for one in step.family():
                parts = [turn.made[one.id] for turn in each]
                children = [child for part in parts for child in part.children]
                last = [child for part in (parts[-1:] if step.loop.chain else parts) for child in part.last]
                scope.made[one.id] = Made(children, last, blocked or any(part.blocked for part in parts))

    def _chain(self, inner: Step, step: Step, turns: list[tuple[list[Scope], bool]]) -> list[tuple[list[Scope], bool]]:
        """Turn after turn, each with what the one before has made; until a condition holds. Returns those that were."""
        done: list[tuple[list[Scope], bool]] = [([], blocked) for _, blocked in turns]
        open = {*range(len(turns))}
        for k in range(max((len(each) for each, _ in turns), default=0)):
            open = {number for number in open if k < len(turns[number][0])}
            for number in open:
                turn = turns[number][0][k]
                before = turns[number][0][k - 1].made.maps[0] if k else {}
                turn.before = turn.before.new_child({one.id: before.get(one.id) for one in step.family()})
                done[number][0].append(turn)
            self._block((inner,), [turns[number][0][k] for number in sorted(open)])
            for number in [*open] if step.loop.until is not None else []:
                try:
                    if self._holds(step.loop.until, turns[number][0][k]):
                        open.remove(number)
                except Nothing:
                    continue
                except Blocked:
                    open.remove(number)
                    done[number] = done[number][0], True
        return done

    def _turn(self, step: Step, scope: Scope, turn: int, item: tuple[str, dict[str, Any]]) -> Scope:
        label, values = item
        own = "" if step.steps else step.id
        path = f"{scope.key(step)}[{label}]"
        return Scope(path, turn, scope.values.new_child(values), scope.made.new_child(), scope.before, own)

    def _items(self, step: Step, scope: Scope) -> list[tuple[str, dict[str, Any]]]:
        """Of each turn, what its jobs' keys have of it, and what is called how in it."""
        source, name = step.loop.source, step.loop.name
        several = source.keys() & {"zip", "product"} if isinstance(source, dict) else ()
        if several:
            (kind,) = several
            lists = {key: self._list(self._fill(each, scope)) for key, each in source[kind].items()}
            found: Any = self._combined(step, kind, lists)
        elif isinstance(source, dict):
            found = self._artifacts(source, scope)
        else:
            whole = templates.WHOLE.fullmatch(source) if isinstance(source, str) else None
            if whole and whole[1] in scope.values:
                found = self._list(scope.values[whole[1]])  # pictures, too
            elif whole and whole[1] in scope.made:
                found = self._artifacts({"job": whole[1]}, scope)
            else:
                found = self._list(self._fill(source, scope))
        self._check_count(len(found))
        return [
            (label, (each if several else {}) | {name: each, f"{name}_number": number})
            for number, (label, each) in enumerate(zip(each_once(map(_label, found)), found, strict=True), 1)
        ]

    def _combined(self, step: Step, kind: str, lists: dict[str, list[Any]]) -> list[dict[str, Any]]:
        lengths = {name: len(values) for name, values in lists.items()}
        if kind == "product":
            self._check_count(math.prod(lengths.values()))
            return [dict(zip(lists, each, strict=True)) for each in itertools.product(*lists.values())]
        if len({*lengths.values()}) > 1:
            told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise InvalidParams(f"{step.id}: the lists of zip are to be equally long: {told}.", field=step.id)
        return [dict(zip(lists, each, strict=True)) for each in zip(*lists.values(), strict=True)]

    def _list(self, value: Any) -> list[Any]:
        """What a loop goes over: lines of a text, 1 to a number, or the items of a list."""
        if isinstance(value, str):
            return [line.strip() for line in value.splitlines() if line.strip()]
        if isinstance(value, int | float) and not isinstance(value, bool):
            self._check_count(max(0, math.ceil(value)))
            return [*range(1, math.floor(value) + 1)]
        if value is None or isinstance(value, list):
            return value or []
        if isinstance(value, Artifact):
            return [value]
        raise InvalidParams(f"a loop goes over a list, lines of a text or a number, not over {_short(value)}.")

    # What steps refer to

    def _request(self, step: Step, scope: Scope) -> dict[str, Any]:
        key = scope.key(step)
        params = dict(step.params) if self._flow.old else self._fill(step.params, scope)
        if not self._flow.old and (more := params.pop(MORE, None)):
            params |= more if isinstance(more, dict) else {MORE: more}
        if "seed" in params:
            params["seed"] = self._seed(params["seed"], key, scope)
        inputs = {}
        for name, items in step.inputs.items():
            found, lacks = [], False
            for item in items:
                try:
                    found += self._references(item, scope)
                except Nothing:
                    lacks = True
            if lacks and not found:
                raise Nothing
            if found:
                inputs[name] = found
        self._weigh(params | inputs)
        return {"job": step.job, "params": params, "inputs": inputs, "key": key, "hold": step.hold, "fresh": step.fresh}

    def _seed(self, seed: Any, key: str, scope: Scope) -> Any:
        """-1 is another one for each job; {"from": number} counts up in the loop, {"from": text} belongs to a text."""
        if isinstance(seed, dict) and "from" in seed:
            seed = seed["from"]
            if isinstance(seed, int) and not isinstance(seed, bool):
                seed = seed if seed == -1 else (seed + scope.turn) % SEEDS
            else:
                seed = int(_hash(templates.said(seed))[:8], 16)
        return self._ctx.seed(key) if seed == -1 else seed

    def _references(self, item: Any, scope: Scope) -> list[Any]:
        """An input as `ctx.submit` takes it: of jobs that have not ended, too."""
        if item is None:
            return []
        if isinstance(item, str):
            return self._named(item, scope)
        try:
            return self._of_job(item, scope)
        except Nothing:
            if "else" not in item:
                raise
            return self._references(item["else"], scope)

    def _named(self, item: str, scope: Scope) -> list[Any]:
        if is_id(item):
            return [item]
        whole = None if self._flow.old else templates.WHOLE.fullmatch(item)
        if whole and whole[1] not in scope.values and whole[1] in scope.made:
            return self._references({"job": whole[1]}, scope)
        value = scope.values[whole[1]] if whole and whole[1] in scope.values else None
        if value is None and not (whole and whole[1] in scope.values):
            value = item if self._flow.old else self._fill(item, scope)
        if value == [] or value == ():
            raise Nothing
        values = value if isinstance(value, list) else [] if value is None else [value]
        return [
            each if isinstance(each, Artifact) or is_id(each) else self._text(templates.said(each)) for each in values
        ]

    def _text(self, text: str) -> Child:
        """A text as an artifact: jobs take nothing else."""
        key = f"text {_hash(text)[:24]}"
        self._ask([{"job": "flows.text", "params": {"text": text}, "key": key}])
        return self._children[key]

    def _of_job(self, item: dict[str, Any], scope: Scope) -> list[Any]:
        id = item.get("job", item.get("last"))
        if id not in self._steps:  # one that is not of this flow
            return [{key: item[key] for key in ("job", "index", "review") if key in item}]
        if "last" in item and id in scope.before:
            made = scope.before[id] or Made()
            children = made.children
        else:
            made = scope.made[id]
            children = made.last if "last" in item else made.children
        if made.blocked:
            raise Blocked
        if not children:
            raise Nothing
        index, may_fail = item.get("index"), self._steps[id].may_fail
        unfinished = [child for child in children if child.state not in ENDED]
        if unfinished and not may_fail and "review" not in item:
            if index is None:
                return children
            if len(children) == 1 and index >= 0:
                return [{"job": children[0].id, "index": index}]
        if unfinished:
            self._waits |= {child.id: child for child in unfinished}
            raise Blocked
        found = [output for child in children for output in child.outputs if child.state == "done"]
        self._together |= dict.fromkeys((each.id for each in found), found)
        if "review" in item:
            found = [each for each in found if self._review(each) == item["review"]]
        if index is not None:
            found = found[index:][:1] if -len(found) <= index else []
        if not found:
            raise Nothing
        return found if "review" in item or index is not None or may_fail else children

    def _artifacts(self, item: Any, scope: Scope) -> list[Artifact]:
        """The results behind a reference, once they are there."""
        found: list[Artifact] = []
        references = [
            self._by_id.get(each["job"], each) if isinstance(each, dict) else each
            for each in self._references(item, scope)
        ]
        if unfinished := {c.id: c for c in references if isinstance(c, Child) and c.state not in ENDED}:
            self._waits |= unfinished
            raise Blocked
        for each in references:
            if isinstance(each, Child):
                self._together |= dict.fromkeys((output.id for output in each.outputs), [*each.outputs])
                found += each.outputs if each.state == "done" else ()
            elif isinstance(each, Artifact):
                found.append(each)
            else:
                text = f"{_short(each)} is not of this flow: jobs take it, but no loop, text or condition."
                raise InvalidParams(text)
        return found

    def _review(self, artifact: Artifact) -> str:
        """What a person says of a result; asked of all that its step has made."""
        together = self._together.get(artifact.id) or [artifact]
        key = "review " + _hash(" ".join(each.id for each in together))[:32]
        if key not in self._answers:
            self._gates[key] = together
            raise Blocked
        return self._answers[key][artifact.id]

    # Values and conditions

    def _fill(self, value: Any, scope: Scope) -> Any:
        return templates.fill(value, lambda path: self._look_up(path, scope))

    def _look_up(self, path: str, scope: Scope) -> Any:
        name, *rest = path.split(".")
        if name in scope.values:
            value = scope.values[name]
        else:
            value = self._artifacts({"job": name}, scope)
            value = value[0] if len(value) == 1 else value
        if isinstance(value, list):
            value = [self._value(each, [], path) for each in value] if not rest or not rest[0].isdigit() else value
        return self._value(value, rest, path)

    def _value(self, value: Any, rest: list[str], path: str) -> Any:
        if isinstance(value, Artifact):
            if value.kind == "json" or (value.kind == "text" and not rest):
                if value.id not in self._read:
                    self._read[value.id] = self._ctx.read(value)
                value = self._read[value.id]
            elif rest:
                value = value.facts
            else:
                text = f"{{{path}}} is of kind {value.kind}: inputs take it, but no text or parameter."
                raise InvalidParams(text, hint=f"A fact of it is {{{path}.seed}}, for example.")
        for number, part in enumerate(rest):
            if isinstance(value, dict) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
                value = self._value(value[int(part)], rest[number + 1 :], path)
                break
            else:
                known = f" It has {', '.join(map(str, value))[:300]}." if isinstance(value, dict) else ""
                raise InvalidParams(f"there is no {part!r} in {{{path}}}.{known}")
        return value

    def _holds(self, condition: Any, scope: Scope) -> bool:
        if isinstance(condition, bool | str):
            return bool(self._known(condition, scope))
        if "all" in condition:
            return all(self._holds(each, scope) for each in condition["all"])
        if "any" in condition:
            return any(self._holds(each, scope) for each in condition["any"])
        if "not" in condition:
            return not self._holds(condition["not"], scope)
        if "review" in condition:
            artifacts = self._artifacts(condition["review"], scope)
            states = [self._review(each) == condition.get("is", "picked") for each in artifacts]
            return all(states) if condition.get("count") == "all" else any(states)
        if "ended" in condition:
            return self._ended(condition, scope)
        value = self._known(condition["value"], scope)
        return all(
            self._compares(word, value, self._fill(condition[word], scope)) for word in condition.keys() & COMPARISONS
        )

    def _known(self, value: Any, scope: Scope) -> Any:
        """A value for a condition, where a picture is something, and what is not there is nothing."""
        whole = templates.WHOLE.fullmatch(value) if isinstance(value, str) else None
        if whole and isinstance(scope.values.get(whole[1]), Artifact):
            artifact = scope.values[whole[1]]
            return self._value(artifact, [], whole[1]) if artifact.kind in READABLE else True
        try:
            return self._fill(value, scope)
        except Nothing:
            return None

    def _compares(self, word: str, value: Any, other: Any) -> bool:
        try:
            return bool(COMPARISONS[word](value, other))
        except TypeError as error:
            text = f"{_short(value)} and {_short(other)} cannot be compared by {word}."
            raise InvalidParams(text, field="when") from error

    def _ended(self, condition: dict[str, Any], scope: Scope) -> bool:
        made, wanted = scope.made[condition["ended"]], condition.get("is", "done")
        unfinished = [child for child in made.children if child.state not in ENDED]
        self._waits |= {child.id: child for child in unfinished}
        if made.blocked or unfinished:
            raise Blocked
        states = [child.state for child in made.children]
        return bool(states) and {*states} == {"done"} if wanted == "done" else wanted in states


def _label(item: Any) -> str:
    """What the keys of a turn's jobs have of its item: they mean the item, not its number."""
    if isinstance(item, Artifact):
        return item.id
    text = templates.said(item) if not isinstance(item, dict) else _json(item)
    return text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 15]}#{_hash(text)[:12]}"


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=lambda each: each.id)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _size(value: Any, most: int) -> int:
    """About how many characters a value has as JSON; some number over `most` if it has more."""
    size, left = 0, [value]
    while left and size <= most:
        each = left.pop()
        size += len(each) if isinstance(each, str) else 1
        if isinstance(each, dict):
            left += [*each, *each.values()]
        elif isinstance(each, list):
            left += each
    return size


def _short(value: Any) -> str:
    return repr(value)[:100]
