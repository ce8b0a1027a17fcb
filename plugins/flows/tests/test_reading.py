"""What a flow file may say, and what is told of one that is wrong: all at once, with the places."""

import json
import random

import pytest
from flow_world import module

from core.library.models import Models
from core.ops.describe import describe
from core.plugin import InvalidParams

GOOD = {"version": 2, "jobs": [{"id": "a", "job": "txt2img"}]}


def problems(flow):
    with pytest.raises(InvalidParams) as raised:
        module.reading.read(flow)
    return {
        each["field"].removeprefix("flow").removeprefix("."): each["message"] for each in raised.value.extra["errors"]
    }


def test_all_that_is_wrong_is_told_at_once_with_its_place():
    found = problems(
        {
            "version": 2,
            "titel": "x",
            "params": {"steps": {"type": "int"}, "ctx": {}, "count": {"type": "integer", "default": "many"}, "n": 3},
            "inputs": {"image": "picture", "mask": {"kind": "mask", "optional": "yes"}},
            "jobs": [
                {"id": "a", "params": {"prompt": "{promt}"}},
                {"id": "a", "job": "x", "inputs": {"image": {"job": "later"}, "text": 3}, "wenn": True},
                {"id": "later", "job": "x", "for_each": {"zip": 3}, "as": "a b", "until": True},
                {"id": "b", "job": "x", "repeat": 3, "inputs": {"image": {"last": "b"}}, "when": {"value": "{count}"}},
                {"id": "c", "jobs": []},
            ],
            "outputs": ["d"],
            "gives": "film",
        }
    )
    assert found.keys() == {
        "titel", "params.steps.type", "params.ctx", "params.n", "inputs.image.kind", "inputs.mask.optional",
        "jobs.0.job", "jobs.0.params", "jobs.1.id", "jobs.1.wenn", "jobs.1.inputs.image", "jobs.1.inputs.text",
        "jobs.2.as", "jobs.2.for_each.zip", "jobs.2.until", "jobs.3.when", "jobs.3.inputs.image", "jobs.4.jobs",
        "gives", "outputs.0", "params.count.default",
    }  # fmt: skip
    assert found["titel"] == "there is no such word here; did you mean gives" or "known are" in found["titel"]
    assert found["jobs.1.wenn"] == "there is no such word here; did you mean when"
    assert 'say {"last": "b", "else": ...}' in found["jobs.3.inputs.image"]
    assert "a job takes results of those before it" in found["jobs.1.inputs.image"]


@pytest.mark.parametrize(
    "flow, place, text",
    [
        (3, "", 'it has to be an object with "jobs", not 3'),
        ({}, "jobs", "it has to be a list of jobs, not None"),
        ({"version": 3, "jobs": []}, "version", "it is 1 or 2, not 3"),
        ({"params": {}, "jobs": [{"job": "a"}]}, "version", 'params: flows have that from "version": 2 on'),
        ({"jobs": [{"job": "a", "repeat": 2}]}, "jobs.0", 'repeat: flows have that from "version": 2 on'),
        (GOOD | {"params": {"a": {}}}, "jobs", "one has the id a, which a parameter or input has, too"),
        (GOOD | {"params": {"x": {}}, "inputs": {"x": "image"}}, "inputs.x", "a parameter has that name, too"),
        (GOOD | {"params": {"json": {}}}, "params.json", "json is taken"),
        (GOOD | {"params": {"x": {"default": 3, "maximum": 2}}}, "params.x.default", "less than or equal to 2"),
        (GOOD | {"params": {"x": {"pattern": "("}}}, "params.x", "it makes no sense"),
        (GOOD | {"params": {"x": {"ui": {"pattern": "("}}}}, "params.x", "it makes no sense"),
        (GOOD | {"params": {"x": {"pattern": "[a-z]+", "default": "A"}}}, "params.x.default", "does not match [a-z]+"),
        (GOOD | {"params": {f"p{k}": {} for k in range(201)}}, "params", "at most 200 parameters"),
        (GOOD | {"params": {"x": {"enum": [*range(1001)]}}}, "params.x.enum", "1 to 1,000 texts"),
        (
            {"version": 2, "jobs": [{"job": "a", "when": {"any": [True] * 1000}}]},
            "jobs.0.when.any.998",
            "fewer than 1,000 conditions",
        ),
        (GOOD | {"outputs": [{"last": "a"}]}, "outputs.0", "'a' is not repeated"),
    ],
)
def test_what_is_wrong_is_said(flow, place, text):
    assert text in problems(flow)[place]


def test_a_flow_that_is_nested_without_end_is_refused():
    deep = "x"
    for _ in range(3000):
        deep = [deep]
    for step in ({"params": {"x": deep}}, {"when": {"value": deep, "is": 1}}):
        with pytest.raises(InvalidParams, match="nested too deeply"):
            module.reading.read({"version": 2, "jobs": [{"job": "a"} | step]})


def test_results_that_nobody_takes_are_those_of_the_flow():
    steps = [{"id": "a", "job": "x"}, {"id": "b", "job": "x", "inputs": {"i": {"job": "a"}}}, {"id": "c", "job": "x"}]
    assert module.reading.read(GOOD | {"jobs": steps}).outputs == [{"job": "b"}, {"job": "c"}]


def test_nonsense_is_refused_or_read_and_nothing_else():
    words = [
        None,
        True,
        3,
        -1,
        1e9,
        "",
        "{a}",
        "a",
        [],
        {},
        {"job": "a"},
        {"zip": {"a": [1]}},
        [1, "x"],
        "é" * 300,
        {"any": []},
    ]
    chance = random.Random(5)
    places = json.loads(
        json.dumps(GOOD | {"params": {"p": {"type": "integer", "default": 1}}, "inputs": {"i": "image"}})
    )
    read = 0
    for _ in range(500):
        flow = json.loads(json.dumps(places))
        for _ in range(chance.randint(1, 3)):
            key = chance.choice([*module.reading.FLOW])
            target = chance.choice([flow, flow["jobs"][0], flow["params"], flow["inputs"], flow["params"].get("p")])
            if isinstance(target, dict):
                names = {id(flow): [k for k in module.reading.FLOW if k not in ("jobs", "params", "inputs")]}
                more = [*module.reading.STEP, *module.forms.WORDS, "p", "i", key]
                target[chance.choice(names.get(id(target), more))] = chance.choice(words)
        try:
            module.reading.read(flow)
            read += 1
        except InvalidParams:
            pass
    assert read > 5


def put(folder, name, flow):
    (folder / "flow").mkdir(exist_ok=True)
    (folder / "flow" / f"{name}.json").write_text(flow if isinstance(flow, str) else json.dumps(flow))


def announced(folder):
    """The jobs of the flows in a folder of models, and the notes."""
    jobs, notes = module.Flows.announce(Models(folder, [{"kind": "flow", "path": "", "suffixes": [".json"]}]))
    plugin = type("Some", (module.Flows,), jobs)
    return {about["name"]: about for about in describe(plugin) if about["name"] in jobs}, notes


def test_a_saved_flow_is_a_job_with_its_form(tmp_path):
    params = {"prompt": {"type": "string", "default": "a cat", "help": "What.", "widget": "textarea"},
              "seed": {"default": -1}, "style": {"enum": ["ink", "oil"], "default": "ink"},
              "count": {"type": "integer", "minimum": 1}}  # fmt: skip
    inputs = {
        "image": {"kind": "image", "help": "To begin with."},
        "masks": {"kind": "mask", "list": True, "optional": True},
    }
    put(tmp_path, "portrait", GOOD | {"description": "Draw.", "params": params, "inputs": inputs, "gives": "text"})
    about = announced(tmp_path)[0]["portrait"]
    assert (about["help"], about["program"], about["output"]) == (
        "Draw.",
        True,
        {"kind": "text", "list": True, "optional": False},
    )
    assert about["inputs"] == {
        "image": {"kind": "image", "list": False, "optional": False, "help": "To begin with."},
        "masks": {"kind": "mask", "list": True, "optional": True},
    }
    fields = about["params"]["properties"]
    assert about["params"]["required"] == ["count"] and fields["count"]["minimum"] == 1
    assert fields["prompt"]["ui"] == {"widget": "textarea"} and fields["prompt"]["description"] == "What."
    assert fields["seed"]["ui"] == {"widget": "seed"} and fields["style"]["enum"] == ["ink", "oil"]


def test_a_pattern_is_checked_by_the_job_and_not_by_the_server(tmp_path):
    """Whose regular expressions would take for ever on this one, while all wait."""
    for words in ({"pattern": "^(a+)+$"}, {"ui": {"pattern": "^(a+)+$"}}):
        flow = GOOD | {"params": {"word": {"default": "a"} | words}}
        put(tmp_path, "f", flow)
        assert "pattern" not in announced(tmp_path)[0]["f"]["params"]["properties"]["word"]
        read = module.reading.read(flow)
        assert read.params(word="aaa").word == "aaa"
        with pytest.raises(ValueError, match="it does not match"):
            read.params(word="a" * 50_000 + "!")


def test_files_that_are_no_flows_are_notes_and_hide_no_other(tmp_path):
    put(tmp_path, "good", GOOD)
    put(tmp_path, "broken", "{")
    put(tmp_path, "wait", GOOD)
    put(tmp_path, "two words", GOOD)
    put(tmp_path, "self", {"jobs": [{"job": "flows.other"}]})
    put(tmp_path, "other", {"version": 2, "jobs": [{"jobs": [{"job": "self"}]}]})
    jobs, notes = announced(tmp_path)
    assert [*jobs] == ["good"] and len(notes) == 5
    assert any("models/flow/wait.json is no job: the plugin has a job of that name itself" in note for note in notes)
    assert any("self runs other runs self" in note for note in notes)


def test_what_is_in_the_file_counts_anew_when_it_changes(tmp_path):
    put(tmp_path, "f", GOOD)
    first = announced(tmp_path)[0]["f"]["params"]
    put(tmp_path, "f", GOOD | {"params": {"x": {"default": "longer than before"}}})
    assert first != announced(tmp_path)[0]["f"]["params"]


def test_flows_are_saved_whole_or_not_at_all(tmp_path):
    saving, models = module.saving, Models(tmp_path, [{"kind": "flow", "path": "", "suffixes": [".json"]}])
    for name, flow in (("../x", GOOD), ("wait", GOOD), ("a b", GOOD), ("x", {}), ("x", {"jobs": [{"job": "flows.x"}]})):
        with pytest.raises(InvalidParams):
            saving.save(tmp_path, name, flow, module.RESERVED)
    assert not list(tmp_path.rglob("*"))
    saving.save(tmp_path, "mine", GOOD, module.RESERVED)
    assert saving.find(models, "mine") == {"name": "mine", "flow": GOOD, "shipped": False}
    with pytest.raises(InvalidParams, match="there is no flow 'min'. Did you mean mine"):
        saving.delete(models, "min")
    saving.delete(models, "mine")
    assert saving.files(models) == {}
