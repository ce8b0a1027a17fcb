"""When a job will be done: what runs, what is ahead of it and itself, at what the last jobs of these names took."""

from core.jobs import Row, Store, now

RECENT = 20  # finished jobs of a name whose mean time is the forecast
LOOKED_AT = 500  # jobs ahead whose names count; more are taken to be like them
AHEAD = "FROM jobs WHERE state = 'queued' AND plugin = ? AND program = ? AND (class, rank) < (?, ?)"


def mean_seconds(store: Store, job: str) -> float | None:
    """How long the last jobs of this name took, None if none has run."""
    times = "SELECT finished - started AS time FROM jobs WHERE state = 'done' AND name = ? ORDER BY id DESC LIMIT ?"
    return store.all(f"SELECT avg(time) AS time FROM ({times})", job, RECENT)[0]["time"]


def place(store: Store, row: Row, devices: int) -> Row:
    """`position` (jobs ahead) and `eta_seconds` of a queued job, the latter None if such a job has never run."""
    values = [row[key] for key in ("plugin", "program", "class", "rank")]
    position = store.all(f"SELECT count(*) AS jobs {AHEAD}", *values)[0]["jobs"]
    own = mean_seconds(store, row["name"])
    if own is None:
        return {"position": position, "eta_seconds": None}
    near = f"SELECT name {AHEAD} ORDER BY class, rank LIMIT {LOOKED_AT}"
    counted = store.all(f"SELECT name, count(*) AS jobs FROM ({near}) GROUP BY name", *values)
    ahead = sum(each["jobs"] * (mean_seconds(store, each["name"]) or own) for each in counted)
    ahead *= position / max(sum(each["jobs"] for each in counted), 1)
    running = "SELECT name, started FROM jobs WHERE state = 'running' AND plugin = ? AND program = ? LIMIT 100"
    for each in store.all(running, *values[:2]):
        ahead += max(0, each["started"] + (mean_seconds(store, each["name"]) or own) - now())
    return {"position": position, "eta_seconds": round(ahead / devices + own, 2)}
