"""What programs may ask of the server besides jobs: people's reviews, names of files, lineage; and being extended."""

import os
import signal
import subprocess
import sys

from core.library.children import Artifact, Children
from tests.serving import ROOT, serve
from tests.wire import Wire

DRAWING = """
class Colour(Params):
    colours: list[str] = param(["red", "blue"], help="What to draw.")
    name: str = param("", help="What to call it.")

class One(Params):
    colour: str = param("red", help="What to draw.")

class Work(Plugin):
    @job()
    def draw(self, params: One, ctx: Context) -> Image:
        with open(self.folder / "drawn.txt", "a") as file:
            file.write(params.colour + "\\n")
        while params.colour == "sleepy":
            ctx.raise_if_cancelled()
            time.sleep(0.01)
        if params.colour == "black":
            raise InvalidParams("black is not drawn here.")
        import PIL.Image
        return PIL.Image.new("RGB", (8, 8), params.colour)

    @job()
    def flip(self, image: Image) -> Image:
        return image.rotate(180)

    def pictures(self, params, ctx, **more):
        requests = [{"job": "draw", "params": {"colour": each}, "key": each} for each in params.colours]
        return ctx.gather(ctx.submit_all(requests), **more)

    @job(program=True)
    def chosen(self, params: Colour, ctx: Context) -> list[Image]:
        drawn = [child.outputs[0] for child in self.pictures(params, ctx)]
        said = ctx.review(drawn, key="first look")
        picked = [picture for picture, word in zip(drawn, said) if word == "picked"]
        flipped = ctx.gather(ctx.submit("flip", inputs={"image": picture}, key=picture.id) for picture in picked)
        ctx.log(" ".join(said))
        return [child.outputs[0] for child in flipped]

    @job(program=True)
    def counted(self, params: Colour, ctx: Context) -> Json:
        children = self.pictures(params, ctx)
        ids = {colour: child.id for colour, child in zip(params.colours, children)}
        return {"seed": ctx.seed("a"), "once": ctx.once("b", time.time), "ids": ids}

    @job(program=True)
    def numbered(self, params: Colour, ctx: Context) -> Json:
        requests = [{"job": "draw", "params": {"colour": each}, "key": str(k)} for k, each in enumerate(params.colours)]
        return len(ctx.gather(ctx.submit_all(requests)))

    @job(program=True)
    def growing(self, params: Colour, ctx: Context) -> Json:
        import PIL.Image
        requests = [{"job": "draw", "params": {"colour": each}, "key": each} for each in params.colours]
        children = ctx.submit_all(requests)
        for count in range(1, len(children) + 1):
            ctx.gather(children[:count])
            if ctx.wants_preview:
                with open(self.folder / "seen.txt", "a") as file:
                    file.write(f"{count} ")
                ctx.preview(PIL.Image.new("RGB", (8 * count, 8)))
        return len(children)

    @job(program=True)
    def judge(self, image: Image, ctx: Context) -> Json:
        said = ctx.review([image])
        return [*said, ctx.gather([ctx.submit("draw")])[0].state]

    @job(program=True)
    def late(self, ctx: Context) -> Json:
        black, = ctx.gather([ctx.submit("draw", {"colour": "black"})], allow_failed=True)
        flipped = ctx.submit("flip", inputs={"image": black})
        others = [flipped, ctx.submit("flip", inputs={"image": flipped}), ctx.submit("draw")]
        return [child.state for child in ctx.gather(others, allow_failed=True)]

    @job(program=True)
    def named(self, params: Colour, ctx: Context) -> list[Image]:
        drawn = [child.outputs[0] for child in self.pictures(params, ctx)]
        paths = ctx.name_all([(picture, params.name) for picture in drawn])
        ctx.gather([ctx.submit("flip", inputs={"image": drawn[0]})])
        assert [ctx.name(picture, params.name) for picture in drawn] == paths
        ctx.log(" ".join(paths))
        return drawn

    @job(program=True)
    def related(self, image: Image, params: Colour, ctx: Context) -> Image:
        one, = self.pictures(params, ctx)
        ctx.link_all([(one.outputs[0], image)] * 2)
        if params.name:
            ctx.link_all([(image, one.outputs[0])])
        ctx.log(str(image.name))
        return one.outputs[0]

    @job()
    def number(self, params: One) -> Json:
        return len(params.colour)

    @job(converts=True)
    def as_text(self, value: Json) -> Text:
        return str(value)

    @job()
    def say(self, text: Text) -> Text:
        with open(self.folder / "drawn.txt", "a") as file:
            file.write(f"said-{text} ")
        return text

    @job(program=True)
    def spoken(self, params: Colour, ctx: Context) -> list[Text]:
        numbers = ctx.gather(ctx.submit("number", {"colour": each}, key=each) for each in params.colours)
        said = [ctx.submit("say", inputs={"text": each.outputs[0]}, key=f"say {each.id}") for each in numbers]
        ctx.gather(said)
        return [child.outputs[0] for child in ctx.gather([*said, ctx.submit("say", inputs={"text": said[0]})])]

    @job(program=True)
    def elders(self, image: Image, ctx: Context) -> Json:
        return [*ctx.review([]), *ctx.review([row["artifact"] for row in ctx.lineage(image)] * 2, key="elders")]

    @job(program=True)
    def family(self, image: Image, ctx: Context) -> Json:
        rows = ctx.lineage(image) + ctx.lineage(image, "descendants", depth=1)
        keys = ("job_name", "depth", "parents")
        return [[row["artifact"].id, row["artifact"].kind, *(row[key] for key in keys)] for row in rows]
"""


def drawn(server):
    file = server.folder / "plugins" / "work" / "drawn.txt"
    return file.read_text().split() if file.exists() else []


def waits_for_a_person(wire, program):
    """The artifacts that a program waits for, once it waits for nothing else."""

    def look():
        waits = wire.call("job", {"id": program})["job"].get("waits_for", [])
        return waits if waits and all(each.get("review") == "new" for each in waits) else None

    return [each["artifact"] for each in wire.until(look)]


def test_a_program_waits_until_a_person_has_said_what_they_think_of_each():
    with serve({"work": DRAWING}) as server:
        with Wire(server) as wire:
            program = wire.submit("chosen", {"colours": ["red", "green", "blue"]})
            first, second, third = sorted(waits_for_a_person(wire, program))
            wire.call("review", {"ids": [first], "state": "picked"})
            wire.call("review", {"ids": [second], "state": "rejected"})
            assert waits_for_a_person(wire, program) == [third]
            wire.call("review", {"ids": [second], "state": "new"})  # undone
            assert sorted(waits_for_a_person(wire, program)) == [second, third]
            server.kill()
        server.restart()
        with Wire(server, since=0) as wire:
            wire.call("review", {"ids": [third], "state": "picked"})
            assert waits_for_a_person(wire, program) == [second]
            wire.call("review", {"ids": [second], "state": "rejected"})
            assert len(wire.ended(program)["outputs"]) == 2
            assert sorted(drawn(server)) == ["blue", "green", "red"]


def test_a_change_of_mind_after_a_review_changes_nothing_in_a_program():
    with serve({"work": DRAWING}) as server, Wire(server) as wire:
        image = wire.ended(wire.submit("draw"))["outputs"][0]
        program = wire.submit("judge", inputs={"image": image})
        assert waits_for_a_person(wire, program) == [image]
        plan = wire.call("plan", {"job": "judge", "inputs": {"image": image}})["plan"]
        assert [job["job"] for job in plan["jobs"]] == ["draw"]
        wire.call("review", {"ids": [image], "state": "picked"})
        wire.until(lambda: "draw" in str(wire.call("jobs", {"parent": program})))
        wire.call("review", {"ids": [image], "state": "rejected"})
        assert wire.download(wire.ended(program)["outputs"][0]).json() == ["picked", "done"]


def test_a_program_names_files_and_no_two_are_called_the_same():
    with serve({"work": DRAWING}) as server, Wire(server) as wire:
        program = wire.submit("named", {"colours": ["red", "blue"], "name": "../my: folder/a.b"})
        ended = wire.ended(program)
        told = [body["text"] for name, body in wire.received if name == "log"]
        assert told == ["my- folder/a.b.png my- folder/a.b (2).png"]
        outputs = server.folder / "outputs"
        wire.until(lambda: len([path for path in outputs.rglob("*.png")]) == 3)  # and the flipped one
        assert (outputs / "my- folder" / "a.b (2).png").is_file()
        records = [wire.call("artifact", {"id": id})["artifact"] for id in ended["outputs"]]
        assert [record["name"] for record in records] == ["a.b", "a.b (2)"]
        sources = [wire.call("artifact", {"id": record["parents"][0]})["artifact"] for record in records]
        assert [source["path"] for source in sources] == told[0].replace("png my", "png|my").split("|")
        again = wire.submit("named", {"colours": ["green"], "name": "my- folder/a.b"})
        assert wire.call("artifact", {"id": wire.ended(again)["outputs"][0]})["artifact"]["name"] == "a.b (3)"


def test_a_name_that_cannot_be_is_told():
    with serve({"work": DRAWING}) as server, Wire(server) as wire:
        wire.ended(wire.submit("named", {"colours": ["red"], "name": "file"}))
        none = "cannot be a file's name"
        for name, words in (("..", none), (" . / ", none), ("file.png/a", "is a file"), ("file.png/a/b", "is a file")):
            error = wire.ended(wire.submit("named", {"name": name}))["error"]
            assert error["code"] == "invalid_params" and words in error["message"]


def test_a_program_asks_for_lineage():
    with serve({"work": DRAWING}) as server, Wire(server) as wire:
        red = wire.ended(wire.submit("draw"))["outputs"][0]
        flipped = wire.ended(wire.submit("flip", inputs={"image": red}))["outputs"][0]
        again = wire.ended(wire.submit("flip", inputs={"image": flipped}))["outputs"][0]
        rows = wire.download(wire.ended(wire.submit("family", inputs={"image": flipped}))["outputs"][0]).json()
        assert rows == [[red, "image", "work.draw", 1, []], [again, "image", "work.flip", 1, [flipped]]]


def test_a_program_notes_what_was_made_from_what_though_it_was_no_input():
    with serve({"work": DRAWING}) as server, Wire(server) as wire:
        drawn = wire.download(wire.ended(wire.submit("draw"))["outputs"][0]).content
        photo = wire.upload(drawn, name="photo.png", session="s")["artifact"]["id"]
        result = wire.ended(wire.submit("related", {"colours": ["red"]}, inputs={"image": photo}))["outputs"][0]
        found = wire.call("lineage", {"id": result})["artifacts"]
        assert found[1]["id"] == photo and found[1]["depth"] == 2
        assert ("log", "photo.png") in [(name, body.get("text")) for name, body in wire.received if name == "log"]
        turned = wire.submit("related", {"colours": ["red"], "name": "x"}, inputs={"image": photo})
        error = wire.ended(turned)["error"]
        assert error["code"] == "invalid_params" and "was not made from" in error["message"]


def test_a_job_that_needs_one_that_has_failed_fails_also_where_it_is_submitted_later():
    with serve({"work": DRAWING}) as server, Wire(server) as wire:
        program = wire.submit("late")
        assert wire.download(wire.ended(program)["outputs"][0]).json() == ["failed", "failed", "done"]
        jobs = {job["key"]: job for job in wire.call("jobs", {"parent": program})["jobs"]}
        assert [wire.ended(jobs[key]["id"])["error"]["code"] for key in ("#2", "#3")] == ["dependency_failed"] * 2
        assert all(wire.states(job["id"]).count("failed") <= 1 for job in jobs.values())


def test_the_progress_of_a_program_tells_how_long_it_takes():
    with serve({"work": DRAWING}) as server, Wire(server) as wire:
        program = wire.submit("named", {"colours": [f"#00000{number}" for number in range(9)], "name": "x"})
        wire.ended(program)
        told = [body for name, body in wire.received if name == "progress" and body["id"] == program]
        assert told[-1]["eta_seconds"] == 0
        assert all(body["eta_seconds"] > 0 for body in told if 2 <= body["step"] < body["total"])


def test_an_extended_program_that_has_ended_runs_only_what_is_new():
    with serve({"work": DRAWING}) as server, Wire(server) as wire:
        program = wire.submit("counted", {"colours": ["red", "blue"]})
        first = wire.download(wire.ended(program)["outputs"][0]).json()
        more = wire.call("retry", {"id": program, "extend": True, "params": {"colours": ["red", "green", "blue"]}})[
            "job"
        ]
        assert more["id"] != program and more["extends"] == program
        second = wire.download(wire.ended(more["id"])["outputs"][0]).json()
        assert drawn(server) in (["red", "blue", "green"], ["blue", "red", "green"])
        assert second["seed"] == first["seed"] and second["once"] == first["once"]
        assert second["ids"].keys() - first["ids"].keys() == {"green"} and first["ids"].items() <= second["ids"].items()
        record = wire.call("job", {"id": more["id"]})["job"]
        assert (record["children"], record["children_ended"]) == (3, 3)
        listed = [job["key"] for job in wire.call("jobs", {"parent": more["id"]})["jobs"]]
        assert sorted(listed) == ["blue", "green", "red"]
        page = wire.call(
            "jobs",
            {"parent": more["id"], "limit": 1, "before": wire.call("jobs", {"parent": more["id"]})["jobs"][0]["id"]},
        )
        assert [job["key"] for job in page["jobs"]] == listed[1:2]
        third = wire.call("retry", {"id": more["id"], "extend": True})["job"]["id"]
        assert wire.download(wire.ended(third)["outputs"][0]).json()["ids"] == second["ids"]
        assert len(drawn(server)) == 3


def test_an_extended_program_tries_again_what_has_failed():
    with serve({"work": DRAWING}) as server, Wire(server) as wire:
        program = wire.submit("counted", {"colours": ["red", "black"]})
        assert wire.ended(program)["state"] == "failed"
        again = wire.call("retry", {"id": program, "extend": True})["job"]["id"]
        assert wire.ended(again)["state"] == "failed"
        assert sorted(drawn(server)) == ["black", "black", "red"]


def test_an_extended_program_runs_what_is_asked_for_in_another_way():
    with serve({"work": DRAWING}) as server, Wire(server) as wire:
        program = wire.submit("numbered", {"colours": ["red", "blue"]})
        assert wire.ended(program)["state"] == "done"
        more = wire.call("retry", {"id": program, "extend": True, "params": {"colours": ["red", "green"]}})["job"]["id"]
        assert wire.ended(more)["state"] == "done" and drawn(server)[2:] == ["green"]


def test_an_unfinished_program_is_extended_in_place():
    with serve({"work": DRAWING}) as server:
        with Wire(server) as wire:
            program = wire.submit("chosen", {"colours": ["red", "blue"]})
            waits_for_a_person(wire, program)
            more = wire.call("retry", {"id": program, "extend": True, "params": {"colours": ["red", "green", "blue"]}})
            assert (more["job"]["id"], more["job"]["extends"]) == (program, program)
            assert len(wire.until(lambda: len(found := waits_for_a_person(wire, program)) == 3 and found)) == 3
            assert sorted(drawn(server)) == ["blue", "green", "red"]
            server.kill()
        server.restart()
        with Wire(server, since=0) as wire:
            wire.call("review", {"ids": waits_for_a_person(wire, program), "state": "picked"})
            assert len(wire.ended(program)["outputs"]) == 3 and len(drawn(server)) == 3
            assert [state for state in wire.states(program) if state in ("done", "failed", "cancelled")] == ["done"]


def test_a_running_program_is_extended_in_place_and_its_unwanted_jobs_are_cancelled():
    with serve({"work": DRAWING}, cancel_grace_seconds=1) as server, Wire(server) as wire:
        wire.call("queue", {"action": "pause"})
        program = wire.submit("numbered", {"colours": ["red", "blue"]})
        assert wire.call("retry", {"id": program, "extend": True, "params": {"colours": ["sleepy"]}})["ok"]
        wire.call("queue", {"action": "resume"})
        wire.until(lambda: "sleepy" in drawn(server))
        assert wire.call("retry", {"id": program, "extend": True, "params": {"colours": ["green"]}})["ok"]
        assert wire.ended(program)["state"] == "done"
        jobs = wire.call("jobs", {"parent": program})["jobs"]
        assert {(job["params"]["colour"], job["state"], job.get("key")) for job in jobs} == {
            ("green", "done", "0"), ("sleepy", "cancelled", None)
        }  # fmt: skip


def test_jobs_that_an_extended_program_does_not_ask_for_again_end_with_it():
    with serve({"work": DRAWING}, cancel_grace_seconds=1) as server, Wire(server) as wire:
        program = wire.submit("growing", {"colours": ["red", "sleepy", "blue"]})
        wire.until(lambda: "sleepy" in drawn(server))
        assert wire.call("retry", {"id": program, "extend": True, "params": {"colours": ["red"]}})["ok"]
        assert wire.ended(program)["state"] == "done"
        jobs = {job["params"]["colour"]: job["id"] for job in wire.call("jobs", {"parent": program})["jobs"]}
        assert [wire.ended(jobs[each])["state"] for each in jobs] == ["cancelled", "cancelled", "done"]


def test_only_programs_are_extended():
    with serve({"work": DRAWING}) as server, Wire(server) as wire:
        job = wire.submit("draw")
        assert wire.call("retry", {"id": job, "extend": True})["error"]["code"] == "conflict"
        program = wire.submit("chosen")
        waits_for_a_person(wire, program)
        answer = wire.call("retry", {"id": program, "extend": True, "params": {"colors": []}})
        assert answer["error"]["code"] == "invalid_params" and "Did you mean" in answer["error"]["message"]
        assert wire.call("cancel", {"id": program})["ok"]


def test_a_program_previews_what_is_new_each_time_it_goes_on_and_only_that():
    with serve({"work": DRAWING}) as server, Wire(server) as wire:
        program = wire.submit("growing", {"colours": [f"#00000{number}" for number in range(9)]})
        wire.ended(program)
        widths = [body["width"] // 8 for name, body in wire.received if name == "preview" and body["id"] == program]
        assert widths and widths == sorted(set(widths)), widths
        seen = [int(line) for line in (server.folder / "plugins" / "work" / "seen.txt").read_text().split()]
        assert len(seen) == len(set(seen)), seen


def test_the_command_line_extends_programs():
    with serve({"work": DRAWING}) as server, Wire(server) as wire:
        program = wire.submit("counted", {"colours": ["red"]})
        wire.ended(program)
        cli = [sys.executable, "-m", "clients.cli", "--url", server.url, "--token", server.token]
        words = ["retry", program, "--extend", "--colours", "red", "blue"]
        more = subprocess.run([*cli, *words], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert wire.ended(more.stdout.strip())["state"] == "done", more.stderr
        assert drawn(server) == ["red", "blue"]
        record = wire.call("job", {"id": more.stdout.strip()})["job"]
        assert record["extends"] == program


def test_an_extended_program_survives_the_death_of_the_server_and_its_workers():
    with serve({"work": DRAWING}) as server:
        with Wire(server) as wire:
            program = wire.submit("numbered", {"colours": ["red", "blue"]})
            wire.ended(program)
            params = {"colours": ["red", "sleepy", "blue"]}
            more = wire.call("retry", {"id": program, "extend": True, "params": params})["job"]["id"]
            wire.until(lambda: "sleepy" in drawn(server))
            for worker in wire.call("queue")["workers"]:
                os.kill(worker["pid"], signal.SIGKILL)
            server.kill()
        server.restart()
        with Wire(server, since=0) as wire:
            wire.until(lambda: drawn(server).count("sleepy") == 2)
            again = wire.call("retry", {"id": more, "extend": True, "params": {"colours": ["red", "blue", "green"]}})
            assert again["job"]["id"] == more
            assert wire.ended(more)["state"] == "done"
            assert sorted(drawn(server)) == ["blue", "blue", "green", "red", "sleepy", "sleepy"]


def test_what_a_program_waits_for_is_not_deleted():
    with serve({"work": DRAWING}) as server, Wire(server) as wire:
        red = wire.ended(wire.submit("draw"))["outputs"][0]
        flipped = wire.ended(wire.submit("flip", inputs={"image": red}))["outputs"][0]
        program = wire.submit("elders", inputs={"image": flipped})
        assert waits_for_a_person(wire, program) == [red]
        error = wire.call("delete", {"ids": [red]})["error"]
        assert error["code"] == "conflict" and program in error["message"]
        wire.call("review", {"ids": [red], "state": "picked"})
        assert wire.download(wire.ended(program)["outputs"][0]).json() == ["picked", "picked"]
        assert wire.call("delete", {"ids": [red]})["ok"]


def test_what_went_through_a_converter_is_not_run_again_when_a_program_is_extended():
    with serve({"work": DRAWING}) as server, Wire(server) as wire:
        program = wire.submit("spoken", {"colours": ["red"]})
        wire.ended(program)
        assert drawn(server) == ["said-3", "said-3"]
        more = wire.call("retry", {"id": program, "extend": True, "params": {"colours": ["red", "blue"]}})["job"]["id"]
        assert len(wire.ended(more)["outputs"]) == 3
        assert drawn(server)[2:] == ["said-4"]


def test_the_jobs_of_a_program_or_of_its_plan_do_not_grow_without_end():
    source = """
class Work(Plugin):
    @job(program=True)
    def much(self, ctx: Context) -> Text:
        ctx.submit_all({"job": "say", "params": {"text": "x" * 900_000 + str(k)}} for k in range(250))
        return ""

    @job()
    def say(self, params: Said) -> Text:
        return ""
"""
    said = """
class Said(Params):
    text: str = param("", help="What.")
"""
    with serve({"work": said + source}) as server, Wire(server) as wire:
        refused = wire.call("plan", {"job": "much"})["error"]
        assert refused["code"] == "too_large" and "over 30,000,000 characters" in refused["message"]
        ended = wire.ended(wire.submit("much"))
        assert ended["error"]["code"] == "too_large" and "over 200,000,000 characters" in ended["error"]["message"]
        assert len(wire.call("jobs")["jobs"]) == 1


def test_what_has_its_name_is_not_named_again_when_the_program_is_run_again():
    asked = []

    def ask(event, body):
        asked.append([each["path"] for each in body["names"]])
        return {"paths": [f"{path}.png" for path in asked[-1]]}

    one, other = (Artifact(id, "image", "") for id in "ab")
    children = Children(ask, "program")
    for names in ([(one, "x"), (other, "y")], [(one, "x"), (other, "z")], [(one, "x"), (other, "z")]):
        assert children.name(names) == [f"{path}.png" for _, path in names]
    assert asked == [["x", "y"], ["z"]]
