"""Whether the jobs of a flow are there, and take what it gives them: for who writes one. Asks the server."""

import difflib
from typing import Any

from core.plugin import Context

from .reading import Flow, Step
from .running import MORE


def problems(flow: Flow, ctx: Context) -> list[dict[str, str]]:
    """All that the announced jobs would refuse, but for values: {"field": place, "message"}."""
    names, found = ctx.announced_names(), []
    short = {name: [full for full in names if full.partition(".")[2] == name] for name in map(_short, names)}
    for step in flow.jobs().values():
        if step.job in names or step.job in short:
            about = ctx.announced(step.job)
            found += [{"field": f"{step.place}.{place}", "message": text} for place, text in _of(step, about)]
        else:
            near = difflib.get_close_matches(step.job, [*short, *names], n=1)
            text = f"no plugin announces a job {step.job[:100]!r}" + (f"; did you mean {near[0]}" if near else "")
            found.append({"field": f"{step.place}.job", "message": text})
    return found


def _short(name: str) -> str:
    return name.partition(".")[2]


def _of(step: Step, about: dict[str, Any]) -> list[tuple[str, str]]:
    params, inputs = about["params"].get("properties", {}), about["inputs"]
    found = [(f"params.{name}", _unknown(name, "parameter", params)) for name in step.params.keys() - params - {MORE}]
    found += [(f"inputs.{name}", _unknown(name, "input", inputs)) for name in step.inputs.keys() - inputs]
    needs = [name for name, port in inputs.items() if not (port["optional"] or port["list"])]
    found += [(f"inputs.{name}", f"{about['name']} needs it") for name in needs if name not in step.inputs]
    lacks = [
        name for name in about["params"].get("required", []) if name not in step.params and MORE not in step.params
    ]
    return found + [(f"params.{name}", f"{about['name']} needs it") for name in lacks]


def _unknown(name: str, what: str, known: dict[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"there is no such {what}; " + (
        f"did you mean {near[0]}" if near else f"known are {', '.join(known) or 'none'}"
    )
