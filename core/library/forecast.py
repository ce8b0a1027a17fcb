"""When a job will be done: what runs, what is ahead of it and itself, at what the last jobs of these names took."""

from functools import cache

from core.jobs import Row, Store, now
from core.library.catalogue import Catalogue

RECENT = 20  # finished jobs of a name whose mean time is the forecast
RAN = "state = 'done' AND attempt > 0"  # those that were given what is there took no time
LOOKED_AT = 500  # jobs ahead whose names count; more are taken to be like them
BEGUN = "iif(program, created, started)"
AHEAD = "FROM jobs WHERE state = 'queued' AND plugin = ? AND program = ? AND (class, rank) < (?, ?)"
RUNNING = f"SELECT name, {BEGUN} AS begun FROM jobs WHERE state = 'running' AND plugin = ? AND program = ? LIMIT 100"


def mean_seconds(store: Store, job: str) -> float | None:
    """How long the last jobs of this name took, None if none has run. A program begins anew after each wait."""
    times = f"SELECT finished - {BEGUN} AS time FROM jobs WHERE {RAN} AND name = ? ORDER BY id DESC LIMIT ?"
    return store.all(f"SELECT avg(time) AS time FROM ({times})", job, RECENT)[0]["time"]


def place(store: Store, row: Row, devices: int, catalogue: Catalogue) -> Row:
    """`position` (jobs ahead) and `eta_seconds` of a queued job, the latter None if such a job has never run."""
    values = [row[key] for key in ("plugin", "program", "class", "rank")]
    position = store.all(f"SELECT count(*) AS jobs {AHEAD}", *values)[0]["jobs"]
    own = mean_seconds(store, row["name"])
    if own is None:
        return {"position": position, "eta_seconds": None}

    @cache
    def about(name: str) -> tuple[float, int]:
        """How long such a job takes, and how many a worker runs at once."""
        known = catalogue.jobs.get(name)
        return mean_seconds(store, name) or own, known.about["concurrency"] if known else 1

    near = f"SELECT name {AHEAD} ORDER BY class, rank LIMIT {LOOKED_AT}"
    counted = store.all(f"SELECT name, count(*) AS jobs FROM ({near}) GROUP BY name", *values)
    ahead = 0.0
    for each in counted:
        seconds, at_once = about(each["name"])
        ahead += each["jobs"] * seconds / at_once
    ahead *= position / max(sum(each["jobs"] for each in counted), 1)
    running = (
        f"SELECT name, {BEGUN} AS begun FROM jobs WHERE state = 'running' AND plugin = ? AND program = ? LIMIT 100"
    )
    for each in store.all(running, *values[:2]):
        seconds, at_once = about(each["name"])
        ahead += max(0, each["begun"] + seconds - now()) / at_once
    workers = 1 if row["program"] else devices
    return {"position": position, "eta_seconds": round(ahead / workers + own, 2)}
