"""Types chain: which jobs take a result, and converters that the server puts between two that would not fit."""

import pytest

from clients.python import Conflict, DependencyFailed, TypeMismatch
from core.errors import InvalidParams
from core.ops.describe import describe
from core.plugin import Context, Image, Json, Params, Plugin, Text, job, param
from tests.serving import ROOT, serve
from tests.wire import Wire

CHAIN = """
class Chain(Plugin):
    @job()
    def facts(self) -> Json:
        return {"seed": 7}

    @job()
    def several(self) -> list[Json]:
        return ["one", 2, ["three"]]

    @job()
    def join(self, parts: list[Text], title: Text | None) -> Text:
        return "+".join(parts)

    @job()
    def both(self, value: Json, text: Text) -> Text:
        return text

    @job(light=True)
    def count(self, text: Text) -> Json:
        return len(text)

    @job(program=True)
    def program(self, ctx: Context) -> list[Text]:
        made = ctx.submit("several")
        joined = ctx.submit("join", inputs={"parts": made})
        return [output for child in ctx.gather([joined]) for output in child.outputs]

    @job()
    def enlarge(self, image: Image) -> Image:
        return image

    @job()
    def fill(self, mask: Mask) -> Text:
        return str(mask.size)

    @job()
    def listen(self, sound: Audio) -> Text:
        return "heard"
"""
DRAW = """
import PIL.Image

class Draw(Plugin):
    @job(converts=True)
    def dots(self, value: Json) -> Image:
        return PIL.Image.new("L", (1, 1))

    @job(converts=True)
    def lines(self, value: Json) -> Image:
        return PIL.Image.new("L", (2, 2))

    @job(converts=True)
    def area(self, value: Json) -> Mask:
        return PIL.Image.new("L", (3, 3))
"""


@pytest.fixture(scope="module")
def server():
    with serve({"chain": CHAIN, "draw": DRAW, "text": ROOT / "plugins" / "text"}) as server:
        yield server


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


def names(client):
    return [job.record["name"] for job in client.jobs(limit=1000)]


def test_the_server_tells_what_takes_a_result_and_why_the_rest_does_not(server, client):
    facts = client.run("facts")[0]
    found = client.accepts(facts)
    ways = {
        (job["job"], name): (port.get("converter"), port["needs"])
        for job in found["jobs"]
        for name, port in job["inputs"].items()
    }
    assert found["kind"] == "json" and ways == {
        ("chain.join", "parts"): ("text.from_json", []),
        ("chain.join", "title"): ("text.from_json", ["parts"]),
        ("chain.both", "value"): (None, ["text"]),
        ("chain.both", "text"): ("text.from_json", ["value"]),
        ("chain.fill", "mask"): ("draw.area", []),  # for it makes just that
        ("draw.dots", "value"): (None, []),
        ("draw.lines", "value"): (None, []),
        ("draw.area", "value"): (None, []),
        ("text.edit", "text"): ("text.from_json", []),
        ("text.split", "text"): ("text.from_json", []),
        ("text.from_json", "value"): (None, []),
    }
    assert {each["job"]: each["reason"] for each in found["others"]} == {
        "chain.facts": "It takes no input.",
        "chain.several": "It takes no input.",
        "chain.program": "It takes no input.",
        "chain.count": "text takes text. text.from_json would convert it, which is not done by itself for a light job.",
        "chain.enlarge": "image takes image. draw.dots and draw.lines could convert it.",
        "chain.listen": "sound takes audio. No converter makes audio of json.",
        "text.to_json": "text takes text. text.from_json would convert it, which is not done by itself for another "
        "converter.",
    }
    assert client._http("GET", f"/api/v1/artifacts/{facts.id}/accepts").json() == found


def test_a_converter_is_put_between_and_can_be_seen(client):
    facts = client.run("facts")[0]
    job = client.submit("edit", {"after": "!"}, {"text": facts})
    ((id, name),) = job.record["converters"].items()
    assert name == "text.from_json" and job.record["inputs"] == {"text": [{"job": id}]}
    (result,) = job.wait()
    assert result.text() == '{\n  "seed": 7\n}!'
    found = client.call("lineage", {"id": result.id})["artifacts"]
    assert [each["job_name"] for each in found] == ["text.from_json", "chain.facts"]


def test_what_fits_goes_straight_in(client):
    job = client.submit("edit", inputs={"text": client.upload("a cat")})
    assert "converters" not in job.record and job.wait()[0].text() == "a cat"


def test_in_a_flow_neighbours_share_a_converter_and_keep_their_order(client):
    text = client.upload("first")
    parts = [text, {"job": "a"}, {"job": "a", "index": 2}, {"job": "b"}]
    jobs = client.flow(
        [
            {"id": "a", "job": "several"},
            {"id": "b", "job": "edit", "inputs": {"text": text}},
            {"job": "join", "inputs": {"parts": parts}},
        ]
    )
    assert jobs[2].wait()[0].text() == 'first+one+2+[\n  "three"\n]+[\n  "three"\n]+first'
    assert [*jobs[2].record["converters"].values()] == ["text.from_json"]


def test_what_is_sent_twice_is_converted_once(server, client):
    facts = client.run("facts")[0].id
    with Wire(server) as wire:
        request = {"job": "edit", "inputs": {"text": facts}, "client_ref": "twice"}
        first, second = wire.call("submit", request)["job"], wire.call("submit", request)["job"]
    assert first["id"] == second["id"] and first["inputs"] == second["inputs"]
    assert len([job for job in client.jobs() if job.record["inputs"] == {"value": [facts]}]) == 1


@pytest.mark.parametrize(
    "job, input, message, hint",
    [
        (
            "listen", "sound", "sound takes audio, this is json. No converter makes audio of json.",
            "What takes json: chain.both, draw.dots, draw.lines, draw.area, text.from_json.",
        ),
        (
            "enlarge", "image", "image takes image, this is json. draw.dots and draw.lines could convert it.",
            "Submit the one you mean, and give its result.",
        ),
    ],
)  # fmt: skip
def test_no_way_or_more_than_one_is_refused_with_what_would_fit(client, job, input, message, hint):
    flow = [{"id": "a", "job": "facts"}, {"job": job, "inputs": {input: {"job": "a"}}}]
    before = names(client)
    with pytest.raises(TypeMismatch) as refused:
        client.flow(flow)
    error = refused.value
    assert (error.message, error.hint, error.field) == (f"chain.{job}: {message}", hint, f"jobs.1.{input}")
    assert names(client) == before


def test_light_jobs_and_plans_say_what_to_convert_first(client):
    facts = client.run("facts")[0]
    with pytest.raises(TypeMismatch, match="text.from_json would convert it, which is not done"):
        client.light("count", inputs={"text": facts})
    with pytest.raises(Conflict, match="text does not take this, but what text.from_json makes of it"):
        client.plan("edit", inputs={"text": facts})


def test_the_jobs_of_a_program_are_converted_for_too(client):
    program = client.submit("program")
    assert program.wait()[0].text() == 'one+2+[\n  "three"\n]'
    children = [job.record for job in client.jobs() if job.record.get("parent") == program.id]
    assert sorted(child["name"] for child in children) == ["chain.join", "chain.several", "text.from_json"]


def test_a_review_gate_is_before_the_converter(client):
    made = client.submit("several")
    job = client.submit("join", inputs={"parts": {"job": made.id, "review": "picked"}})
    outputs = made.wait()
    client.call("review", {"ids": [outputs[0].id, outputs[2].id], "state": "rejected"})
    client.call("review", {"ids": [outputs[1].id], "state": "picked"})
    assert job.wait()[0].text() == "2"


def test_what_cannot_be_converted_fails_with_the_reason(client):
    job = client.submit("both", inputs={"value": client.upload("no JSON"), "text": client.upload("x")})
    with pytest.raises(DependencyFailed):
        job.wait()
    (converter,) = job.record["converters"]
    assert client.job(converter).error.message.startswith("this text is no JSON")


class Needs(Params):
    width: int = param(..., help="How wide.")


class Unfit:
    @job(converts=True, light=True)
    def light(self, value: Json) -> Text: ...

    @job(converts=True)
    def two(self, value: Json, other: Json) -> Text: ...

    @job(converts=True)
    def many(self, value: Json) -> list[Text]: ...

    @job(converts=True)
    def required(self, value: Json, params: Needs) -> Text: ...

    @job(converts=True)
    def same(self, image: Image) -> Image: ...

    @job(converts=True, program=True)
    def program(self, value: Json, ctx: Context) -> Text: ...


@pytest.mark.parametrize(
    "name, problem",
    [
        ("light", "neither light nor a program"),
        ("program", "neither light nor a program"),
        ("two", "take one thing, its only input, and return one"),
        ("many", "take one thing, its only input, and return one"),
        ("required", "all its parameters need a default, width has none"),
        ("same", "image fits where image is wanted as it is"),
    ],
)
def test_what_is_no_converter_cannot_be_announced_as_one(name, problem):
    plugin = type("Wrong", (Plugin,), {name: vars(Unfit)[name]})
    with pytest.raises(InvalidParams, match=f"job {name} cannot be a converter: .*{problem}"):
        describe(plugin)
