"""Light calls and plans: answered at once, without queue and without record."""

import time

from tests.serving import serve
from tests.wire import Wire

LIGHT = """
import os

class Words(Params):
    text: str = param("", help="A text.")
    times: int = param(1, ge=1, le=3, help="How often.")

class Light(Plugin):
    def load(self, device):
        raise RuntimeError("a light call needs no device")

    @job(light=True)
    def count(self, params: Words) -> Json:
        return {"words": len(params.text.split()), "pid": os.getpid()}

    @job(light=True)
    def shout(self, text: Text) -> Text:
        return text.upper()

    @job(light=True)
    def stuck(self) -> Text:
        time.sleep(1000)

    @job(light=True)
    def crash(self) -> Text:
        os._exit(3)

    @job(light=True)
    def fail(self, params: Words) -> Text:
        raise ModelNotFound("there is no such thing.")

    @job()
    def repeat(self, text: Text, params: Words) -> Text:
        return text * params.times

    @job(program=True)
    def both(self, params: Words, ctx: Context) -> list[Text]:
        first = ctx.submit("repeat", {"times": params.times}, {"text": "an id"}, key="first")
        ctx.gather([first])
        ctx.submit("repeat", {"times": 1}, {"text": first}, key="second")
        return []
"""
PLANNED = """
class Seeds(Params):
    seed: int = param(-1, help="The seed, -1 for any.")
    images: int = param(2, help="How many.")

class Planned(Plugin):
    @job()
    def draw(self, params: Seeds) -> list[Text]:
        return [str(params.seed + k) for k in range(params.images)]

    def plan(self, job, params, inputs):
        seed = 77 if params.seed < 0 else params.seed
        outputs = [{"seed": seed + k} for k in range(params.images)]
        return {"params": params.model_dump() | {"seed": seed}, "outputs": outputs}
"""
LISTS = """
class Named(Params):
    model: str = param("", choices_from="call/styles", help="In which style.")
    deep: bool = param(False, help="Whether to tell more.")

class Lists(Plugin):
    @job(light=True)
    def styles(self) -> list[Text]:
        return [path.stem for path in sorted((self.models.folder / "styles").glob("*.txt"))]

    @job(light=True)
    def told(self) -> Json:
        return [{"name": "Ink", "prompt": "ink"}, {"name": "Oil", "prompt": "oil"}, "Chalk"]

    @job(light=True)
    def one(self) -> Json:
        return {"name": "alone"}

    @job(light=True)
    def numbers(self) -> Json:
        return [1, 2]

    @job(light=True)
    def fail(self) -> Json:
        raise InvalidParams("styles.csv is damaged.", hint="Mend it.")

    @job(light=True)
    def needs(self, text: Text) -> Text:
        return text

    @job()
    def draw(self, params: Named) -> Text:
        return params.model

    def plan(self, job, params, inputs):
        return {"outputs": [{"styles": [path.stem for path in (self.models.folder / "styles").glob("*.txt")]}]}
"""
ODD = """
class Answer(Params):
    answer: Any = param(None, help="What the plan returns.")

class Odd(Plugin):
    @job()
    def draw(self, params: Answer) -> Text:
        return ""

    @job(program=True)
    def many(self, ctx: Context) -> Text:
        ctx.submit_all([{"job": "draw"}] * 10_000)
        return ""

    def plan(self, job, params, inputs):
        return params.answer if job == "draw" else None
"""


def test_a_light_call_is_answered_even_while_the_queue_is_paused_and_leaves_nothing():
    with serve({"light": LIGHT}) as server, Wire(server) as wire:
        wire.call("queue", {"action": "pause"})
        answer = wire.call("call", {"job": "count", "params": {"text": "a b c"}})
        assert answer["ok"] and answer["outputs"][0]["words"] == 3
        again = wire.call("call", {"job": "light.count"})
        assert again["outputs"][0]["pid"] == answer["outputs"][0]["pid"]
        assert wire.call("jobs")["jobs"] == [] and wire.call("artifacts")["artifacts"] == []


def test_a_light_call_takes_inputs_one_or_many():
    with serve({"light": LIGHT}) as server, Wire(server) as wire:
        ids = [wire.upload(text, kind="text")["artifact"]["id"] for text in (b"one", b"two")]
        assert wire.call("call", {"job": "shout", "inputs": {"text": ids}})["outputs"] == ["ONE", "TWO"]


def test_what_goes_wrong_in_a_light_call_is_a_typed_error():
    with serve({"light": LIGHT}) as server, Wire(server) as wire:
        code = lambda data: wire.call("call", data)["error"]["code"]  # noqa: E731
        assert code({"job": "fail"}) == "model_not_found"
        assert code({"job": "crash"}) == "worker_died"
        assert code({"job": "repeat", "inputs": {"text": "x"}}) == "invalid_params"
        assert code({"job": "count", "params": {"txt": ""}}) == "invalid_params"
        assert code({"job": "shout", "inputs": {"text": "nothing"}}) == "unknown_artifact"
        assert wire.call("call", {"job": "count"})["ok"]  # its process is started again


def test_a_light_job_cannot_be_submitted():
    with serve({"light": LIGHT}) as server, Wire(server) as wire:
        error = wire.call("submit", {"job": "count"})["error"]
        assert error["code"] == "invalid_params" and "call" in error["message"]


def test_a_plan_tells_parameters_outputs_and_count_without_making_anything():
    with serve({"planned": PLANNED}) as server, Wire(server) as wire:
        plan = wire.call("plan", {"job": "draw", "params": {"images": 3}})["plan"]
        assert plan["params"] == {"seed": 77, "images": 3}
        assert plan["outputs"] == [{"seed": 77}, {"seed": 78}, {"seed": 79}] and plan["count"] == 3
        assert plan["eta_seconds"] is None
        wire.ended(wire.submit("draw"))
        assert wire.call("plan", {"job": "draw"})["plan"]["eta_seconds"] is not None
        assert len(wire.call("jobs")["jobs"]) == 1


def test_the_plan_of_a_program_lists_the_jobs_it_begins_with():
    with serve({"light": LIGHT}) as server, Wire(server) as wire:
        plan = wire.call("plan", {"job": "both", "params": {"times": 2}})["plan"]
        assert [(job["job"], job["params"], job["key"]) for job in plan["jobs"]] == [("repeat", {"times": 2}, "first")]
        assert wire.call("jobs")["jobs"] == []


def test_a_plan_counts_the_runs_of_a_job_that_takes_one_and_is_given_many():
    with serve({"light": LIGHT}) as server, Wire(server) as wire:
        ids = [wire.upload(text, kind="text")["artifact"]["id"] for text in (b"one", b"two", b"three")]
        assert wire.call("plan", {"job": "repeat", "inputs": {"text": ids}})["plan"]["count"] == 3
        assert wire.call("plan", {"job": "repeat"})["error"]["code"] == "invalid_params"


def test_a_light_call_that_hangs_times_out_and_the_calls_beside_it_are_answered():
    source = LIGHT.replace("return text.upper()", "time.sleep(5)\n        return text.upper()")
    with serve({"light": source}) as server, Wire(server) as wire, Wire(server) as other:
        text = wire.upload(b"one", kind="text")["artifact"]["id"]
        stuck, answers = [], []
        wire.socket.emit("call", {"job": "stuck"}, callback=stuck.append)
        assert other.call("hello", timeout=2)["ok"]
        time.sleep(7)
        other.socket.emit("call", {"job": "shout", "inputs": {"text": text}}, callback=answers.append)
        other.until(lambda: answers, 40)
        assert stuck[0]["error"]["code"] == "timeout" and answers[0]["outputs"] == ["ONE"]


def test_a_plan_that_is_none_is_the_plugins_error():
    with serve({"odd": "from typing import Any\n" + ODD}) as server, Wire(server) as wire:
        for answer in ({"outputs": 3}, {"outputs": [1]}, {"params": []}, {"jobs": [{}]}, {"job": "x"}, [1], "text"):
            error = wire.call("plan", {"job": "draw", "params": {"answer": answer}})["error"]
            assert error["code"] == "plugin_error" and "odd.draw" in error["message"], (answer, error)
        fine = wire.call("plan", {"job": "draw", "params": {"answer": {"outputs": [{"seed": None}], "params": None}}})
        assert fine["plan"]["outputs"] == [{"seed": None}] and "answer" in fine["plan"]["params"]


def test_a_plan_of_ten_thousand_jobs_does_not_stop_the_others():
    """The server checks itself at the end, see tests/serving.py."""
    with serve({"odd": "from typing import Any\n" + ODD}, max_message_bytes=10_000_000) as server, Wire(server) as wire:
        wire.ended(wire.submit("draw"))
        plan = wire.call("plan", {"job": "many"}, timeout=30)["plan"]
        assert len(plan["jobs"]) == 10_000 and plan["eta_seconds"] is not None


def test_a_list_can_come_from_a_light_job_in_pages_and_by_search():
    with serve({"lists": LISTS}) as server, Wire(server) as wire:
        assert wire.call("choices", {"list": "call/styles"}) == {"ok": True, "choices": [], "total": 0}
        (server.folder / "models/styles").mkdir(parents=True)
        for name in ("ink", "oil", "pastel"):
            (server.folder / f"models/styles/{name}.txt").touch()
        page = wire.call("choices", {"list": "call/lists.styles", "offset": 1, "limit": 1})
        assert page == {"ok": True, "choices": ["oil"], "total": 3}
        assert wire.call("choices", {"list": "call/told", "search": "i"})["choices"] == ["Ink", "Oil"]
        assert wire.call("choices", {"list": "call/one"})["choices"] == ["alone"]
        assert wire.call("jobs")["jobs"] == []


def test_what_goes_wrong_in_a_list_of_a_light_job_is_a_typed_error():
    with serve({"lists": LISTS}) as server, Wire(server) as wire:
        error = lambda name: wire.call("choices", {"list": name})["error"]  # noqa: E731
        assert error("call/numbers")["code"] == "plugin_error" and "list of texts" in error("call/numbers")["hint"]
        assert error("call/fail") == {"code": "invalid_params", "message": "styles.csv is damaged.", "hint": "Mend it."}
        assert error("call/nothing")["code"] == "unknown_job"
        assert error("call/draw")["code"] == error("call/needs")["code"] == "invalid_params"
        assert error("calls/styles")["code"] == error("call/../styles")["code"] == "not_found"


def test_a_plan_finds_the_users_files_through_the_plugins_models():
    with serve({"lists": LISTS}) as server, Wire(server) as wire:
        (server.folder / "models/styles").mkdir(parents=True)
        (server.folder / "models/styles/ink.txt").touch()
        assert wire.call("plan", {"job": "draw"})["plan"]["outputs"] == [{"styles": ["ink"]}]
