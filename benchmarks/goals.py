"""What each number has to be. The only place that says so: the table, the JSON lines and the tests read it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """`sign` is <= or >=."""

    sign: str
    bound: float

    def met(self, value):
        return value <= self.bound if self.sign == "<=" else value >= self.bound

    def __str__(self):
        return f"{self.sign} {self.bound:g}"


def at_most(bound):
    return Goal("<=", bound)


def at_least(bound):
    return Goal(">=", bound)


BENCHMARKS = ("queue", "server", "sockets", "sd", "image", "memory", "cancel", "sweep", "chaos", "gallery", "remote")
GOALS = {
    ("queue", "process: serial, p50"): at_most(2),
    ("queue", "process: 3,000 queued"): at_least(1000),
    ("queue", "process: submit at 100,000 / empty"): at_most(1.2),
    ("queue", "process: dispatch at 100,000 / empty"): at_most(1.2),
    ("queue", "power: submit at 100,000 / empty"): at_most(1.2),
    ("queue", "power: dispatch at 100,000 / empty"): at_most(1.2),
    ("server", "idle memory"): at_most(100),
    ("server", "time to listen"): at_most(1.5),
    ("sockets", "progress to all, p99"): at_most(250),
    ("sockets", "events dropped"): at_most(0),
    ("sd", "1 at once / the pipeline one after the other"): at_least(0.97),
    ("sd", "8 at once / one after the other"): at_least(2.2),
    ("sd", "8 at once / the pipeline's batch of 8"): at_least(0.9),
    ("sd", "worker's memory after ten switches / after the first"): at_most(1.1),
    ("image", "Compact: in tiles / spandrel"): at_least(0.95),
    ("image", "ESRGAN: in tiles / spandrel"): at_least(0.95),
    ("memory", "SD 1, 512x512, float16, full: at most"): at_most(3.5),  # of 4, for CUDA itself takes up to half a GB
    ("memory", "SD XL, 1024x1024, float16, medium: at most"): at_most(7.5),
    ("memory", "SD XL, 1024x1024, float16, full: at most"): at_most(11.5),
    ("cancel", "running job, over one step"): at_most(50),
    ("cancel", "job that ignores it"): at_most(6),
    ("sweep", "10,000 cells submitted"): at_most(10),
    ("sweep", "meanwhile: all calls, p99"): at_most(50),
    ("chaos", "jobs lost"): at_most(0),
    ("chaos", "results doubled"): at_most(0),
    ("chaos", "jobs with a wrong end"): at_most(0),
    ("chaos", "faults in the store"): at_most(0),
    ("gallery", "2,000 pixels/s: frame, p95"): at_most(34),  # two frames of a display with 60 a second
    ("gallery", "12,000 pixels/s: frame, p95"): at_most(34),
    ("remote", "Ray: jobs that sleep, 3 nodes / 1"): at_least(2.7),
}


@dataclass(frozen=True)
class Measurement:
    benchmark: str
    metric: str
    value: float
    unit: str
    judged: bool = True  # not at another scale than 1

    @property
    def goal(self):
        return GOALS.get((self.benchmark, self.metric))

    @property
    def ok(self):
        """None where there is no goal: the number is there to explain another; or where it means nothing."""
        return None if self.goal is None or not self.judged else self.goal.met(self.value)

    def row(self):
        """One line of --json."""
        return {
            "benchmark": self.benchmark, "metric": self.metric, "value": self.value, "unit": self.unit,
            "goal": None if self.goal is None else str(self.goal), "ok": self.ok,
        }  # fmt: skip
