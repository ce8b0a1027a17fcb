"""Programs: jobs made of jobs, replayed from the top, and none of their parts run twice."""

import os
import signal

import pytest

from tests.serving import serve
from tests.wire import Wire

PROGRAMS = """
import os
from pathlib import Path

class Number(Params):
    number: int = param(0, ge=0, le=100000, help="A number.")
    seconds: float = param(0, ge=0, le=60, help="How long it takes.")

class Work(Plugin):
    @job(concurrency=4)
    def square(self, params: Number, ctx: Context) -> Text:
        end = time.monotonic() + params.seconds
        while time.monotonic() < end:
            ctx.raise_if_cancelled()
            time.sleep(0.01)
        if params.number == 99999:
            raise InvalidParams("99999 is not squared here.")
        return str(params.number ** 2)

    @job()
    def join(self, texts: list[Text]) -> Text:
        return "+".join(texts)

    @job(program=True)
    def squares(self, params: Number, ctx: Context) -> Text:
        with open(self.folder / "runs.txt", "a") as file:
            file.write("run\\n")
        requests = [{"job": "square", "params": {"number": n, "seconds": params.seconds}} for n in range(params.number)]
        children = ctx.gather(ctx.submit_all(requests))
        joined, = ctx.gather([ctx.submit("join", inputs={"texts": children})])
        return ctx.read(joined.outputs[0]) + f" seed {ctx.seed('a')} once {ctx.once('b', lambda: time.time())}"

    @job(program=True)
    def nested(self, params: Number, ctx: Context) -> list[Text]:
        programs = [ctx.submit("squares", params.model_dump(), key=f"p{n}") for n in range(2)]
        return [output for program in ctx.gather(programs) for output in program.outputs]

    @job(program=True)
    def twice(self, text: Text, ctx: Context) -> Text:
        joined, = ctx.gather([ctx.submit("join", inputs={"texts": [text, text]})])
        return ctx.read(text) + ":" + ctx.read(joined.outputs[0])

    @job(program=True)
    def careless(self, params: Number, ctx: Context) -> Json:
        children = [ctx.submit("square", {"number": 99999}), ctx.submit("square", {"number": 3})]
        return [child.state for child in ctx.gather(children, allow_failed=bool(params.number))]
"""


def runs(server):
    return (server.folder / "plugins" / "work" / "runs.txt").read_text().count("run")


def test_a_program_hands_its_input_on_as_it_is_stored():
    with serve({"work": PROGRAMS}) as server, Wire(server) as wire:
        nine = wire.ended(wire.submit("square", {"number": 3}))["outputs"][0]
        ended = wire.ended(wire.submit("twice", inputs={"text": nine}))
        assert wire.text(ended["outputs"][0]) == "9:9+9"


def test_a_program_gathers_its_children_and_returns_what_they_made():
    with serve({"work": PROGRAMS}) as server, Wire(server) as wire:
        program = wire.submit("squares", {"number": 4}, session="mine", priority="interactive")
        text = wire.text(wire.ended(program)["outputs"][0])
        assert text.startswith("0+1+4+9 seed ")
        assert runs(server) == 3  # from the top after each gather
        states = [state for state in wire.states(program) if state != "waiting"]  # left out if all had ended already
        assert states == [*["queued", "running"] * 3, "done"]
        children = [job for job in wire.call("jobs")["jobs"] if job.get("parent") == program]
        assert len(children) == 5
        assert program in (alone := [job["id"] for job in wire.call("jobs", {"parent": ""})["jobs"]])
        assert not {job["id"] for job in children}.intersection(alone)
        assert {(job["session"], job["priority"]) for job in children} == {("mine", "interactive")}
        record = wire.call("job", {"id": program})["job"]
        assert (record["children"], record["children_ended"], record["attempt"]) == (5, 5, 1)
        progress = [body for name, body in wire.received if name == "progress" and body["id"] == program]
        assert progress[-1]["total"] == 5 and progress[-1]["phase"] == "jobs"


def test_programs_may_be_made_of_programs_and_hand_on_results():
    with serve({"work": PROGRAMS}) as server, Wire(server) as wire:
        ended = wire.ended(wire.submit("nested", {"number": 2}))
        texts = [wire.text(output) for output in ended["outputs"]]
        assert [text.split(" ")[0] for text in texts] == ["0+1", "0+1"]
        assert texts[0] != texts[1]  # each has its own seed


def test_a_program_survives_the_death_of_the_server_where_it_stood():
    with serve({"work": PROGRAMS}) as server:
        with Wire(server) as wire:
            program = wire.submit("squares", {"number": 6, "seconds": 0.4})
            wire.until(
                lambda: [
                    body
                    for _, _, body in wire.state_events()
                    if body.get("parent") == program and body["state"] == "done"
                ]
            )
            server.kill()
        server.restart()
        with Wire(server, since=0) as wire:
            assert wire.text(wire.ended(program)["outputs"][0]).startswith("0+1+4+9+16+25 ")
            ends = [body["id"] for _, name, body in wire.state_events() if name == "job" and body["state"] == "done"]
            assert len(ends) == len(set(ends)) == 8


def test_recorded_values_stay_the_same_when_a_program_runs_again():
    source = """
class Work(Plugin):
    @job(program=True)
    def values(self, ctx: Context) -> Json:
        first = [ctx.seed("x"), ctx.seed("y"), ctx.once("z", lambda: time.time())]
        with open(self.folder / "seen.txt", "a") as file:
            file.write(f"{first}\\n")
        ctx.gather([ctx.submit("nothing")])
        return first

    @job()
    def nothing(self) -> Text:
        return ""
"""
    with serve({"work": source}) as server, Wire(server) as wire:
        wire.ended(wire.submit("values"))
        seen = (server.folder / "plugins" / "work" / "seen.txt").read_text().splitlines()
        assert len(seen) == 2 and seen[0] == seen[1]


def test_a_failed_child_fails_the_program_that_does_not_allow_it():
    with serve({"work": PROGRAMS}) as server, Wire(server) as wire:
        strict, lenient = wire.submit("careless", {"number": 0}), wire.submit("careless", {"number": 1})
        error = wire.ended(strict)["error"]
        assert error["code"] == "dependency_failed" and "99999 is not squared here" in error["message"]
        assert wire.download(wire.ended(lenient)["outputs"][0]).json() == ["failed", "done"]


def test_cancelling_a_program_cancels_its_children_and_theirs():
    with serve({"work": PROGRAMS}) as server, Wire(server) as wire:
        program = wire.submit("nested", {"number": 8, "seconds": 20})
        wire.until(lambda: wire.call("jobs", {"state": "running"})["jobs"] and len(wire.call("jobs")["jobs"]) == 19)
        assert wire.call("cancel", {"id": program})["ok"]
        jobs = [job["id"] for job in wire.call("jobs")["jobs"]]
        assert {end["state"] for end in wire.ended(*jobs)} == {"cancelled"}
        assert len(jobs) == 19


def test_holding_a_program_holds_its_children():
    with serve({"work": PROGRAMS}) as server, Wire(server) as wire:
        program = wire.submit("squares", {"number": 12, "seconds": 0.3})
        wire.until(lambda: len(wire.call("jobs")["jobs"]) == 13 and "waiting" in wire.states(program))
        assert wire.call("hold", {"id": program})["ok"]
        held = wire.call("jobs", {"state": "held"})["jobs"]
        assert len(held) >= 5 and program in [job["id"] for job in held]
        alone = wire.call("jobs", {"parent": "", "order": "queue"})
        assert ([job["id"] for job in alone["jobs"]], alone["total"]) == ([program], 1)
        assert wire.call("release", {"id": program})["ok"]
        assert wire.text(wire.ended(program)["outputs"][0]).startswith("0+1+4")


def test_a_program_whose_process_is_killed_goes_on_without_running_children_again():
    with serve({"work": PROGRAMS}) as server, Wire(server) as wire:
        program = wire.submit("squares", {"number": 5, "seconds": 0.3})
        wire.until(lambda: "waiting" in wire.states(program))
        (side,) = (worker for worker in wire.call("queue")["workers"] if worker["device"] == "side")
        os.kill(side["pid"], signal.SIGKILL)
        assert wire.text(wire.ended(program)["outputs"][0]).startswith("0+1+4+9+16 ")
        assert len(wire.call("jobs")["jobs"]) == 7


DYING = """
import os

class Number(Params):
    number: int = param(0, help="A number.")

class Work(Plugin):
    @job()
    def one(self, params: Number) -> Text:
        return str(params.number)

    @job(program=True)
    def dies(self, params: Number, ctx: Context) -> Text:
        for stage in range(5):
            mark = self.folder / f"{stage}.died"
            if not mark.exists() or stage == params.number:
                with mark.open("a") as file:
                    file.write("died\\n")
                os._exit(3)
            ctx.gather([ctx.submit("one", {"number": stage}, key=str(stage))])
        return "lived"
"""


def test_deaths_between_which_a_program_got_on_are_not_counted_together():
    with serve({"work": DYING}) as server, Wire(server) as wire:
        assert wire.text(wire.ended(wire.submit("dies", {"number": 9}))["outputs"][0]) == "lived"
        assert wire.ended(wire.submit("dies", {"number": 2}))["error"]["code"] == "worker_died"
        died = server.folder / "plugins" / "work" / "2.died"
        assert died.read_text().count("died") == 1 + 3


@pytest.mark.slow
def test_a_program_submits_a_thousand_at_once():
    with serve({"work": PROGRAMS}) as server, Wire(server, subscribe=False) as wire:
        program = wire.submit("squares", {"number": 1000})
        wire.until(lambda: wire.call("job", {"id": program})["job"]["state"] == "done", 120)
        record = wire.call("job", {"id": program})["job"]
        assert record["children"] == record["children_ended"] == 1001
        assert wire.text(record["outputs"][0]).startswith("0+1+4+9+16+")
        assert runs(server) == 3


def test_a_program_that_submits_nonsense_is_told_so():
    source = """
class Work(Plugin):
    @job(program=True)
    def wrong(self, ctx: Context) -> Text:
        ctx.submit("wrng")
        return ""
"""
    with serve({"work": source}) as server, Wire(server) as wire:
        error = wire.ended(wire.submit("wrong"))["error"]
        assert error["code"] == "unknown_job" and "Did you mean" in error["message"]


def test_a_light_job_that_crashes_is_not_blamed_on_the_program_beside_it():
    source = """
import os

class Work(Plugin):
    @job(program=True)
    def patient(self, ctx: Context) -> Text:
        ctx.log("here")
        time.sleep(3)
        return "done"

    @job(light=True)
    def crash(self) -> Text:
        os._exit(3)
"""
    with serve({"work": source}) as server, Wire(server) as wire:
        program = wire.submit("patient")
        for times in range(1, 4):
            wire.until(lambda times=times: sum(name == "log" for name, _ in wire.received) == times)
            assert wire.call("call", {"job": "crash"})["error"]["code"] == "worker_died"
        assert wire.text(wire.ended(program)["outputs"][0]) == "done"


def test_many_children_fit_into_small_messages():
    with serve({"work": PROGRAMS}, max_message_bytes=100_000) as server, Wire(server) as wire:
        plan = wire.call("plan", {"job": "squares", "params": {"number": 1500}})["plan"]
        assert [job["params"]["number"] for job in plan["jobs"]] == list(range(1500))
        program = wire.submit("squares", {"number": 700})
        assert wire.ended(program, seconds=120)["state"] == "done"


def test_a_program_a_plan_and_a_light_job_are_told_what_another_job_is():
    source = """
class Work(Plugin):
    @job(program=True)
    def look(self, ctx: Context) -> Json:
        about = ctx.announced("count")
        ctx.submit("count", {"number": about["params"]["properties"]["number"]["maximum"]})
        return [about["name"], ctx.announced_names()]

    @job(light=True)
    def names(self, ctx: Context) -> Json:
        return ctx.announced_names()

    @job()
    def count(self, params: Number) -> Text:
        return "1"

    @job(program=True)
    def lost(self, ctx: Context) -> Json:
        return ctx.announced("cuont")
"""
    source = PROGRAMS.partition("class Work")[0] + "class Work" + source.partition("class Work")[2]
    with serve({"work": source}) as server, Wire(server) as wire:
        names = ["work.count", "work.look", "work.lost"]
        output = wire.ended(wire.submit("look"))["outputs"][0]
        assert wire.download(output).json() == ["work.count", names]
        assert wire.call("call", {"job": "names"})["outputs"] == [names]
        (planned,) = wire.call("plan", {"job": "look"})["plan"]["jobs"]
        assert planned["params"] == {"number": 100000}
        assert wire.ended(wire.submit("lost"))["error"]["code"] == "unknown_job"
