"""Machines in words, the same wherever they are shown: which jobs run there, and what they cost."""

from typing import Any

WHEN = {"prefer": "first", "busy": "when all devices here are busy", "only": "only"}


def rule(about: dict[str, Any]) -> str:
    """Of a Rule as data: "batch jobs upscale.* run there only"."""
    names = f"jobs {', '.join(about['jobs'])}" if about["jobs"] else "jobs" if about["priorities"] else "all jobs"
    return " ".join(filter(None, [" and ".join(about["priorities"]), names, "run there", WHEN[about["when"]]]))


def cost(about: dict[str, Any], spent: float) -> str:
    """Of a Rented as data: "$0.44 an hour, $0.61 of at most $5.00 so far, at runpod"; why it has ended, if it has."""
    price, most = f"${about['price_per_hour']:.2f} an hour", f"${about['spend_limit']:.2f}"
    told = f"{price}, ${spent:.2f} of at most {most} so far, at {about['provider']}"
    return f"{told}; it {about['ended']}" if about.get("ended") else told
