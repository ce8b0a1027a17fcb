"""Which devices a plugin's jobs are offered to, in which order, and which of its jobs: by the rules of other machines.

A rule costs nothing where there is none. Where there are some, only the first jobs of the queue are looked at."""

import fnmatch
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.library.catalogue import PluginInfo
from core.library.children import SIDE
from core.library.runs import Worker
from core.ops import devices
from core.remote.records import Remote, Rule

LOOKED_AT = 1000  # queued jobs
Rules = dict[str, Remote]  # by machine: its record, with the rule, and the plugins and models that are there


@dataclass(frozen=True)
class Some:
    """Some of a plugin's queued jobs: a condition of SQL with its values, and how many of the first are left out."""

    condition: str
    values: tuple[Any, ...]
    left_to_others: int = 0


def first(limit: int, some: Some | None, queued: str, *values: Any) -> tuple[Any, ...]:
    """What to ask the store for: the first rows of the query `queued`, which gives class, rank, name and priority, or
    those of `some` of them."""
    if not some:
        return f"{queued} ORDER BY class, rank LIMIT {limit}", *values
    near = f"SELECT * FROM ({queued} ORDER BY class, rank LIMIT {LOOKED_AT}) WHERE {some.condition}"
    return f"{near} ORDER BY class, rank LIMIT {limit} OFFSET {some.left_to_others}", *values, *some.values


Offer = tuple[str, Some | None]  # a device, and which jobs it is offered: None for all


class Placing:
    """`here` are the devices of this machine; with `ray`, for plugins in sandboxes alone. `workers` are those there
    are, always. `following(plugin, False, None)` is the job that is next in its queue."""

    def __init__(
        self, here: list[str], ray: bool, workers: dict[str, Worker], following: Callable[..., dict[str, Any] | None]
    ):
        self.here, self._ray, self._workers, self._following = here, ray, workers, following
        self.rules: Callable[[], Rules] = dict  # those of now; this and `state_of` a machine are set by Remotes
        self.state_of: Callable[[str], str] = lambda machine: "off"

    def offers(self, info: PluginInfo, mine: dict[str, Worker]) -> Iterator[Offer]:
        """Devices to which one job is to be offered, each as long as it takes some; those with least to do come first.
        `mine` are the plugin's workers by device."""
        here = [] if self._ray and not info.sandbox else self.here
        records = {name: record for name, record in self.rules().items() if info.name in record.plugins}
        rules = {name: record.rule for name, record in records.items()}
        fitting = {machine: _fitting(record, info) for machine, record in records.items()}
        only = [fitting[machine] for machine, rule in rules.items() if rule.when == "only"]
        values = tuple(value for some in only for value in some.values)
        rest = Some(" AND ".join(f"NOT ({some.condition})" for some in only), values) if only else None
        away = {machine: [each for each in mine if devices.machine_of(each) == machine] for machine in rules}
        others = [each for each in mine if each != SIDE and devices.machine_of(each) not in rules]
        in_turn = functools.partial(self._in_turn, info.name, mine)
        for machine, rule in rules.items():
            if rule.when != "busy":
                yield from in_turn(away[machine], fitting[machine])
        yield from in_turn([*dict.fromkeys([*here, *others])], rest)
        for machine, rule in rules.items():
            if rule.when == "busy":
                some = replace(fitting[machine], left_to_others=self._starting(info.name, here))
                yield from in_turn(away[machine], some)
        yield from in_turn([SIDE], None)

    def _in_turn(self, plugin: str, mine: dict[str, Worker], places: list[str], some: Some | None) -> Iterator[Offer]:
        """Where a worker has nothing to do, best where the model is warm; then where one may be started; then where
        there is least to do, as long as jobs are taken, but for those that the workers which are starting will take."""
        there = [device for device in places if device in mine]
        idle = [device for device in there if not mine[device].runs]
        if len(idle) > 1 and (job := self._following(plugin, False, None)):
            idle.sort(key=lambda device: mine[device].warm != job["warmth"])
        for device in (*idle, *(device for device in places if device not in mine)):
            yield device, some
        while there:
            device = min(there, key=lambda device: len(mine[device].runs))
            before, starting = len(mine[device].runs), self._starting(plugin, places) if len(places) > 1 else 0
            yield device, replace(some or Some("1", ()), left_to_others=starting * (before + 1)) if starting else some
            if len(mine[device].runs) == before:
                there.remove(device)

    def _starting(self, plugin: str, places: list[str]) -> int:
        """Workers that take jobs as soon as they are there, also those that were started just now."""
        begun = [each for each in list(self._workers.values()) if each.plugin == plugin and each.device in places]
        return sum(not (each.ready or each.ended_by_us or each.process.detached) for each in begun)

    def width(self) -> int:
        """On how many devices jobs can run at once."""
        there = {each.device for each in list(self._workers.values()) if each.ready and each.device != SIDE}
        return len({*([] if self._ray else self.here)} | there) or 1

    def waits_for(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """The machines without which a queued job does not run: none if one of them is there, or if it may run here."""
        name, plugin, priority = row["name"], row["plugin"], row["priority"]
        known = {} if row["program"] else self.rules()
        rules = {machine: record.rule for machine, record in known.items() if plugin in record.plugins}
        fitting = [
            machine
            for machine, rule in rules.items()
            if _named(rule, [name]) and priority in (rule.priorities or [priority])
        ]
        states = {machine: self.state_of(machine) for machine in fitting}
        if all(rules[machine].when != "only" for machine in fitting) or "connected" in states.values():
            return []
        return [{"remote": machine, "remote_state": state} for machine, state in states.items()]


def _named(rule: Rule, names: Iterable[str]) -> list[str]:
    """Of the jobs `names` (plugin.job), those that it is about."""
    match = fnmatch.fnmatchcase
    return [
        name
        for name in names
        if not rule.jobs or any(match(name, each) or match(name.partition(".")[2], each) for each in rule.jobs)
    ]


def _fitting(record: Remote, info: PluginInfo) -> Some:
    """By name, priority, and model: a job whose model was not copied there would fail, and may run elsewhere."""
    rule, names = record.rule, [f"{info.name}.{job['name']}" for job in info.jobs]
    allowed = {"name": _named(rule, names)} if rule.jobs else {}
    allowed |= {"priority": rule.priorities} if rule.priorities else {}
    conditions = [f"{column} IN ({_marks(values)})" for column, values in allowed.items()]
    found = [value for values in allowed.values() for value in values]
    patterns = [pattern.replace("[!", "[^") for pattern in record.models]  # as SQL writes them
    for kind, jobs in _by_kind(info).items():
        there = ["", *(each["name"] for each in info.models() if each["kind"] == kind and "name" in each)]
        copied = "".join(" OR ? || json_extract(warmth, '$') GLOB ?" for _ in patterns)
        conditions.append(f"(name NOT IN ({_marks(jobs)}) OR warmth IN ('null', {_marks(there)}){copied})")
        found += [*jobs, *map(json.dumps, there), *(value for pattern in patterns for value in (f"{kind}/", pattern))]
    return Some(" AND ".join(conditions) or "1", tuple(found))


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def _by_kind(info: PluginInfo) -> dict[str, list[str]]:
    """Jobs whose `warmth` is the name of a model, by the kind of these models."""
    found: dict[str, list[str]] = {}
    for job in [] if "jobs_from" in info.manifest else info.jobs:
        about = job["params"].get("properties", {}).get(job["affinity"], {})
        folder, _, kind = str(about.get("ui", {}).get("choices_from", "")).partition("/")
        if folder == "models" and kind:
            found.setdefault(kind, []).append(f"{info.name}.{job['name']}")
    return found
