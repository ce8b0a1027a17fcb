"""Converters: jobs that stand between two others where a result does not fit an input, put there by the server.

One is put there only if there is exactly one way: nothing is guessed, and none is put before a converter or a light
job, which is not queued."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import TypeMismatch
from core.types import fits

if TYPE_CHECKING:  # workers have no jsonschema
    from core.library.catalogue import Catalogue, JobType

THERE = ("ready", "installing")  # plugins whose jobs run, now or in a moment
TOLD = 5  # jobs that are named in a hint


@dataclass(frozen=True)
class Converted:
    """What stands in an input that `given` does not fit, until `insert` has `by` convert it."""

    given: Any
    by: "JobType"


def unfit(about: dict[str, Any]) -> str | None:
    """Why a job cannot be a converter, from its description; None if it can."""
    ports, output = [*about["inputs"].values()], about["output"]
    if about["light"] or about["program"]:
        return "it must be neither light nor a program"
    if len(ports) != 1 or ports[0]["list"] or ports[0]["optional"] or output["list"]:
        return "it must take one thing, its only input, and return one thing"
    if missing := about["params"].get("required"):
        return f"all its parameters need a default, {missing[0]} has none"
    if fits(ports[0]["kind"], output["kind"]):
        return f"{ports[0]['kind']} fits where {output['kind']} is wanted as it is"
    return None


def converter(catalogue: "Catalogue", given: str, wanted: str, target: "JobType", owner: str) -> "JobType":
    """The one job that makes what fits `wanted` of a `given` kind, for `target`; raises TypeMismatch if there is none,
    or more than one. Where some do exactly that, those that make a mask for an image or the like do not count."""
    found = [
        job for job in catalogue.jobs.values()
        if job.about["converts"] and job.plugin.status in THERE
        and fits(_takes(job), given) and fits(job.about["output"]["kind"], wanted)
    ]  # fmt: skip
    found = [job for job in found if (_takes(job), job.about["output"]["kind"]) == (given, wanted)] or found
    if not found:
        jobs = sorted(catalogue.jobs.values(), key=lambda job: job.plugin.name)
        takers = [job.name for job in jobs if _takes_as_it_is(job, given, owner)]
        some = f"{', '.join(takers[:TOLD])}{' ...' if takers[TOLD:] else ''}" if takers else "no job"
        raise TypeMismatch(f"No converter makes {wanted} of {given}.", hint=f"What takes {given}: {some}.")
    if len(found) > 1:
        names = " and ".join(sorted(job.name for job in found))
        raise TypeMismatch(f"{names} could convert it.", hint="Submit the one you mean, and give its result.")
    if target.about["light"] or target.about["converts"]:
        what = "a light job" if target.about["light"] else "another converter"
        text = f"{found[0].name} would convert it, which is not done by itself for {what}."
        raise TypeMismatch(text, hint=f"Submit {found[0].name} first, and give its result.")
    return found[0]


def insert(references: dict[str, list[Any]], add: Callable[["JobType", dict[str, list[Any]]], Any]) -> dict[str, str]:
    """Put the results of converters in the place of what does not fit; `add(converter, inputs)` queues one and returns
    its record. Returns their names by their ids. Neighbours go through one job, which runs once for each."""
    made = {}
    for name, items in references.items():
        references[name] = []
        for by, group in itertools.groupby(items, lambda item: isinstance(item, Converted) and item.by):
            if not by:
                references[name] += group
                continue
            row = add(by, {next(iter(by.about["inputs"])): [item.given for item in group]})
            made[row["id"]] = by.name
            references[name].append({"job": row["id"]})
    return made


def _takes(job: "JobType") -> str:
    return next(iter(job.about["inputs"].values()))["kind"]


def _takes_as_it_is(job: "JobType", given: str, owner: str) -> bool:
    there = job.plugin.status in THERE and not job.about["light"] and job.plugin.offered_to(owner)
    return there and any(fits(given, port["kind"]) for port in job.about["inputs"].values())
