"""Which devices a plugin's jobs are offered to, in which order, and which of its jobs: by the rules of other machines.

A rule costs nothing where there is none. Where there are some, only the first jobs of the queue are looked at."""

import fnmatch
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from core.library.catalogue import PluginInfo
from core.library.children import SIDE
from core.library.runs import Worker
from core.ops import devices
from core.remote.records import Rule

LOOKED_AT = 1000  # queued jobs
Rules = dict[str, tuple[Rule, list[str]]]  # by machine: its rule, and the plugins that are deployed there


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
    """`here` are the devices of this machine; with `ray`, for plugins in sandboxes alone."""

    def __init__(self, here: list[str], ray: bool):
        self.here, self._ray = here, ray
        self.rules: Callable[[], Rules] = dict  # those of now; this and `state_of` a machine are set by Remotes
        self.state_of: Callable[[str], str] = lambda machine: "off"

    def offers(self, info: PluginInfo, mine: Iterable[str], workers: dict[str, Worker]) -> Iterator[Offer]:
        """`mine` are the devices on which the plugin has workers; `workers` are those of all, also new ones."""
        here = [] if self._ray and not info.sandbox else self.here
        rules = {name: rule for name, (rule, plugins) in self.rules().items() if info.name in plugins}
        if not rules:
            yield from ((device, None) for device in dict.fromkeys([*here, *mine, SIDE]))
            return
        names = [f"{info.name}.{job['name']}" for job in info.jobs]
        fitting = {machine: _fitting(rule, names) for machine, rule in rules.items()}
        away = {device: devices.machine_of(device) for device in mine if devices.machine_of(device) in rules}
        for device, machine in away.items():
            if rules[machine].when != "busy":
                yield device, fitting[machine]
        only = [fitting[machine] for machine, rule in rules.items() if rule.when == "only"]
        values = tuple(value for some in only for value in some.values)
        rest = Some(" AND ".join(f"NOT ({some.condition})" for some in only), values) if only else None
        for device in dict.fromkeys([*here, *(device for device in mine if device not in away)]):
            if device != SIDE:
                yield device, rest
        for device, machine in away.items():
            if rules[machine].when == "busy":
                begun = [each for each in [*workers.values()] if (each.plugin == info.name and each.device in here)]
                starting = sum(not each.ready and not each.ended_by_us for each in begun)
                yield device, Some(fitting[machine].condition, fitting[machine].values, starting)
        yield SIDE, None

    def waits_for(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """The machines without which a queued job does not run: none if one of them is there, or if it may run here."""
        name, plugin, priority = row["name"], row["plugin"], row["priority"]
        rules = {} if row["program"] else {each: rule for each, (rule, at) in self.rules().items() if plugin in at}
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


def _fitting(rule: Rule, names: Iterable[str]) -> Some:
    allowed = {"name": _named(rule, names)} if rule.jobs else {}
    allowed |= {"priority": rule.priorities} if rule.priorities else {}
    conditions = [f"{column} IN ({', '.join('?' * len(values))})" for column, values in allowed.items()]
    return Some(" AND ".join(conditions) or "1", tuple(value for values in allowed.values() for value in values))
