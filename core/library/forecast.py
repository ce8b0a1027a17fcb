"""When a job will be done: what runs, what is ahead of it and itself, at what the last jobs of these names took."""

from collections.abc import Iterator
from functools import cache

from core.jobs import Row, Store, now
from core.library.catalogue import Catalogue
from core.library.database import Ask

RECENT = 20  # finished jobs of a name whose mean time is the forecast
RAN = "state = 'done' AND attempt > 0"  # those that were given what is there took no time
LOOKED_AT = 500  # jobs ahead whose names count, of one that is asked for; more are taken to be like them
BEGUN = "iif(program, created, started)"
LANE = "FROM jobs WHERE state = 'queued' AND plugin = ? AND program = ?"  # what the same workers do, in their order
AHEAD = f"{LANE} AND (class, rank, rowid) < (?, ?, (SELECT rowid FROM jobs WHERE id = ?))"
RUNNING = f"SELECT name, {BEGUN} AS begun FROM jobs WHERE state = 'running' AND plugin = ? AND program = ? LIMIT 100"
GLANCE = "rowid, id, name, class, rank, owner, session, parent"


class Forecast:
    """Of one moment: `ask(sql, *values)` gives rows."""

    def __init__(self, ask: Ask, devices: int, catalogue: Catalogue):
        self._ask, self._devices, self._catalogue = ask, devices, catalogue
        self._means = cache(lambda name: mean_seconds(ask, name))

    def place(self, row: Row) -> Row:
        """`position` (jobs ahead) and `eta_seconds` of a queued job, the latter None if such a job has never run."""
        values = [row[key] for key in ("plugin", "program", "class", "rank", "id")]
        ahead = Ahead(self, row["plugin"], row["program"])
        near = f"SELECT name {AHEAD} ORDER BY class, rank LIMIT {LOOKED_AT}"
        for each in self._ask(f"SELECT name, count(*) AS jobs FROM ({near}) GROUP BY name", *values):
            ahead.add(each["name"], each["jobs"])
        ahead.stretch(self._ask(f"SELECT count(*) AS jobs {AHEAD}", *values)[0]["jobs"])
        return ahead.place(row["name"])

    def lane(self, plugin: str, program: int, wanted: Row) -> Iterator[tuple[float, str, Row]]:
        """Of the queued jobs that the same workers do those that are as `wanted`, by GLANCE, in the order in which they
        run: about when each begins, its id and its place."""
        ahead, after = Ahead(self, plugin, program), [-1, 0.0, 0]
        page = f"SELECT {GLANCE} {LANE} AND (class, rank, rowid) > (?, ?, ?) ORDER BY class, rank, rowid LIMIT 500"
        while rows := self._ask(page, plugin, program, *after):
            for row in rows:
                if wanted.items() <= row.items():
                    yield ahead.begins(1), row["id"], ahead.place(row["name"])
                ahead.add(row["name"], 1)
            after = [row["class"], row["rank"], row["rowid"]]

    def running(self, plugin: str, program: int) -> list[Row]:
        return self._ask(RUNNING, plugin, program)

    def workers(self, program: int) -> int:
        return 1 if program else self._devices

    def about(self, name: str) -> tuple[float | None, int]:
        """How long such a job takes, None if none has run, and how many a worker runs at once."""
        known = self._catalogue.jobs.get(name)
        return self._means(name), known.about["concurrency"] if known else 1


class Ahead:
    """The work that is ahead of a queued job. Jobs of names that have never run count as that job itself does."""

    def __init__(self, forecast: Forecast, plugin: str, program: int):
        self._forecast, self._workers = forecast, forecast.workers(program)
        self._position, self._known, self._unknown = 0, 0.0, 0.0
        self._begun = [(*forecast.about(each["name"]), each["begun"]) for each in forecast.running(plugin, program)]

    def add(self, name: str, jobs: int) -> None:
        seconds, at_once = self._forecast.about(name)
        self._position += jobs
        if seconds is None:
            self._unknown += jobs / at_once
        else:
            self._known += jobs * seconds / at_once

    def stretch(self, position: int) -> None:
        """There are so many, and those that were added are some of them."""
        factor = position / max(self._position, 1)
        self._position, self._known, self._unknown = position, self._known * factor, self._unknown * factor

    def begins(self, own: float) -> float:
        """In how many seconds, if a job that has never run takes `own`."""
        runs = sum(max(0, begun + (own if mean is None else mean) - now()) / many for mean, many, begun in self._begun)
        return (self._known + self._unknown * own + runs) / self._workers

    def place(self, name: str) -> Row:
        own, _ = self._forecast.about(name)
        eta = None if own is None else round(self.begins(own) + own, 2)
        return {"position": self._position, "eta_seconds": eta}


def mean_seconds(ask: Ask, job: str) -> float | None:
    """How long the last jobs of this name took, None if none has run. A program begins anew after each wait."""
    times = f"SELECT finished - {BEGUN} AS time FROM jobs WHERE {RAN} AND name = ? ORDER BY id DESC LIMIT ?"
    return ask(f"SELECT avg(time) AS time FROM ({times})", job, RECENT)[0]["time"]


def place(store: Store, row: Row, devices: int, catalogue: Catalogue) -> Row:
    return Forecast(store.all, devices, catalogue).place(row)
