"""Samplers, guidances and conditionings of the user's own: how they are read, what they do, what broken ones cost."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance
from drawing import is_red_disc_on_blue, middle
from sd import names
from sd.conditioning import Condition
from sd.extending import read
from sd.guidance import Evaluation, Term

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = re.search(
    r"```python\n(.*?)```", (ROOT / "plugins/stable_diffusion/README.md").read_text("utf-8"), re.DOTALL
)[1]
NOTHING = {"sampler": ["Euler a"], "guidance": [], "conditioning": []}


@pytest.mark.parametrize("scale", [3.0, 7.5])
@pytest.mark.parametrize(("eta", "norm", "momentum"), [(0.0, 15.0, -0.5), (0.3, 2.0, 0.0), (1.0, 0.0, 0.2)])
def test_adaptive_projected_guidance_is_that_of_diffusers(scale, eta, norm, momentum):
    function = names.EXTENSIONS["guidance", "adaptive projected"].load()
    nothing = Condition(torch.zeros(1, 77, 4))
    terms = [Term(scale, 1, nothing), Term(1 - scale, 0, nothing)]
    buffer, memory = MomentumBuffer(momentum), {}
    for _ in range(3):
        estimates = torch.randn(2, 4, 8, 8)
        evaluation = Evaluation(terms, estimates, torch.zeros(1, 4, 8, 8), torch.ones(1), scale, 0.5, memory)
        theirs = normalized_guidance(estimates[:1], estimates[1:], scale - 1, buffer, eta, norm, True)
        assert torch.allclose(function(evaluation, eta, norm, momentum), theirs, atol=1e-4)


def test_adaptive_projected_guidance_keeps_the_colours_of_a_lower_scale(draw):
    (usual,) = draw(cfg_scale=4, steps=8)
    strong, projected = (draw(cfg_scale=12, steps=8, guidance=name)[0] for name in names.GUIDANCES)
    assert abs(middle(projected) - middle(usual)).sum() < abs(middle(strong) - middle(usual)).sum()
    assert is_red_disc_on_blue(projected)
    assert [*projected.facts["determinism"]["extensions"]] == ["adaptive projected"]
    assert "Guidance: adaptive projected" in projected.facts["infotext"]


def written(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_what_a_file_offers_is_read_without_running_it(tmp_path):
    offered, notes = read(written(tmp_path, a='exit()\n@sampler("Two", second_order=True)\ndef f(): ...'), NOTHING)
    assert (notes, [*offered]) == ([], [("sampler", "Two")])
    assert offered["sampler", "Two"].second_order


def test_no_two_extensions_share_an_option(tmp_path):
    marks = [
        f'@{kind}("grain", amount=param(1, ge=0, le=3, help="A."))\ndef f(): ...' for kind in ("sampler", "guidance")
    ]
    offered, notes = read(written(tmp_path, a=marks[0], b=marks[1]), NOTHING)
    assert [*offered] == [("sampler", "grain")]
    assert notes == ["extensions/b.py is not offered: another extension has the option 'grain_amount'."]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def f(:", "invalid syntax"),
        ("\0", "null bytes"),
        ("(" * 1000, "too many nested parentheses"),
        ('@sampler("euler A")\ndef f(): ...', "there is another sampler 'euler A'"),
        ('@guidance("x")\ndef f(): ...\n@guidance("X")\ndef g(): ...', "there is another guidance 'X'"),
        ("@guidance(NAME)\ndef f(): ...", "line 1: names and options must be written out"),
        ('@guidance("a: b, c")\ndef f(): ...', "line 1: guidance wants one name, of letters"),
        ('@guidance("x", a=param(1.0, help="A."))\ndef f(): ...', "line 1: a needs bounds"),
        ('@guidance("x", a=param([], help="A."))\ndef f(): ...', "line 1: a must begin with a default"),
        ('@guidance("x", a=3)\ndef f(): ...', "line 1: a must be param"),
        ('@guidance("x", a=param(1, ge=0, le=3))\ndef f(): ...', "'help'"),
        ('@guidance("x", a=param(1, ge=0, le=3, help="A.", bent=1))\ndef f(): ...', "does not know bent"),
        ('@guidance("x", a=param("", ge=3, help="A."))\ndef f(): ...', "a.py is not offered"),
    ],
)
def test_a_file_that_makes_no_sense_is_told_and_left_out(tmp_path, text, why):
    offered, notes = read(written(tmp_path, a=text, b='@guidance("good")\ndef f(): ...'), NOTHING)
    assert ("guidance", "good") in offered and len(notes) == 1
    assert re.match(r"extensions/a\.py is not offered: .", notes[0]) and why in notes[0]


MARKS = "from ..extending import conditioning, guidance, sampler\n"
OFFER = {
    "example": EXAMPLE,
    "broken": "def f(:",
    "missing": 'import nowhere\n@guidance("missing")\ndef f(e): ...',
    "raises": MARKS + '@guidance("raises")\ndef f(e): return e.nothing',
    "shapeless": MARKS + '@guidance("shapeless")\ndef f(e): return e.guided[0]\n'
    '@conditioning("no words")\ndef g(condition, text): return text\n'
    '@sampler("Nowhere")\ndef h(model, x, sigmas): return None\n',
}
SCRIPT = """
import json, sys
from pathlib import Path
from core.library.models import Models
from core.ops.describe import announce, describe, load_plugin
from core.plugin import Context, InvalidParams
folder, scratch = Path(sys.argv[1]), Path(sys.argv[2])
cls = load_plugin(folder)
notes = announce(cls, None)
jobs = {job["name"]: job for job in describe(cls)}
light = "torch" not in sys.modules
plugin = cls(folder)
plugin.models = Models(scratch, [{"kind": "checkpoint", "name": "builtin", "path": str(folder / "builtin")}])
plugin.settings = cls.__annotations__["settings"]()
plugin.load("cpu")
import torch
torch.set_num_threads(1)
params = sys.modules[cls.__module__].TextToImage
def draw(**options):
    given = {"prompt": "a red circle on a blue background", "seed": 1, "steps": 3, "sampler": "Euler"} | options
    ctx = Context("job", scratch, plugin.models, lambda event, body: None)
    try:
        (result,) = plugin.txt2img(params(**given), ctx)
    except InvalidParams as error:
        return str(error)
    return [sum(result.value.resize((1, 1)).getpixel((0, 0))), result.facts["infotext"].splitlines()[-1]]
drawn = [draw(**options) for options in json.loads(sys.argv[3])]
print(json.dumps({"notes": notes, "options": jobs["txt2img"]["params"]["properties"], "light": light, "drawn": drawn}))
"""
DRAWN = {
    "plain": {},
    "without grain": {"sampler": "Euler grain", "euler_grain_amount": 0},
    "grain": {"sampler": "Euler grain", "euler_grain_amount": 0.5},
    "as usual": {"conditioning": "literal", "literal_share": 1},
    "literal": {"conditioning": "literal", "literal_share": 0.1},
    "missing": {"guidance": "missing"},
    "raises": {"guidance": "raises"},
    "shapeless": {"guidance": "shapeless"},
    "no words": {"conditioning": "no words"},
    "Nowhere": {"sampler": "Nowhere"},
}

WRONG = {
    "missing": "missing.py: ModuleNotFoundError: No module named 'nowhere'.",
    "raises": "raises.py: AttributeError: 'Evaluation' object has no attribute 'nothing'.",
    "shapeless": "shapeless.py: f must return a tensor of shape (1, 4, 16, 16).",
    "no words": "shapeless.py: g must return a Condition with a context as wide as before.",
    "Nowhere": "shapeless.py: h must return a tensor of shape (1, 4, 16, 16).",
}


@pytest.fixture(scope="module")
def extended(plugin, tmp_path_factory):
    """What a copy of the plugin with the files of OFFER tells of itself, and what it draws."""
    folder = tmp_path_factory.mktemp("extended") / "stable_diffusion"
    shutil.copytree(plugin.folder, folder, ignore=shutil.ignore_patterns("builtin", "tests", "training", "__pycache__"))
    (folder / "builtin").symlink_to(plugin.folder / "builtin")
    written(folder / "extensions", **OFFER)
    command = [sys.executable, "-c", SCRIPT, str(folder), str(folder.parent / "models"), json.dumps([*DRAWN.values()])]
    told = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    return told | {"drawn": dict(zip(DRAWN, told["drawn"], strict=True))}


def test_what_extensions_offer_is_announced_with_options_and_without_running_them(extended):
    options = extended["options"]
    assert extended["light"]
    assert "Euler grain" in options["sampler"]["enum"] and "literal" in options["conditioning"]["enum"]
    amount = options["euler_grain_amount"]
    assert (amount["default"], amount["maximum"], amount["ui"]["visible_if"]) == (0.2, 1, {"sampler": "Euler grain"})
    orders = [option["ui"]["order"] for option in options.values()]
    assert len(orders) == len(set(orders))


def test_the_example_draws_as_it_says(extended):
    drawn = {name: drawn[0] for name, drawn in extended["drawn"].items()}
    assert drawn["plain"] == drawn["without grain"] == drawn["as usual"]
    assert len({drawn["plain"], drawn["grain"], drawn["literal"]}) == 3
    infotext = extended["drawn"]["grain"][1]
    assert "Sampler: Euler grain" in infotext and "Euler grain amount: 0.5" in infotext


def test_broken_extensions_are_told_and_cost_nobody_else_anything(extended):
    (note,) = extended["notes"]
    assert note.startswith("extensions/broken.py is not offered: invalid syntax")
    said = {name: extended["drawn"][name].partition(" does not work: extensions/")[2] for name in WRONG}
    assert said == WRONG
